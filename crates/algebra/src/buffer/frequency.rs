//! How often keys were seen of late, in few bytes.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;

/// Rows of counters; a key has one in each.
const ROWS: usize = 4;
/// The most counters in a row, however many keys are held: 16 MiB.
const WIDTH_MAX: usize = 1 << 22;

/// A Count-Min sketch of bytes with conservative update (Estan and Varghese 2002), of which all are halved after as
/// many keys as a row has counters (the "reset" of TinyLFU: Einziger, Friedman and Manes 2017, section 3.3).
#[derive(Clone, Debug)]
pub(super) struct Frequency {
    counters: Vec<u8>,
    seen: usize,
    /// Fixed: what passes must not depend on the process.
    hasher: FixedState,
}

impl Frequency {
    /// For telling the hot ones among many more keys than these.
    pub(super) fn new(keys_max: usize) -> Self {
        let width = keys_max
            .saturating_mul(8)
            .clamp(64, WIDTH_MAX)
            .next_power_of_two();
        Self {
            counters: vec![0; width * ROWS],
            seen: 0,
            hasher: FixedState::with_seed(0),
        }
    }

    /// Sees the key, and how often it was seen, about: never too seldom since the last halving; 255 is the most.
    pub(super) fn see(&mut self, key: &impl Hash) -> u8 {
        let width = self.counters.len() / ROWS;
        if self.seen == width {
            self.counters.iter_mut().for_each(|counter| *counter >>= 1);
            self.seen = 0;
        }
        self.seen += 1;
        let places = self.places(key);
        let least = self.least(places);
        for at in places {
            if self.counters[at] == least {
                self.counters[at] = least.saturating_add(1);
            }
        }
        least.saturating_add(1)
    }

    /// How often the key was seen.
    pub(super) fn of(&self, key: &impl Hash) -> u8 {
        self.least(self.places(key))
    }

    fn least(&self, places: [usize; ROWS]) -> u8 {
        places
            .iter()
            .fold(u8::MAX, |least, at| least.min(self.counters[*at]))
    }

    /// Two halves of one hash make all rows (Kirsch and Mitzenmacher 2006).
    fn places(&self, key: &impl Hash) -> [usize; ROWS] {
        let width = self.counters.len() / ROWS;
        let hash = self.hasher.hash_one(key);
        let (start, step) = (hash as usize, (hash >> 32) as usize | 1);
        std::array::from_fn(|row| row * width + (start.wrapping_add(row.wrapping_mul(step)) & (width - 1)))
    }
}
