//! From the bits of a float to its bucket and back, in whole numbers: the same on every machine, for good.
//!
//! A magnitude `x = 2ᵉ·(1 + s)`, `0 ≤ s < 1`, has the index `⌊B·(e + s·(4 − s)/3)⌋`, with `B` buckets to each octave.
//! The quadratic stands for `log₂(1 + s)`; both are 0 at 0 and 1 at 1, so buckets never cross an octave. By `ln x` it
//! rises with the slope `(1 + s)·(4 − 2s)/3`, at least 4/3: so a bucket is at most `3/(4B)` wide in `ln x`. For the
//! relative error α that width may be `ln((1 + α)/(1 − α)) > 2α`, so `B = ⌈3/(8α)⌉` is enough: 8 % more than the
//! logarithm itself takes.

/// The greatest relative error there is, in 1/10 000.
pub(super) const PERMYRIAD_MAX: u32 = 5000;

/// Indices are in `INDEX_MIN·B ..= INDEX_MAX·B`: of the least normal magnitude, and of infinity alone.
const EXPONENT_MIN: i32 = -1022;
const EXPONENT_MAX: i32 = 1024;

const MANTISSA_BITS: u32 = 52;
/// `s = 1` as a mantissa.
const ONE: u64 = 1 << MANTISSA_BITS;

/// `B`: buckets to an octave.
const fn per_octave(permyriad: u32) -> u32 {
    3750_u32.div_ceil(permyriad)
}

/// The bucket of a normal positive number or infinity.
#[inline]
pub(super) fn index<const PERMYRIAD: u32>(magnitude: f64) -> i32 {
    let buckets = const { per_octave(PERMYRIAD) };
    let bits = magnitude.to_bits();
    let exponent = (bits >> MANTISSA_BITS) as i32 - 1023;
    let s = bits & (ONE - 1);
    // s·(4 − s), scaled by 2^104: below 3·2^104, times B below 2^118.
    let curve = u128::from(s) * u128::from(4 * ONE - s);
    let within = ((curve * u128::from(buckets)) >> (2 * MANTISSA_BITS)) as u32 / 3;
    exponent * buckets as i32 + within as i32
}

/// The indices that [`index`] gives.
pub(super) const fn indices<const PERMYRIAD: u32>() -> std::ops::RangeInclusive<i32> {
    let buckets = per_octave(PERMYRIAD) as i32;
    EXPONENT_MIN * buckets..=EXPONENT_MAX * buckets
}

/// The least float of the bucket; infinity for that of infinity and what is beyond.
pub(super) fn lower_end<const PERMYRIAD: u32>(index: i32) -> f64 {
    let (exponent, s) = place::<PERMYRIAD>(index);
    if exponent >= EXPONENT_MAX {
        return f64::INFINITY;
    }
    f64::from_bits((((exponent + 1023) as u64) << MANTISSA_BITS) + s)
}

/// The number in the bucket from which none in it differs by more than the relative error: `2ab/(a + b)` of its ends.
pub(super) fn value<const PERMYRIAD: u32>(index: i32) -> f64 {
    let (exponent, s) = place::<PERMYRIAD>(index);
    if exponent >= EXPONENT_MAX {
        return f64::INFINITY;
    }
    let end = |s: u64| 1.0 + s as f64 / ONE as f64;
    let (a, b) = (
        end(s),
        match place::<PERMYRIAD>(index + 1) {
            (_, 0) => 2.0,
            (_, s) => end(s),
        },
    );
    // Without the exponent first: nothing overflows, and a power of two loses nothing.
    let octave = f64::from_bits(((exponent + 1023) as u64) << MANTISSA_BITS);
    (2.0 * a * b / (a + b)) * octave
}

