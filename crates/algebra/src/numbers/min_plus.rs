//! The tropical semiring: the least of some costs, and costs one after another.

use std::cmp::Ordering;
use std::fmt::Debug;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::float;
use crate::codec::{Codec, DecodeError, Input, kind, put_header};
use crate::{Commutative, Idempotent, Monoid, Semigroup, Semiring, Times};

/// What a [`MinPlus`] is made of: an ordered number with an infinity that any sum past the maximum is.
///
/// The unsigned integers (the infinity is their maximum) and `f64`. Not the signed integers: with negative costs no
/// treatment of what passes the maximum is associative, since `(MAX ⊗ 1) ⊗ −1` would have to be `MAX` again.
pub trait Cost: Copy + Debug + PartialEq + private::Sealed {
    /// No way at all.
    const INFINITY: Self;
    /// No cost.
    const ZERO: Self;

    /// As every equal one is held.
    fn canonical(self) -> Self;

    /// The order.
    fn compare(&self, other: &Self) -> Ordering;

    /// One after the other; infinity when either is, or past the maximum.
    fn and_then(self, other: Self) -> Self;

    /// Appends the bytes.
    fn put(self, out: &mut Vec<u8>);

    /// Takes the bytes.
    ///
    /// # Errors
    /// When they are not those of a canonical one.
    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError>;
}

mod private {
    pub trait Sealed {}
}

macro_rules! unsigned {
    ($($int:ty)*) => {$(
        impl private::Sealed for $int {}

        impl Cost for $int {
            const INFINITY: Self = <$int>::MAX;
            const ZERO: Self = 0;

            fn canonical(self) -> Self {
                self
            }

            fn compare(&self, other: &Self) -> Ordering {
                self.cmp(other)
            }

            #[inline]
            fn and_then(self, other: Self) -> Self {
                self.saturating_add(other)
            }

            fn put(self, out: &mut Vec<u8>) {
                self.encode(out);
            }

            fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
                Self::decode(input)
            }
        }
    )*};
}

unsigned!(u8 u16 u32 u64 u128);

impl private::Sealed for f64 {}

impl Cost for f64 {
    const INFINITY: Self = Self::INFINITY;
    const ZERO: Self = 0.0;

    /// NaN is no way at all; a zero has no sign.
    fn canonical(self) -> Self {
        if self.is_nan() { Self::INFINITY } else { self + 0.0 }
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.total_cmp(other)
    }

    #[inline]
    fn and_then(self, other: Self) -> Self {
        if self == Self::INFINITY || other == Self::INFINITY {
            Self::INFINITY
        } else {
            (self + other).canonical()
        }
    }

    fn put(self, out: &mut Vec<u8>) {
        float::put(out, self);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let value = float::take(input)?;
        if value.is_nan() {
            return Err(input.corrupt("a cost is not a number"));
        }
        Ok(value)
    }
}

/// A cost: `a ⊕ b = min(a, b)`, the cheaper way; `a ⊗ b = a + b`, one way after the other. The zero is infinity (no
/// way), the one is 0.
///
/// With unsigned integers all laws of a semiring hold exactly: a sum past the maximum is infinity, which is the maximum,
/// so it must not be used as a cost. With `f64` those of `⊕` hold exactly, and those of `⊗` up to the rounding of
/// additions; NaN is taken as infinity, and `∞ ⊗ −∞ = ∞`.
///
/// | answers | the least cost of some ways |
/// |---|---|
/// | update, merge | one comparison |
/// | memory, bytes | `T`; 2 and `T` |
///
/// Bytes: kind 0x1e, version 1, the cost. As JSON it is the cost.
///
/// ```
/// use algebra::{MinPlus, Semigroup, Times};
///
/// // By the bridge, 3 and then 4; or by the ford, 9.
/// let mut way = MinPlus::from(3_u32);
/// way.times(MinPlus::from(4));
/// way.plus(MinPlus::from(9));
/// assert_eq!(way.cost(), Some(7));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MinPlus<T>(T);

impl<T: Cost> MinPlus<T> {
    /// The cost; `None` when there is no way.
    pub fn cost(&self) -> Option<T> {
        (self.0 != T::INFINITY).then_some(self.0)
    }
}

/// One way.
impl<T: Cost> From<T> for MinPlus<T> {
    fn from(cost: T) -> Self {
        Self(cost.canonical())
    }
}

/// The cheaper.
impl<T: Cost> Semigroup for MinPlus<T> {
    #[inline]
    fn plus(&mut self, right: Self) {
        if right.0.compare(&self.0).is_lt() {
            *self = right;
        }
    }
}

impl<T: Cost> Monoid for MinPlus<T> {
    fn zero() -> Self {
        Self(T::INFINITY)
    }

    fn is_zero(&self) -> bool {
        self.0 == T::INFINITY
    }
}

impl<T: Cost> Commutative for MinPlus<T> {}
impl<T: Cost> Idempotent for MinPlus<T> {}

/// One after the other.
impl<T: Cost> Times for MinPlus<T> {
    #[inline]
    fn times(&mut self, right: Self) {
        self.0 = self.0.and_then(right.0);
    }
}

