//! Sums whose parts weigh as a power of their age since a landmark.

use serde::{Deserialize, Serialize};

use super::half_lives::{is_settled, settled};
use crate::codec::{Codec, DecodeError, Input, kind, put_header, put_shape};
use crate::sketch::Sketch;
use crate::{Commutative, Group, Monoid, Semigroup, Sum};

/// Polynomial forward decay (Cormode, Shkapenyuk, Srivastava and Xu 2009, section III): at time `t` an item of time
/// `tᵢ` weighs `((tᵢ − LANDMARK)/(t − LANDMARK))^EXPONENT`. State: the sums `Σ (tᵢ − LANDMARK)^EXPONENT` and
/// `Σ xᵢ·(tᵢ − LANDMARK)^EXPONENT`, which no later time changes.
///
/// ```
/// use algebra::{ForwardDecay, Semigroup};
///
/// let mut load = ForwardDecay::<1_000, 2>::from((1_010, 4.0));
/// load.plus(ForwardDecay::from((1_020, 8.0)));
/// assert_eq!(load.count_at(1_020), 1.25); // (10/20)² + (20/20)²
/// assert_eq!(load.sum_at(1_020), 9.0);
/// assert_eq!(load.mean(), Some(7.2));
/// ```
///
/// What lies half-way to the landmark always weighs `2^(−EXPONENT)`: a fade over the whole of a day or a month, where
/// an exponential one forgets all but the last half-lives. Items not after the landmark weigh nothing. (Exponential
/// forward decay is [`DecayedValue`](crate::DecayedValue).)
///
/// Merging is the addition of [`Sum`]s: a commutative group; identity, inverse and commutativity exact, associative
/// within the bound of `Sum`. A weight itself is within `(EXPONENT + 2)·ε` of true (ε = 2⁻⁵³).
///
/// | | |
/// |---|---|
/// | answers | fading sum, count and average |
/// | update | `EXPONENT` products |
/// | merge | four additions |
/// | size | 32 bytes |
/// | error | rounding |
///
/// Bytes: kind, version; `LANDMARK` u64, `EXPONENT` u64; the weights' sum, the weighted sum, each f64 rounded and f64
/// lost. JSON has the same by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Named", into = "Named")]
pub struct ForwardDecay<const LANDMARK: u64, const EXPONENT: u32> {
    weights: Sum,
    weighted: Sum,
}

impl<const LANDMARK: u64, const EXPONENT: u32> ForwardDecay<LANDMARK, EXPONENT> {
    /// No items.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an item.
    #[inline]
    pub fn add_at(&mut self, time: u64, value: f64) {
        self.plus(Self::from((time, value)));
    }

    /// The sum of the values, each with its weight at `time`; 0 when `time` is not after the landmark.
    pub fn sum_at(&self, time: u64) -> f64 {
        Self::normalised(self.weighted, time)
    }

    /// The sum of the weights at `time`: how many items, older ones counting less. 0 when `time` is not after the
    /// landmark.
    pub fn count_at(&self, time: u64) -> f64 {
        Self::normalised(self.weights, time)
    }

    /// The weighted mean of the values, which is the same at every time; `None` when nothing has a weight.
    pub fn mean(&self) -> Option<f64> {
        let weights = self.weights.value();
        (weights != 0.0).then(|| self.weighted.value() / weights)
    }

    fn normalised(sum: Sum, time: u64) -> f64 {
        match Self::weight(time) {
            0.0 => 0.0,
            weight => sum.value() / weight,
        }
    }

    /// `(time − LANDMARK)^EXPONENT`, before division by that of now.
    fn weight(time: u64) -> f64 {
        const {
            assert!(
                EXPONENT >= 1 && EXPONENT <= 8,
                "an exponent is 1 to 8: with 0 nothing fades, beyond 8 take DecayedValue"
            );
        }
        let age = time.saturating_sub(LANDMARK) as f64;
        (1..EXPONENT).fold(age, |power, _| power * age)
    }
}

