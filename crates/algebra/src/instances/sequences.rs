//! `String`, `Vec` and `VecDeque`: `⊕` is concatenation, the zero is empty. Not commutative.
//!
//! In bulk, `sum` makes room once. A vector is also the exact twin of a sketch: it takes items.

use std::collections::VecDeque;

use crate::sketch::Sketch;
use crate::{Monoid, Semigroup};

/// Concatenation.
impl Semigroup for String {
    fn plus(&mut self, right: Self) {
        if self.is_empty() {
            *self = right;
        } else {
            self.push_str(&right);
        }
    }

    fn sum(items: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut rest = items.into_iter();
        let mut sum = rest.next()?;
        let rest: Vec<Self> = rest.collect();
        sum.reserve_exact(rest.iter().map(Self::len).sum());
        rest.iter().for_each(|item| sum.push_str(item));
        Some(sum)
    }
}

impl Monoid for String {
    fn zero() -> Self {
        Self::new()
    }

    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

/// Concatenation.
impl<T> Semigroup for Vec<T> {
    fn plus(&mut self, mut right: Self) {
        if self.is_empty() {
            *self = right;
        } else {
            self.append(&mut right);
        }
    }

    fn sum(items: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut rest = items.into_iter();
        let mut sum = rest.next()?;
        let rest: Vec<Self> = rest.collect();
        sum.reserve_exact(rest.iter().map(Self::len).sum());
        rest.into_iter().for_each(|mut item| sum.append(&mut item));
        Some(sum)
    }
}

impl<T> Monoid for Vec<T> {
    fn zero() -> Self {
        Self::new()
    }

    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

/// Exact: every item is kept, in order.
impl<T: ToOwned + ?Sized> Sketch<T> for Vec<T::Owned> {
    fn add(&mut self, item: &T) {
        self.push(item.to_owned());
    }
}

/// Concatenation; moves the shorter of the two, so adding in front costs no more than adding behind.
impl<T> Semigroup for VecDeque<T> {
    fn plus(&mut self, mut right: Self) {
        if self.len() >= right.len() {
            self.append(&mut right);
        } else {
            self.drain(..).rev().for_each(|element| right.push_front(element));
            *self = right;
        }
    }
}

impl<T> Monoid for VecDeque<T> {
    fn zero() -> Self {
        Self::new()
    }

    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::laws;

    proptest! {
        #[test]
        fn string(a: String, b: String, c: String) {
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
            laws::bulk_equals_repeated(&[a.clone(), b, c])?;
            laws::bulk_equals_repeated(&[a])?;
        }

        #[test]
        fn vec(a: Vec<u8>, b: Vec<u8>, c: Vec<u8>) {
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
            laws::adds(&a, &7, Vec::eq)?;
            laws::bulk_equals_repeated(&[a.clone(), b.clone(), c.clone()])?;
            laws::bulk_equals_repeated::<Vec<u8>>(&[])?;
            prop_assert_eq!(laws::sum([a.clone(), b.clone()]), [&a[..], &b].concat());
            let [a, b, c] = [a, b, c].map(VecDeque::from);
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
            laws::round_trip(&a)?;
            prop_assert!(laws::sum([a.clone(), b.clone()]).iter().eq(a.iter().chain(&b)));
        }
    }
}