impl<T: Cost> Semiring for MinPlus<T> {
    fn one() -> Self {
        Self(T::ZERO)
    }
}

impl<T: Cost> Codec for MinPlus<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::MIN_PLUS, 1);
        self.0.put(out);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::MIN_PLUS, 1)?;
        T::take(input).map(Self)
    }
}

macro_rules! as_the_cost {
    ($($cost:ty as $with:ident;)*) => {$(
        impl Serialize for MinPlus<$cost> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $with::serialize(&self.0, serializer)
            }
        }

        impl<'de> Deserialize<'de> for MinPlus<$cost> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $with::deserialize(deserializer).map(Self::from)
            }
        }
    )*};
}

as_the_cost! {
    f64 as float;
    u8 as u8;
    u16 as u16;
    u32 as u32;
    u64 as u64;
    u128 as u128;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::DecodeErrorKind;
    use crate::laws;

    macro_rules! lawful {
        ($($int:ident)*) => {$(
            proptest! {
                /// Small types, and large costs, so that the maximum is passed.
                #[test]
                fn $int(a: $int, b: $int, c: $int, shift in 0..8_u32, changes in prop::collection::vec(any::<(usize, u8)>(), 0..4)) {
                    let [a, b, c] = [a, b >> shift, c >> shift].map(MinPlus::from);
                    laws::associative(&a, &b, &c)?;
                    laws::identity(&a)?;
                    laws::commutative(&a, &b)?;
                    laws::idempotent(&a)?;
                    laws::distributive(&a, &b, &c)?;
                    laws::unit(&a)?;
                    laws::round_trip(&a)?;
                    laws::survives::<MinPlus<$int>>(&a.to_bytes(), &changes)?;
                }
            }
        )*};
    }

    lawful!(u8 u16 u32 u64 u128);

    fn cost() -> impl Strategy<Value = f64> {
        prop_oneof![
            8 => -1e9..1e9,
            1 => prop::sample::select(vec![f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 0.0, -0.0]),
        ]
    }

    proptest! {
        #[test]
        fn floats(a in cost(), b in cost(), c in cost(), changes in prop::collection::vec(any::<(usize, u8)>(), 0..4)) {
            let [a, b, c] = [a, b, c].map(MinPlus::from);
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
            laws::commutative(&a, &b)?;
            laws::idempotent(&a)?;
            laws::unit(&a)?;
            let close = |x: &MinPlus<f64>, y: &MinPlus<f64>| x == y || (x.0 - y.0).abs() <= 3e9 * f64::EPSILON;
            laws::distributive_within(&a, &b, &c, close)?;
            laws::round_trip(&a)?;
            laws::survives::<MinPlus<f64>>(&a.to_bytes(), &changes)?;
            let text = serde_json::to_string(&a).unwrap();
            prop_assert_eq!(serde_json::from_str::<MinPlus<f64>>(&text).unwrap(), a);
        }

        /// The power of the matrix of edges is the shortest way, as Bellman and Ford find it.
        #[test]
        fn shortest_ways_like_the_naive_twin(edges in prop::collection::vec((0..5_usize, 0..5_usize, 0..100_u16), 0..20)) {
            let mut ways = [[MinPlus::zero(); 5]; 5];
            for (from, to, cost) in &edges {
                ways[*from][*to].plus(MinPlus::from(*cost));
            }
            (0..5).for_each(|at| ways[at][at].plus(MinPlus::one()));
            for _ in 0..3 {
                let before = ways;
                for (from, to, by) in (0..125).map(|i| (i / 25, i / 5 % 5, i % 5)) {
                    let mut way = before[from][by];
                    way.times(before[by][to]);
                    ways[from][to].plus(way);
                }
            }
            let mut naive = [Some(0), None, None, None, None];
            for _ in 0..5 {
                for (from, to, cost) in &edges {
                    let there = naive[*from].map(|before: u16| before + cost);
                    naive[*to] = [naive[*to], there].into_iter().flatten().min();
                }
            }
            prop_assert_eq!(ways[0].map(|way| way.cost()), naive);
        }
    }

    #[test]
    fn past_the_maximum_is_no_way() {
        let mut way = MinPlus::from(200_u8);
        way.times(MinPlus::from(100));
        assert_eq!(way.cost(), None);
        assert_eq!(MinPlus::from(f64::NAN).cost(), None);
        assert_eq!(MinPlus::from(-0.0).to_bytes(), MinPlus::from(0.0).to_bytes());
        let mut bytes = MinPlus::from(1.0).to_bytes();
        bytes[2..].copy_from_slice(&f64::NAN.to_le_bytes());
        laws::refuses::<MinPlus<f64>>(&bytes, DecodeErrorKind::Corrupt).unwrap();
        assert_eq!(
            serde_json::to_string(&MinPlus::<f64>::zero()).unwrap(),
            r#""inf""#
        );
        assert_eq!(
            serde_json::from_str::<MinPlus<u8>>("7").unwrap(),
            MinPlus::from(7)
        );
    }
}