/// One item: its time and its value.
impl<const LANDMARK: u64, const EXPONENT: u32> From<(u64, f64)> for ForwardDecay<LANDMARK, EXPONENT> {
    #[inline]
    fn from((time, value): (u64, f64)) -> Self {
        match Self::weight(time) {
            0.0 => Self::default(),
            weight => Self {
                weights: Sum::from(weight),
                weighted: Sum::from(value * weight),
            },
        }
    }
}

/// Addition.
impl<const LANDMARK: u64, const EXPONENT: u32> Semigroup for ForwardDecay<LANDMARK, EXPONENT> {
    #[inline]
    fn plus(&mut self, right: Self) {
        self.weights.plus(right.weights);
        self.weighted.plus(right.weighted);
    }
}

impl<const LANDMARK: u64, const EXPONENT: u32> Monoid for ForwardDecay<LANDMARK, EXPONENT> {
    fn zero() -> Self {
        Self::default()
    }

    fn is_zero(&self) -> bool {
        self.weights.is_zero() && self.weighted.is_zero()
    }
}

impl<const LANDMARK: u64, const EXPONENT: u32> Group for ForwardDecay<LANDMARK, EXPONENT> {
    fn negate(&mut self) {
        self.weights.negate();
        self.weighted.negate();
    }
}

impl<const LANDMARK: u64, const EXPONENT: u32> Commutative for ForwardDecay<LANDMARK, EXPONENT> {}

/// Takes a time and a value.
impl<const LANDMARK: u64, const EXPONENT: u32> Sketch<(u64, f64)> for ForwardDecay<LANDMARK, EXPONENT> {
    fn add(&mut self, (time, value): &(u64, f64)) {
        self.add_at(*time, *value);
    }
}

impl<const LANDMARK: u64, const EXPONENT: u32> Codec for ForwardDecay<LANDMARK, EXPONENT> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::FORWARD_DECAY, 1);
        put_shape(out, LANDMARK);
        put_shape(out, u64::from(EXPONENT));
        for part in [self.weights, self.weighted].map(|sum| sum.parts()).concat() {
            settled(part).encode(out);
        }
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::FORWARD_DECAY, 1)?;
        input.shape("LANDMARK", LANDMARK)?;
        input.shape("EXPONENT", u64::from(EXPONENT))?;
        let [weights, weighted] = <[[f64; 2]; 2]>::decode(input)?;
        if [weights, weighted].concat().iter().any(|part| !is_settled(*part)) {
            return Err(input.corrupt("zero and NaN have one form"));
        }
        Ok(Self {
            weights: Sum::from_parts(weights),
            weighted: Sum::from_parts(weighted),
        })
    }
}

/// As JSON.
#[derive(Serialize, Deserialize)]
struct Named {
    landmark: u64,
    exponent: u32,
    weights: Sum,
    weighted: Sum,
}

impl<const LANDMARK: u64, const EXPONENT: u32> From<ForwardDecay<LANDMARK, EXPONENT>> for Named {
    fn from(decay: ForwardDecay<LANDMARK, EXPONENT>) -> Self {
        Self {
            landmark: LANDMARK,
            exponent: EXPONENT,
            weights: decay.weights,
            weighted: decay.weighted,
        }
    }
}

impl<const LANDMARK: u64, const EXPONENT: u32> TryFrom<Named> for ForwardDecay<LANDMARK, EXPONENT> {
    type Error = String;

