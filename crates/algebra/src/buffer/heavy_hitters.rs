//! Sums of the keys that are seen often.

use std::hash::Hash;

use super::frequency::Frequency;
use super::recent::Recent;
use super::{Bound, Buffer, Unweighed, Weigh};
use crate::Semigroup;

/// The sums of keys seen often; every other key passes at once, and pushes nothing out.
///
/// A key is held from the time it has been seen `seen_min` times of late, and, when it is full, only if it was seen more
/// often than the held one not used for longest, which then goes out (the admission of TinyLFU: Einziger, Friedman and
/// Manes 2017). How often is counted in 32 to 64 bytes for each key that may be held, 16 MiB at most, and halved after 8
/// to 16 values for each of these. It is never counted too low: a rare key may be taken for a hot one, not a hot one
/// for a rare one.
#[derive(Clone, Debug)]
pub struct HeavyHitterCache<K, V, W = Unweighed> {
    held: Recent<K, V, W>,
    seen: Frequency,
    seen_min: u8,
}

impl<K: Hash + Eq, V: Semigroup, W: Weigh<K, V>> HeavyHitterCache<K, V, W> {
    /// An empty cache with this bound, for keys seen at least `seen_min` times.
    pub fn new(bound: Bound<W>, seen_min: u8) -> Self {
        Self {
            seen: Frequency::new(bound.keys_max),
            held: Recent::new(bound),
            seen_min,
        }
    }

    fn admits(&self, seen: u8) -> bool {
        seen >= self.seen_min
            && (!self.held.is_full()
                || self
                    .held
                    .oldest()
                    .is_some_and(|oldest| seen > self.seen.of(oldest)))
    }
}

impl<K: Hash + Eq, V: Semigroup, W: Weigh<K, V>> Buffer<K, V> for HeavyHitterCache<K, V, W> {
    fn add(&mut self, key: K, value: V, out: &mut dyn FnMut(K, V)) {
        let seen = self.seen.see(&key);
        match self.held.sum(&key, value) {
            Ok(()) => {}
            Err(value) if self.admits(seen) => {
                self.held.put(key, value);
            }
            Err(value) => {
                out(key, value);
                return;
            }
        }
        self.held.trim(out);
    }

    fn flush(&mut self, out: &mut dyn FnMut(K, V)) {
        self.held.flush(out);
    }

    fn len(&self) -> usize {
        self.held.len()
    }
}