/// The exponent, and the least `s` with `⌊B·s·(4 − s)/3⌋ = j`: from `(2 − s)² ≤ 4 − 3j/B`, in whole numbers.
fn place<const PERMYRIAD: u32>(index: i32) -> (i32, u64) {
    let buckets = const { per_octave(PERMYRIAD) };
    let exponent = index.div_euclid(buckets as i32);
    let j = index.rem_euclid(buckets as i32) as u128;
    let one = u128::from(ONE);
    let reached = (3 * j * one * one).div_ceil(u128::from(buckets));
    let s = 2 * one - (4 * one * one - reached).isqrt();
    (exponent, s as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// At every edge of an octave the bucket changes exactly there, and both ends are within the error of the value, in
    /// whole numbers: `10 000·|v − x| ≤ PERMYRIAD·x`.
    fn check_octave<const PERMYRIAD: u32>(exponent: i32) {
        let buckets = per_octave(PERMYRIAD) as i32;
        for bucket in exponent * buckets..(exponent + 1) * buckets {
            let (first, value) = (lower_end::<PERMYRIAD>(bucket), value::<PERMYRIAD>(bucket));
            let last = lower_end::<PERMYRIAD>(bucket + 1).next_down();
            assert!(first <= value && value <= last, "bucket={bucket}");
            assert_eq!([first, value, last].map(index::<PERMYRIAD>), [bucket; 3]);
            if exponent > EXPONENT_MIN {
                assert_eq!(index::<PERMYRIAD>(first.next_down()), bucket - 1);
            }
            for x in [first, last] {
                let [v, x] = [value, x].map(mantissa);
                let off = u128::from(v.abs_diff(x)) * 10_000;
                assert!(
                    off <= u128::from(PERMYRIAD) * u128::from(x),
                    "bucket={bucket} off={off}"
                );
            }
        }
    }

    /// With the leading one, of numbers of one octave.
    fn mantissa(x: f64) -> u64 {
        (x.to_bits() & (ONE - 1)) | ONE
    }

    #[test]
    fn every_edge_is_exact() {
        for exponent in [EXPONENT_MIN, -1, 0, 1, 52, EXPONENT_MAX - 1] {
            check_octave::<1>(exponent);
            check_octave::<7>(exponent);
            check_octave::<100>(exponent);
            check_octave::<333>(exponent);
            check_octave::<1000>(exponent);
            check_octave::<5000>(exponent);
        }
    }

    #[test]
    fn the_ends_of_the_line() {
        assert_eq!(index::<100>(f64::MIN_POSITIVE), *indices::<100>().start());
        assert_eq!(index::<100>(f64::INFINITY), *indices::<100>().end());
        assert_eq!(index::<100>(f64::MAX), *indices::<100>().end() - 1);
        assert_eq!(value::<100>(index::<100>(f64::INFINITY)), f64::INFINITY);
        assert_eq!(lower_end::<100>(*indices::<100>().end() + 1), f64::INFINITY);
    }

    /// What is stored depends on these.
    #[test]
    fn frozen() {
        assert_eq!([1.0, 1.5, 2.0, 0.1, 1e9].map(index::<100>), FROZEN);
    }

    const FROZEN: [i32; 5] = [0, 22, 38, -127, 1136];

    proptest! {
        #[test]
        fn within_the_error(bits in f64::MIN_POSITIVE.to_bits()..=f64::MAX.to_bits()) {
            let x = f64::from_bits(bits);
            let v = value::<100>(index::<100>(x));
            prop_assert_eq!(v.to_bits() >> MANTISSA_BITS, bits >> MANTISSA_BITS);
            prop_assert!(mantissa(v).abs_diff(mantissa(x)) * 100 <= mantissa(x), "x={x} v={v}");
        }

        #[test]
        fn rises(
            a in f64::MIN_POSITIVE.to_bits()..=f64::MAX.to_bits(),
            b in f64::MIN_POSITIVE.to_bits()..=f64::MAX.to_bits(),
        ) {
            let [low, high] = [a.min(b), a.max(b)].map(|bits| index::<1>(f64::from_bits(bits)));
            prop_assert!(low <= high);
        }
    }
}