    fn try_from(named: Named) -> Result<Self, String> {
        if (named.landmark, named.exponent) != (LANDMARK, EXPONENT) {
            return Err(format!(
                "made with another decay, read it as the type that has it: expected={LANDMARK},{EXPONENT} \
                 found={},{}",
                named.landmark, named.exponent
            ));
        }
        Ok(Self {
            weights: named.weights,
            weighted: named.weighted,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::DecodeErrorKind;
    use crate::laws;

    type Square = ForwardDecay<1_000, 2>;

    fn items() -> impl Strategy<Value = Vec<(u64, f64)>> {
        prop::collection::vec((900..50_000_u64, -1e6..1e6), 0..40)
    }

    fn build(items: &[(u64, f64)]) -> Square {
        let mut decay = Square::new();
        items.iter().for_each(|item| decay.add(item));
        decay
    }

    /// Nearer than plain addition would come.
    fn close(left: &Square, right: &Square) -> bool {
        let near = |left: f64, right: f64| (left - right).abs() <= f64::EPSILON * left.abs() + 1e-20;
        near(left.sum_at(50_000), right.sum_at(50_000)) && near(left.count_at(50_000), right.count_at(50_000))
    }

    proptest! {
        #[test]
        fn laws_hold(a in items(), b in items(), c in items(), cuts: [usize; 3]) {
            laws::merge_equals_whole_within(&[a.clone(), b.clone(), c.clone()].concat(), &cuts, build, close)?;
            let [a, b, c] = [a, b, c].map(|items| build(&items));
            laws::associative_within(&a, &b, &c, close)?;
            laws::identity(&a)?;
            laws::inverse(&a)?;
            laws::commutative(&a, &b)?;
            laws::adds(&a, &(1_500, 1.5), Square::eq)?;
            laws::round_trip(&a)?;
            let text = serde_json::to_string(&a).unwrap();
            prop_assert_eq!(serde_json::from_str::<Square>(&text).unwrap(), a);
        }

        #[test]
        fn like_the_naive_twin(items in items(), later in 0..1_000_000_u64) {
            let now = 50_000 + later;
            let weight = |time: u64| {
                if time <= 1_000 { 0.0 } else { ((time - 1_000) as f64 / (now - 1_000) as f64).powi(2) }
            };
            let count: f64 = items.iter().map(|item| weight(item.0)).sum();
            let sum: f64 = items.iter().map(|item| weight(item.0) * item.1).sum();
            let size: f64 = items.iter().map(|item| weight(item.0) * item.1.abs()).sum();
            let decay = build(&items);
            prop_assert!((decay.count_at(now) - count).abs() <= 1e-13 * count);
            prop_assert!((decay.sum_at(now) - sum).abs() <= 1e-13 * size);
            match decay.mean() {
                Some(average) => prop_assert!((average - sum / count).abs() <= 1e-12 * size / count),
                None => prop_assert_eq!(count, 0.0),
            }
        }

        #[test]
        fn any_bytes(bytes: Vec<u8>, items in items(), changes: Vec<(usize, u8)>) {
            laws::survives::<Square>(&bytes, &[])?;
            laws::survives::<Square>(&build(&items).to_bytes(), &changes)?;
        }
    }

    #[test]
    fn at_the_ends_of_time() {
        let mut decay = ForwardDecay::<0, 8>::from((u64::MAX, 1e100));
        decay.add_at(u64::MAX, 1e100);
        assert_eq!((decay.sum_at(u64::MAX), decay.count_at(u64::MAX)), (2e100, 2.0));
        assert_eq!((decay.sum_at(0), decay.mean()), (0.0, Some(1e100)));

        // Not after the landmark: no weight, not even that of an infinite value.
        let before = Square::from((1_000, f64::INFINITY));
        assert_eq!((before, before.mean()), (Square::new(), None));
    }

    #[test]
    fn other_shapes_are_refused() {
        let bytes = build(&[(2_000, 1.0)]).to_bytes();
        laws::refuses::<ForwardDecay<1_001, 2>>(&bytes, DecodeErrorKind::Shape).unwrap();
        laws::refuses::<ForwardDecay<1_000, 3>>(&bytes, DecodeErrorKind::Shape).unwrap();
        let changed = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            bytes
        };
        laws::refuses::<Square>(&changed(0, 0), DecodeErrorKind::Corrupt).unwrap();
        laws::refuses::<Square>(&changed(1, 2), DecodeErrorKind::Version).unwrap();
        laws::refuses::<Square>(&changed(33, 0x80), DecodeErrorKind::Corrupt).unwrap();
        let text = serde_json::to_string(&build(&[(2_000, 1.0)])).unwrap();
        assert!(
            serde_json::from_str::<ForwardDecay<1_000, 3>>(&text).is_err(),
            "{text}"
        );
    }
}
