//! Keys as `u64` in their order.

use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};

/// What a range is of: `u64`, `i64` or `f64`.
pub trait RangeKey: Copy + Debug + PartialOrd + sealed::Ordered {}

impl<X: Copy + Debug + PartialOrd + sealed::Ordered> RangeKey for X {}

pub(super) mod sealed {
    /// A key as a `u64`: `a < b ⇔ to_ordered(a) < to_ordered(b)`.
    pub trait Ordered: Sized {
        /// In the bytes.
        const NUMBER: u64;

        /// `None` for what has no place in the order.
        fn to_ordered(&self) -> Option<u64>;

        fn from_ordered(ordered: u64) -> Self;

        /// Whether some key has this place.
        fn is_key(ordered: u64) -> bool {
            Self::from_ordered(ordered).to_ordered() == Some(ordered)
        }
    }

    const SIGN: u64 = 1 << 63;

    impl Ordered for u64 {
        const NUMBER: u64 = 0;

        fn to_ordered(&self) -> Option<u64> {
            Some(*self)
        }

        fn from_ordered(ordered: u64) -> Self {
            ordered
        }
    }

    impl Ordered for i64 {
        const NUMBER: u64 = 1;

        fn to_ordered(&self) -> Option<u64> {
            Some(*self as u64 ^ SIGN)
        }

        fn from_ordered(ordered: u64) -> Self {
            (ordered ^ SIGN) as Self
        }
    }

    /// Of positive floats the bits with the sign set, of negative ones all bits turned.
    impl Ordered for f64 {
        const NUMBER: u64 = 2;

        fn to_ordered(&self) -> Option<u64> {
            // Adding 0.0 makes 0.0 of -0.0 and changes nothing else.
            let bits = (!self.is_nan()).then(|| (*self + 0.0).to_bits())?;
            Some(if bits & SIGN == 0 { bits | SIGN } else { !bits })
        }

        fn from_ordered(ordered: u64) -> Self {
            let bits = if ordered & SIGN == 0 {
                !ordered
            } else {
                ordered ^ SIGN
            };
            // The end of a cell may be -0.0, which is no key of its own.
            Self::from_bits(bits) + 0.0
        }
    }
}

/// The first and the last place in the range; `None` when it is empty, or an end is no key.
pub(super) fn closed<X: RangeKey>(range: &impl RangeBounds<X>) -> Option<(u64, u64)> {
    let first = match range.start_bound() {
        Bound::Unbounded => 0,
        Bound::Included(x) => x.to_ordered()?,
        Bound::Excluded(x) => x.to_ordered()?.checked_add(1)?,
    };
    let last = match range.end_bound() {
        Bound::Unbounded => u64::MAX,
        Bound::Included(x) => x.to_ordered()?,
        Bound::Excluded(x) => x.to_ordered()?.checked_sub(1)?,
    };
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::sealed::Ordered;

    proptest! {
        #[test]
        fn the_order_stays(a: f64, b: f64, i: i64, j: i64) {
            prop_assert_eq!(i.cmp(&j), i.to_ordered().cmp(&j.to_ordered()));
            prop_assert_eq!(i64::from_ordered(i.to_ordered().unwrap()), i);
            if !a.is_nan() && !b.is_nan() {
                prop_assert_eq!(a.partial_cmp(&b).unwrap(), a.to_ordered().cmp(&b.to_ordered()));
                prop_assert_eq!(f64::from_ordered(a.to_ordered().unwrap()), a);
            }
        }
    }

    #[test]
    fn what_is_no_key() {
        assert_eq!(f64::NAN.to_ordered(), None);
        assert_eq!((-0.0_f64).to_ordered(), 0.0_f64.to_ordered());
        assert!(!f64::is_key(u64::MAX) && !f64::is_key((1 << 63) - 1) && f64::is_key(1 << 63));
    }
}
