//! What every buffer can do: stand in an iterator.

use std::collections::VecDeque;
use std::iter::FusedIterator;

use super::Buffer;

/// Sugar of every [`Buffer`].
pub trait BufferExt<K, V>: Buffer<K, V> {
    /// These pairs, summed on the way, lazily: what comes out of the buffer, and last what it still held.
    ///
    /// ```
    /// use algebra::buffer::{Bound, BufferExt, SummingQueue};
    ///
    /// let mut queue = SummingQueue::new(Bound::keys(2));
    /// let pairs = [("ant", 1_u64), ("ant", 2), ("bee", 1), ("cat", 1)];
    /// let sums: Vec<_> = queue.through(pairs).collect();
    /// assert_eq!(sums, [("ant", 3), ("bee", 1), ("cat", 1)]);
    /// ```
    fn through<I: IntoIterator<Item = (K, V)>>(&mut self, pairs: I) -> Through<'_, Self, I::IntoIter> {
        Through {
            buffer: self,
            pairs: pairs.into_iter(),
            out: VecDeque::new(),
            flushed: false,
        }
    }
}

impl<K, V, B: Buffer<K, V> + ?Sized> BufferExt<K, V> for B {}

/// [`through`](BufferExt::through): pairs summed by a buffer, as an iterator. Dropped early, the buffer keeps the rest.
#[derive(Debug)]
pub struct Through<'b, B: ?Sized, I: Iterator> {
    buffer: &'b mut B,
    pairs: I,
    /// What came out at once and has not been taken; at most what the buffer held.
    out: VecDeque<I::Item>,
    flushed: bool,
}

impl<K, V, B: Buffer<K, V> + ?Sized, I: Iterator<Item = (K, V)>> Iterator for Through<'_, B, I> {
    type Item = (K, V);

    fn next(&mut self) -> Option<(K, V)> {
        let Self {
            buffer,
            pairs,
            out,
            flushed,
        } = self;
        while out.is_empty() && !*flushed {
            let mut put = |key, sum| out.push_back((key, sum));
            match pairs.next() {
                Some((key, value)) => buffer.add(key, value, &mut put),
                None => {
                    buffer.flush(&mut put);
                    *flushed = true;
                }
            }
        }
        out.pop_front()
    }
}

impl<K, V, B: Buffer<K, V> + ?Sized, I: Iterator<Item = (K, V)>> FusedIterator for Through<'_, B, I> {}
