//! Tuples to 12, the empty one among them: part by part. What every part is, the tuple is.

use crate::{Commutative, Group, Monoid, Semigroup};

macro_rules! tuple {
    ($($part:ident $place:tt)*) => {
        /// Part by part.
        impl<$($part: Semigroup),*> Semigroup for ($($part,)*) {
            #[inline]
            fn plus(&mut self, right: Self) {
                $(self.$place.plus(right.$place);)*
            }
        }

        impl<$($part: Monoid),*> Monoid for ($($part,)*) {
            fn zero() -> Self {
                ($($part::zero(),)*)
            }

            fn is_zero(&self) -> bool {
                true $(&& self.$place.is_zero())*
            }
        }

        impl<$($part: Group),*> Group for ($($part,)*) {
            fn negate(&mut self) {
                $(self.$place.negate();)*
            }
        }

        impl<$($part: Commutative),*> Commutative for ($($part,)*) {}
    };
}

impl Semigroup for () {
    fn plus(&mut self, _right: Self) {}
}

impl Monoid for () {
    fn zero() -> Self {}

    fn is_zero(&self) -> bool {
        true
    }
}

impl Group for () {
    fn negate(&mut self) {}
}

impl Commutative for () {}

tuple!(A 0);
tuple!(A 0 B 1);
tuple!(A 0 B 1 C 2);
tuple!(A 0 B 1 C 2 D 3);
tuple!(A 0 B 1 C 2 D 3 E 4);
tuple!(A 0 B 1 C 2 D 3 E 4 F 5);
tuple!(A 0 B 1 C 2 D 3 E 4 F 5 G 6);
tuple!(A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7);
tuple!(A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8);
tuple!(A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9);
tuple!(A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10);
tuple!(A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::laws;

    #[test]
    fn empty() {
        laws::associative(&(), &(), &()).unwrap();
        laws::identity(&()).unwrap();
        laws::inverse(&()).unwrap();
        laws::commutative(&(), &()).unwrap();
    }

    macro_rules! lawful {
        ($($name:ident $tuple:ty;)*) => {
            proptest! {$(
                #[test]
                fn $name(a: $tuple, b: $tuple, c: $tuple) {
                    laws::associative(&a, &b, &c)?;
                    laws::identity(&a)?;
                    laws::inverse(&a)?;
                    laws::commutative(&a, &b)?;
                }
            )*}
        };
    }

    lawful! {
        one (i8,);
        two (i8, u64);
        three (i8, u64, (i64, i64));
        four (i8, u64, i64, u128);
        five (i8, u64, i64, u128, ());
        six (i8, u64, i64, u128, (), (i8,));
    }

    proptest! {
        #[test]
        fn of_monoids(a: (u8, String), b: (u8, String), c: (u8, String)) {
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
        }
    }
}
