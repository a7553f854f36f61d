//! `BTreeSet`: `⊕` is the union, the zero is empty; idempotent.

use std::collections::BTreeSet;

use crate::{Commutative, Idempotent, Monoid, Semigroup};

/// The union; of equal elements the left stays.
impl<T: Ord> Semigroup for BTreeSet<T> {
    fn plus(&mut self, mut right: Self) {
        if self.is_empty() {
            std::mem::swap(self, &mut right);
        }
        for element in right {
            if !self.contains(&element) {
                self.insert(element);
            }
        }
    }
}

impl<T: Ord> Monoid for BTreeSet<T> {
    fn zero() -> Self {
        Self::new()
    }

    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

impl<T: Ord> Commutative for BTreeSet<T> {}
impl<T: Ord> Idempotent for BTreeSet<T> {}
