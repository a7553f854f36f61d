//! The `K` largest or smallest items, exact.
//!
//! Bytes of both: the header, `K`, which of the two (0 the largest, 1 the smallest), and the items as a sequence.

#[cfg(test)]
mod tests;

use super::Sketch;
use crate::codec::{Codec, DecodeError, Input, kind, put_header, put_shape, through_bytes};
use crate::{Commutative, Monoid, Semigroup};

macro_rules! top {
    ($(#[$doc:meta])* $name:ident, $code:literal, |$left:ident, $right:ident| $before:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name<T, const K: usize> {
            /// First the one that goes last.
            items: Vec<T>,
        }

        impl<T: Ord, const K: usize> $name<T, K> {
            /// No items.
            pub fn new() -> Self {
                const { assert!(K >= 1, "room for at least one item") };
                Self { items: Vec::new() }
            }

            /// Takes an item.
            pub fn insert(&mut self, item: T) {
                if self.takes(&item) {
                    self.items.truncate(K - 1);
                    let at = self.items.partition_point(|other| !Self::before(&item, other));
                    self.items.insert(at, item);
                }
            }

            /// The items, sorted: first the one that goes last.
            pub fn items(&self) -> &[T] {
                &self.items
            }

            /// The items, sorted: first the one that goes last.
            pub fn into_items(self) -> Vec<T> {
                self.items
            }

            fn takes(&self, item: &T) -> bool {
                self.items.get(K - 1).is_none_or(|last| Self::before(item, last))
            }

            fn before($left: &T, $right: &T) -> bool {
                $before
            }

            fn cut(mut items: Vec<T>) -> Vec<T> {
                items.sort_by(|left, right| Self::before(right, left).cmp(&Self::before(left, right)));
                items.truncate(K);
                items
            }
        }

        impl<T: Ord, const K: usize> Default for $name<T, K> {
            fn default() -> Self {
                Self::new()
            }
        }

        impl<T: Ord + Clone, const K: usize> Sketch<T> for $name<T, K> {
            #[inline]
            fn add(&mut self, item: &T) {
                if self.takes(item) {
                    self.insert(item.clone());
                }
            }
        }

        /// Those of both that have room; of equal ones the left go first.
        impl<T: Ord, const K: usize> Semigroup for $name<T, K> {
            fn plus(&mut self, right: Self) {
                match right.items.first() {
                    Some(first) if self.takes(first) => {}
                    _ => return,
                }
                let left = std::mem::take(&mut self.items);
                let (mut left, mut right) = (left.into_iter().peekable(), right.items.into_iter().peekable());
                while self.items.len() < K {
                    let next = match (left.peek(), right.peek()) {
                        (Some(from_left), Some(from_right)) if Self::before(from_right, from_left) => right.next(),
                        (Some(_), _) => left.next(),
                        (None, _) => right.next(),
                    };
                    match next {
                        Some(next) => self.items.push(next),
                        None => return,
                    }
                }
            }

            /// Sorts many at once.
            fn sum(items: impl IntoIterator<Item = Self>) -> Option<Self> {
                let mut sets = items.into_iter();
                let mut items = sets.next()?.items;
                for set in sets {
                    items.extend(set.items);
                    if items.len() > K.saturating_mul(16).max(1024) {
                        items = Self::cut(items);
                    }
                }
                Some(Self { items: Self::cut(items) })
            }
        }

        impl<T: Ord, const K: usize> Monoid for $name<T, K> {
            fn zero() -> Self {
                Self::new()
            }

            fn is_zero(&self) -> bool {
                self.items.is_empty()
            }
        }

        impl<T: Ord, const K: usize> Commutative for $name<T, K> {}

        impl<T: Ord + Codec, const K: usize> Codec for $name<T, K> {
            fn encode(&self, out: &mut Vec<u8>) {
                put_header(out, kind::TOP_K, 1);
                put_shape(out, K as u64);
                put_shape(out, $code);
                self.items.encode(out);
            }

            fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
                input.header(kind::TOP_K, 1)?;
                input.shape("K", K as u64)?;
                input.shape("whether the smallest", $code)?;
                let items = Vec::decode(input)?;
                if items.len() > K || items.windows(2).any(|pair| Self::before(&pair[1], &pair[0])) {
                    return Err(input.corrupt("items are too many, or not sorted"));
                }
                Ok(Self { items })
            }
        }

        through_bytes!([T: Ord + Codec, const K: usize] $name<T, K>);
    };
}

top! {
    /// The `K` largest items, duplicates kept, sorted from the largest down.
    ///
    /// Laws, exact (`==`): `⊕` keeps the `K` largest of both; associative and commutative (for items that are equal
    /// only when they are the same), and the empty one is the zero. Not idempotent: `a ⊕ a` has each item twice.
    ///
    /// With pairs it is the `K` items with the largest scores: `Largest<(score, item), K>`.
    ///
    /// ```
    /// use algebra::sketch::Largest;
    ///
    /// let mut longest = Largest::<(u64, &str), 2>::new();
    /// longest.insert((7, "ant"));
    /// longest.insert((3, "bee"));
    /// longest.insert((9, "cat"));
    /// assert_eq!(longest.items(), [(9, "cat"), (7, "ant")]);
    /// ```
    ///
    /// | | |
    /// |---|---|
    /// | update | one comparison for an item that has no room, else `log₂ K` and a shift |
    /// | merge | at most `K` comparisons; one when the right has nothing to add |
    /// | size | `K` items |
    Largest, 0, |left, right| left > right
}

top! {
    /// The `K` smallest items, duplicates kept, sorted from the smallest up: [`Largest`] the other way round.
    Smallest, 1, |left, right| left < right
}
