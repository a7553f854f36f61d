//! The last items, in order.

use std::collections::VecDeque;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::{Codec, DecodeError, Input, kind, put_header, put_length, put_shape};
use crate::sketch::Sketch;
use crate::{Monoid, Semigroup};

/// The last `N` items, oldest first: `a ⊕ b` is the last `N` of `a` followed by `b`.
///
/// ```
/// use algebra::{Semigroup, Window};
///
/// let mut window: Window<u32, 3> = [1, 2].into_iter().collect();
/// window.plus([3, 4].into_iter().collect());
/// assert_eq!(window.iter().copied().collect::<Vec<_>>(), [2, 3, 4]);
/// assert_eq!(window.sum(), Some(9));
/// ```
///
/// The laws hold exactly; not commutative: the right one is later. With `N = 1` it is [`Last`](crate::Last) with a
/// zero.
///
/// | | |
/// |---|---|
/// | answers | the last items and any sum of them |
/// | update | O(1) |
/// | merge | O(right) |
/// | size | `N` items |
/// | error | none |
///
/// Bytes: kind, version; `N` u64; u32 count; the items, oldest first. JSON is an array of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Window<T, const N: usize> {
    items: VecDeque<T>,
}

impl<T, const N: usize> Default for Window<T, N> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
        }
    }
}

impl<T, const N: usize> Window<T, N> {
    /// No items.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next item; the oldest one makes room for it.
    #[inline]
    pub fn push(&mut self, item: T) {
        const { assert!(N > 0, "a window holds at least 1 item") }
        if self.items.len() >= N {
            self.items.pop_front();
        }
        self.items.push_back(item);
    }

    /// The items, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
        self.items.iter()
    }

    /// How many items: at most `N`.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether there are `N`, so that the next one drops the oldest.
    pub fn is_full(&self) -> bool {
        self.items.len() == N
    }

    /// The sum of the items, oldest first; `None` when there are none. O(`N`).
    pub fn sum(&self) -> Option<T>
    where
        T: Semigroup + Clone,
    {
        T::sum(self.items.iter().cloned())
    }
}

/// The items, one after another.
impl<T, const N: usize> FromIterator<T> for Window<T, N> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut window = Self::new();
        window.extend(items);
        window
    }
}

impl<T, const N: usize> Extend<T> for Window<T, N> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        items.into_iter().for_each(|item| self.push(item));
    }
}

/// The right one's items follow.
impl<T, const N: usize> Semigroup for Window<T, N> {
    fn plus(&mut self, right: Self) {
        if right.is_full() || self.is_empty() {
            *self = right;
        } else {
            self.extend(right.items);
        }
    }
}

impl<T, const N: usize> Monoid for Window<T, N> {
    fn zero() -> Self {
        Self::default()
    }

    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

/// Takes the next item.
impl<T: Clone, const N: usize> Sketch<T> for Window<T, N> {
    fn add(&mut self, item: &T) {
        self.push(item.clone());
    }
}

impl<T: Codec, const N: usize> Codec for Window<T, N> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::WINDOW, 1);
        put_shape(out, N as u64);
        put_length(out, self.len());
        self.items.iter().for_each(|item| item.encode(out));
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::WINDOW, 1)?;
        input.shape("N", N as u64)?;
        let items = Vec::decode(input)?;
        Self::within(items).map_err(|text| input.corrupt(text))
    }
}

impl<T, const N: usize> Window<T, N> {
    fn within(items: Vec<T>) -> Result<Self, String> {
        if items.len() > N {
            return Err(format!(
                "more items than the window holds: expected={N} found={}",
                items.len()
            ));
        }
        Ok(Self { items: items.into() })
    }
}

impl<T: Serialize, const N: usize> Serialize for Window<T, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.items)
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for Window<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::within(Vec::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::DecodeErrorKind;
    use crate::laws;

    type Three = Window<u8, 3>;

    fn build<const N: usize>(items: &[u8]) -> Window<u8, N> {
        items.iter().copied().collect()
    }

    fn lawful<const N: usize>(items: &[Vec<u8>; 3], cuts: &[usize]) -> Result<(), TestCaseError> {
        laws::merge_equals_whole_within(&items.concat(), cuts, build::<N>, Window::eq)?;
        let [a, b, c] = items.each_ref().map(|items| build::<N>(items));
        laws::associative(&a, &b, &c)?;
        laws::identity(&a)?;
        laws::adds(&a, &7, Window::eq)?;
        laws::round_trip(&a)?;
        laws::bulk_equals_repeated(&[a.clone(), b, c])?;
        let text = serde_json::to_string(&a).unwrap();
        prop_assert_eq!(serde_json::from_str::<Window<u8, N>>(&text).unwrap(), a);
        Ok(())
    }

    proptest! {
        #[test]
        fn laws_hold(items: [Vec<u8>; 3], cuts: [usize; 3]) {
            lawful::<1>(&items, &cuts)?;
            lawful::<3>(&items, &cuts)?;
            lawful::<100>(&items, &cuts)?;
        }

        #[test]
        fn like_the_naive_twin(items in prop::collection::vec("[a-z]", 0..20)) {
            let window: Window<String, 7> = items.iter().cloned().collect();
            let last = &items[items.len().saturating_sub(7)..];
            prop_assert!(window.iter().eq(last));
            prop_assert_eq!(window.sum().unwrap_or_default(), last.concat());
            prop_assert_eq!(window.is_full(), items.len() >= 7);
        }

        #[test]
        fn any_bytes(bytes: Vec<u8>, items: Vec<u8>, changes: Vec<(usize, u8)>) {
            laws::survives::<Three>(&bytes, &[])?;
            laws::survives::<Three>(&build::<3>(&items).to_bytes(), &changes)?;
        }
    }

    #[test]
    fn memory_is_bounded() {
        let window: Three = (0..100_000_u32).map(|item| item as u8).collect();
        assert!(
            window.items.capacity() < 16,
            "capacity={}",
            window.items.capacity()
        );
    }

    #[test]
    fn other_shapes_are_refused() {
        let bytes = build::<3>(&[1, 2, 3]).to_bytes();
        laws::refuses::<Window<u8, 4>>(&bytes, DecodeErrorKind::Shape).unwrap();
        let changed = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            bytes
        };
        laws::refuses::<Three>(&changed(0, 0), DecodeErrorKind::Corrupt).unwrap();
        laws::refuses::<Three>(&changed(1, 2), DecodeErrorKind::Version).unwrap();
        let mut four = changed(10, 4);
        four.push(9);
        laws::refuses::<Three>(&four, DecodeErrorKind::Corrupt).unwrap();
        assert!(serde_json::from_str::<Three>("[1,2,3,4]").is_err());
    }
}
