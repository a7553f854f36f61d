//! `Box`, `Wrapping`, `PhantomData`: as what they hold.

use std::marker::PhantomData;
use std::num::Wrapping;

use crate::{Commutative, Group, Idempotent, Monoid, Semigroup};

/// As the value.
impl<T: Semigroup> Semigroup for Box<T> {
    #[inline]
    fn plus(&mut self, right: Self) {
        (**self).plus(*right);
    }
}

impl<T: Monoid> Monoid for Box<T> {
    fn zero() -> Self {
        Self::new(T::zero())
    }

    fn is_zero(&self) -> bool {
        (**self).is_zero()
    }
}

impl<T: Group> Group for Box<T> {
    fn negate(&mut self) {
        (**self).negate();
    }
}

impl<T: Commutative> Commutative for Box<T> {}
impl<T: Idempotent> Idempotent for Box<T> {}

/// As the value; integers wrap without it too.
impl<T: Semigroup> Semigroup for Wrapping<T> {
    #[inline]
    fn plus(&mut self, right: Self) {
        self.0.plus(right.0);
    }
}

impl<T: Monoid> Monoid for Wrapping<T> {
    #[inline]
    fn zero() -> Self {
        Self(T::zero())
    }

    #[inline]
    fn is_zero(&self) -> bool {
        self.0.is_zero()
    }
}

impl<T: Group> Group for Wrapping<T> {
    #[inline]
    fn negate(&mut self) {
        self.0.negate();
    }
}

impl<T: Commutative> Commutative for Wrapping<T> {}
impl<T: Idempotent> Idempotent for Wrapping<T> {}

/// Nothing, as `()`: for a struct with a parameter that no field has.
impl<T: ?Sized> Semigroup for PhantomData<T> {
    fn plus(&mut self, _right: Self) {}
}

impl<T: ?Sized> Monoid for PhantomData<T> {
    fn zero() -> Self {
        Self
    }

    fn is_zero(&self) -> bool {
        true
    }
}

impl<T: ?Sized> Group for PhantomData<T> {
    fn negate(&mut self) {}
}

impl<T: ?Sized> Commutative for PhantomData<T> {}
impl<T: ?Sized> Idempotent for PhantomData<T> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Max, laws};

    proptest! {
        #[test]
        fn laws_hold(a: i8, b: i8, c: i8) {
            let [x, y, z] = [a, b, c].map(Box::new);
            laws::associative(&x, &y, &z)?;
            laws::identity(&x)?;
            laws::inverse(&x)?;
            laws::commutative(&x, &y)?;
            laws::idempotent(&Box::new(Max(a)))?;
            laws::round_trip(&x)?;
            let [x, y, z] = [a, b, c].map(Wrapping);
            laws::associative(&x, &y, &z)?;
            laws::identity(&x)?;
            laws::inverse(&x)?;
            laws::commutative(&x, &y)?;
            laws::idempotent(&Wrapping(Max(a)))?;
            laws::round_trip(&x)?;
        }
    }

    #[test]
    fn phantom() {
        let it = PhantomData::<str>;
        laws::associative(&it, &it, &it).unwrap();
        laws::identity(&it).unwrap();
        laws::inverse(&it).unwrap();
        laws::commutative(&it, &it).unwrap();
        laws::idempotent(&it).unwrap();
        laws::round_trip(&it).unwrap();
    }
}
