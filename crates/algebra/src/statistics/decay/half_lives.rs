//! A float and the whole half-lives that it is as of: `Σ xᵢ·2^(tᵢ/H)` as `value·2^half_lives`.
//!
//! Sums that decay are kept as of a whole number of half-lives after time 0, not as of their latest part: then moving
//! them to a later time is a shift by a power of two, which is exact, and only a part's way in and an answer's way out
//! round. It is Forward Decay (Cormode, Shkapenyuk, Srivastava and Xu 2009) with `g(n) = 2^(n/H)`, the landmark 0, and
//! the exponent kept apart so that it cannot overflow.

/// How many half-lives have passed at `time`.
#[inline]
pub(crate) const fn whole<const HALF_LIFE: u64>(time: u64) -> u64 {
    const { assert!(HALF_LIFE > 0, "a half-life is at least 1") }
    time / HALF_LIFE
}

/// `2^f` of the fraction `f` of a half-life that has passed since the last whole one; `1.0..=2.0`.
#[inline]
pub(crate) fn growth<const HALF_LIFE: u64>(time: u64) -> f64 {
    const { assert!(HALF_LIFE > 0, "a half-life is at least 1") }
    ((time % HALF_LIFE) as f64 / HALF_LIFE as f64).exp2()
}

/// A value as of `from` half-lives, as of `to`: `value·2^(from − to)`. Exact unless it leaves the range of `f64`: what
/// becomes too small is 0, what becomes too large infinite. What is not finite stays so.
#[inline]
pub(crate) fn shifted(value: f64, from: u64, to: u64) -> f64 {
    // From the largest number to the smallest are 2,098 halvings.
    let distance = from.abs_diff(to).min(2_200) as i64;
    let steps = if from >= to { distance } else { -distance };
    if distance <= 1_022 {
        return value * power_of_two(steps);
    }
    let third = steps / 3;
    value * power_of_two(third) * power_of_two(third) * power_of_two(steps - 2 * third)
}

/// The one form of each number: one zero, one NaN, so that equal sums are the same bytes.
#[inline]
pub(crate) fn settled(value: f64) -> f64 {
    if value == 0.0 {
        0.0
    } else if value.is_nan() {
        f64::NAN
    } else {
        value
    }
}

/// Whether it is in that form: bytes of another one were never written.
pub(crate) fn is_settled(value: f64) -> bool {
    settled(value).to_bits() == value.to_bits()
}

/// `2^exponent`, from −1,022 to 1,023.
fn power_of_two(exponent: i64) -> f64 {
    f64::from_bits(((1_023 + exponent) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_shift_is_exact_and_undone(value in -1e100..1e100, from in 0..500_u64, to in 0..500_u64) {
            let there = shifted(value, from, to);
            prop_assert_eq!(there, value * 2_f64.powi(from as i32 - to as i32));
            prop_assert_eq!(shifted(there, to, from), value);
        }
    }

    #[test]
    fn at_the_ends_of_the_range() {
        assert_eq!(shifted(f64::MAX, 0, 2_097), 2.0 * f64::from_bits(1));
        assert_eq!(shifted(f64::MAX, 0, 3_000), 0.0);
        assert_eq!(shifted(f64::from_bits(1), 2_097, 0), 2_f64.powi(1_023));
        assert_eq!(shifted(1.0, u64::MAX, 0), f64::INFINITY);
        assert_eq!(shifted(1.0, 0, u64::MAX), 0.0);
        assert_eq!(shifted(0.0, u64::MAX, 0), 0.0);
        assert_eq!(shifted(f64::INFINITY, 0, u64::MAX), f64::INFINITY);
        assert!(shifted(f64::NAN, 0, u64::MAX).is_nan());
    }

    #[test]
    fn time_is_whole_half_lives_and_growth() {
        assert_eq!((whole::<10>(29), growth::<10>(20)), (2, 1.0));
        assert_eq!(growth::<10>(25), std::f64::consts::SQRT_2);
        assert_eq!((whole::<1>(u64::MAX), growth::<1>(u64::MAX)), (u64::MAX, 1.0));
        assert_eq!(whole::<{ u64::MAX }>(u64::MAX - 1), 0);
        assert_eq!(growth::<{ u64::MAX }>(u64::MAX - 1), 2.0);
    }
}
