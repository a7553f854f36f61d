//! How much a buffer may hold.

/// A number of keys, and perhaps of bytes as `W` weighs an entry. With 0 keys a buffer passes on each value.
///
/// ```
/// use algebra::buffer::{Bound, SummingQueue};
///
/// let weigh = |key: &String, _sum: &u64| key.len() + 80;
/// let queue = SummingQueue::<String, u64, _>::new(Bound::keys(10_000).and_bytes(1 << 20, weigh));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Bound<W = Unweighed> {
    /// The most keys.
    pub(super) keys_max: usize,
    /// The most bytes, by `weigh`.
    pub(super) bytes_max: usize,
    pub(super) weigh: W,
}

impl Bound {
    /// At most so many keys; more than 2³² − 1 are not held.
    pub fn keys(keys_max: usize) -> Self {
        Self {
            keys_max: keys_max.min(u32::MAX as usize - 1),
            bytes_max: usize::MAX,
            weigh: Unweighed,
        }
    }
}

impl<W> Bound<W> {
    /// And at most so many bytes, as `weigh` says of an entry; it is asked after each `⊕`, for a sum may grow.
    pub fn and_bytes<F>(self, bytes_max: usize, weigh: F) -> Bound<F> {
        Bound {
            keys_max: self.keys_max,
            bytes_max,
            weigh,
        }
    }
}

/// What an entry weighs.
pub trait Weigh<K, V> {
    /// The bytes of this entry, about.
    fn bytes(&self, key: &K, value: &V) -> usize;
}

/// Weighs nothing: only the number of keys is bounded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unweighed;

impl<K, V> Weigh<K, V> for Unweighed {
    #[inline]
    fn bytes(&self, _key: &K, _value: &V) -> usize {
        0
    }
}

impl<K, V, F: Fn(&K, &V) -> usize> Weigh<K, V> for F {
    #[inline]
    fn bytes(&self, key: &K, value: &V) -> usize {
        self(key, value)
    }
}
