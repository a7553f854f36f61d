//! The buffer that is none.

use super::Buffer;

/// Nothing: each value goes out as it came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unbuffered;

impl<K, V> Buffer<K, V> for Unbuffered {
    #[inline]
    fn add(&mut self, key: K, value: V, out: &mut dyn FnMut(K, V)) {
        out(key, value);
    }

    fn flush(&mut self, _out: &mut dyn FnMut(K, V)) {}

    fn len(&self) -> usize {
        0
    }
}
