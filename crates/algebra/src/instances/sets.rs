//! `BTreeSet` and `HashSet`: union. The zero is the empty set. `plus` walks the smaller of the two.
//!
//! Where two elements are equal the left one stays. A set is also the exact twin of a sketch: it takes items.

use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher, Hash};
use std::mem::swap;

use crate::sketch::Sketch;
use crate::{Commutative, Idempotent, Monoid, Semigroup};

macro_rules! plus_union {
    () => {
        fn plus(&mut self, mut right: Self) {
            if self.len() >= right.len() {
                for element in right {
                    // An equal element that is there stays.
                    self.insert(element);
                }
            } else {
                swap(self, &mut right);
                for element in right {
                    self.replace(element);
                }
            }
        }
    };
}

/// Union.
impl<T: Ord> Semigroup for BTreeSet<T> {
    plus_union!();
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

/// Exact: every distinct item is kept.
impl<T: ToOwned<Owned: Ord> + Ord + ?Sized> Sketch<T> for BTreeSet<T::Owned> {
    fn add(&mut self, item: &T) {
        if !self.contains(item) {
            self.insert(item.to_owned());
        }
    }
}

/// Union, with any hasher.
impl<T: Eq + Hash, S: BuildHasher> Semigroup for HashSet<T, S> {
    plus_union!();
}

impl<T: Eq + Hash, S: BuildHasher + Default> Monoid for HashSet<T, S> {
    fn zero() -> Self {
        Self::default()
    }

    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

impl<T: Eq + Hash, S: BuildHasher> Commutative for HashSet<T, S> {}
impl<T: Eq + Hash, S: BuildHasher> Idempotent for HashSet<T, S> {}

/// Exact: every distinct item is kept.
impl<T, S> Sketch<T> for HashSet<T::Owned, S>
where
    T: ToOwned<Owned: Eq + Hash> + Eq + Hash + ?Sized,
    S: BuildHasher + Default,
{
    fn add(&mut self, item: &T) {
        if !self.contains(item) {
            self.insert(item.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::collection::{btree_set, hash_set};
    use proptest::prelude::*;

    use super::*;
    use crate::laws;

    proptest! {
        #[test]
        fn btree(
            a in btree_set(0..9_u8, 0..9), b in btree_set(0..9_u8, 0..9), c in btree_set(0..9_u8, 0..9), x in 0..9_u8,
        ) {
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
            laws::commutative(&a, &b)?;
            laws::idempotent(&a)?;
            laws::adds(&a, &x, BTreeSet::eq)?;
            laws::bulk_equals_repeated(&[a.clone(), b.clone(), c])?;
            prop_assert_eq!(laws::sum([a.clone(), b.clone()]), &a | &b);
        }

        #[test]
        fn hash(
            a in hash_set(0..9_u8, 0..9), b in hash_set(0..9_u8, 0..9), c in hash_set(0..9_u8, 0..9), x in 0..9_u8,
        ) {
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
            laws::commutative(&a, &b)?;
            laws::idempotent(&a)?;
            laws::adds(&a, &x, HashSet::eq)?;
            prop_assert_eq!(laws::sum([a.clone(), b.clone()]), &a | &b);
        }
    }

    /// Equal by its first part alone.
    #[derive(Clone, Debug)]
    struct Marked(u8, &'static str);

    impl PartialEq for Marked {
        fn eq(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }

    impl Eq for Marked {}

    impl PartialOrd for Marked {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    impl Ord for Marked {
        fn cmp(&self, other: &Self) -> Ordering {
            self.0.cmp(&other.0)
        }
    }

    #[test]
    fn of_equal_elements_the_left_one_stays() {
        let few = BTreeSet::from([Marked(1, "few")]);
        let many = BTreeSet::from([Marked(1, "many"), Marked(2, "many")]);
        assert_eq!(laws::sum([few.clone(), many.clone()]).first().unwrap().1, "few");
        assert_eq!(laws::sum([many, few]).first().unwrap().1, "many");
    }

    #[test]
    fn takes_what_it_can_own() {
        let mut words = BTreeSet::<String>::new();
        words.add("ant");
        words.add("ant");
        assert_eq!(words, BTreeSet::from(["ant".to_owned()]));
        assert_eq!(<HashSet<String> as Sketch<str>>::of("bee").len(), 1);
    }
}
