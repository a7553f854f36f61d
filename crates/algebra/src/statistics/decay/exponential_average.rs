//! An average in which each later item takes a share.

use serde::{Deserialize, Serialize};

use super::half_lives::{is_settled, settled};
use crate::codec::{Codec, DecodeError, Input, kind, put_header, put_shape};
use crate::numbers::float;
use crate::sketch::Sketch;
use crate::{Monoid, Semigroup};

/// The exponential moving average `v ← (1−α)·v + α·x` of items in order, `α` being `PPM` millionths: how many items,
/// and their weighted sum `s = Σ α·(1−α)^(n−i)·xᵢ`, so that `(n, s) ⊕ (m, r) = (n + m, (1−α)^m·s + r)`.
///
/// ```
/// use algebra::{ExponentialAverage, Semigroup};
///
/// let mut latency = ExponentialAverage::<500_000>::from(4.0);
/// latency.plus(ExponentialAverage::from(8.0));
/// assert_eq!(latency.value_from(0.0), 5.0); // (0/2 + 4/2)/2 + 8/2
/// assert_eq!(latency.value_from(4.0), 6.0);
/// assert_eq!(latency.mean(), Some(20.0 / 3.0)); // (4·1 + 8·2)/3
/// ```
///
/// Not commutative: the right one is later. Identity holds exactly; it is associative within `8·ε·max|xᵢ|` for each
/// merge on a path (ε = 2⁻⁵³). An item that is infinite or NaN stays. The count stops at its maximum.
///
/// | usual name | `PPM` |
/// |---|---|
/// | span of `N` items, `α = 2/(N + 1)` | `2_000_000 / (N + 1)` |
/// | centre of mass `C`, `α = 1/(C + 1)` | `1_000_000 / (C + 1)` |
/// | the last item only | `1_000_000` |
///
/// | | |
/// |---|---|
/// | answers | a recent average, by count of items |
/// | update | two multiplications |
/// | merge | one `exp` |
/// | size | 16 bytes |
/// | error | rounding |
///
/// Bytes: kind, version; `PPM` u64; count u64; weighted sum f64. JSON has the same by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Named", into = "Named")]
pub struct ExponentialAverage<const PPM: u32> {
    count: u64,
    weighted: f64,
}

impl<const PPM: u32> ExponentialAverage<PPM> {
    /// No items.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many items.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The average that began at `start`, before the first item: `(1−α)^n·start + s`.
    pub fn value_from(&self, start: f64) -> f64 {
        faded(start, Self::kept(self.count)) + self.weighted
    }

    /// The mean of the items with the weights `(1−α)^(n−i)`: the plain average corrected for its start at 0,
    /// `s / (1 − (1−α)^n)` (Kingma and Ba 2015, section 3). `None` when there are none.
    pub fn mean(&self) -> Option<f64> {
        let weight = match self.count {
            0 => return None,
            1 => Self::share(),
            many => -Self::log_kept(many).exp_m1(),
        };
        Some(self.weighted / weight)
    }

    /// `α`.
    const fn share() -> f64 {
        const {
            assert!(
                PPM >= 1 && PPM <= 1_000_000,
                "a share is 1 to 1,000,000 millionths"
            );
        }
        PPM as f64 / 1e6
    }

    /// `(1−α)^count`.
    fn kept(count: u64) -> f64 {
        match count {
            0 => 1.0,
            // As one item is added, so that adding and merging agree to the last bit.
            1 => f64::from(1_000_000 - PPM) / 1e6,
            many => Self::log_kept(many).exp(),
        }
    }

    /// `ln (1−α)^count`; not of 0 items, where it has no meaning when `α = 1`.
    fn log_kept(count: u64) -> f64 {
        count as f64 * (-Self::share()).ln_1p()
    }
}

/// What is not finite stays, also where nothing of it would be left: so the grouping does not tell.
fn faded(value: f64, kept: f64) -> f64 {
    if value.is_finite() { value * kept } else { value }
}

/// One item.
impl<const PPM: u32> From<f64> for ExponentialAverage<PPM> {
    #[inline]
    fn from(item: f64) -> Self {
        Self {
            count: 1,
            weighted: settled(item * Self::share()),
        }
    }
}

/// The right one's items are later.
impl<const PPM: u32> Semigroup for ExponentialAverage<PPM> {
    #[inline]
    fn plus(&mut self, right: Self) {
        self.weighted = settled(faded(self.weighted, Self::kept(right.count)) + right.weighted);
        self.count = self.count.saturating_add(right.count);
    }
}

impl<const PPM: u32> Monoid for ExponentialAverage<PPM> {
    fn zero() -> Self {
        Self::default()
    }

    fn is_zero(&self) -> bool {
        self.count == 0
    }
}

/// Takes the next item.
impl<const PPM: u32> Sketch<f64> for ExponentialAverage<PPM> {
    #[inline]
    fn add(&mut self, item: &f64) {
        self.plus(Self::from(*item));
    }
}

impl<const PPM: u32> Codec for ExponentialAverage<PPM> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::EXPONENTIAL_AVERAGE, 1);
        put_shape(out, u64::from(PPM));
        self.count.encode(out);
        self.weighted.encode(out);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::EXPONENTIAL_AVERAGE, 1)?;
        input.shape("PPM", u64::from(PPM))?;
        let named = Named {
            ppm: PPM,
            count: u64::decode(input)?,
            weighted: f64::decode(input)?,
        };
        if !is_settled(named.weighted) {
            return Err(input.corrupt("zero and NaN have one form"));
        }
        named.try_into().map_err(|text: String| input.corrupt(text))
    }
}

/// As JSON.
#[derive(Serialize, Deserialize)]
struct Named {
    ppm: u32,
    count: u64,
    #[serde(with = "float")]
    weighted: f64,
}

impl<const PPM: u32> From<ExponentialAverage<PPM>> for Named {
    fn from(average: ExponentialAverage<PPM>) -> Self {
        Self {
            ppm: PPM,
            count: average.count,
            weighted: average.weighted,
        }
    }
}

impl<const PPM: u32> TryFrom<Named> for ExponentialAverage<PPM> {
    type Error = String;

    fn try_from(named: Named) -> Result<Self, String> {
        if named.ppm != PPM {
            return Err(format!(
                "made with another share, read it as the type that has it: expected={PPM} found={}",
                named.ppm
            ));
        }
        if named.count == 0 && named.weighted != 0.0 {
            return Err(format!("no items have no sum: found={}", named.weighted));
        }
        Ok(Self {
            count: named.count,
            weighted: settled(named.weighted),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::DecodeErrorKind;
    use crate::laws;

    type Tenth = ExponentialAverage<100_000>;

    fn items() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(-1e6..1e6, 0..60)
    }

    fn build<const PPM: u32>(items: &[f64]) -> ExponentialAverage<PPM> {
        let mut average = ExponentialAverage::new();
        items.iter().for_each(|item| average.add(item));
        average
    }

    fn close<const PPM: u32>(left: &ExponentialAverage<PPM>, right: &ExponentialAverage<PPM>) -> bool {
        let near = |left: f64, right: f64| (left - right).abs() <= 1e6 * 32.0 * f64::EPSILON;
        left.count == right.count
            && near(left.value_from(0.0), right.value_from(0.0))
            && near(left.value_from(3e5), right.value_from(3e5))
    }

    fn lawful<const PPM: u32>(parts: &[Vec<f64>; 3], cuts: &[usize]) -> Result<(), TestCaseError> {
        laws::merge_equals_whole_within(&parts.concat(), cuts, build::<PPM>, close)?;
        let [a, b, c] = parts.each_ref().map(|items| build::<PPM>(items));
        laws::associative_within(&a, &b, &c, close)?;
        laws::identity(&a)?;
        laws::adds(&a, &1.5, ExponentialAverage::eq)?;
        laws::round_trip(&a)?;
        let text = serde_json::to_string(&a).unwrap();
        prop_assert_eq!(serde_json::from_str::<ExponentialAverage<PPM>>(&text).unwrap(), a);
        Ok(())
    }

    proptest! {
        #[test]
        fn laws_hold(parts in [items(), items(), items()], cuts: [usize; 3]) {
            lawful::<1>(&parts, &cuts)?;
            lawful::<100_000>(&parts, &cuts)?;
            lawful::<999_999>(&parts, &cuts)?;
            lawful::<1_000_000>(&parts, &cuts)?;
        }

        #[test]
        fn like_the_naive_twin(items in items(), start in -1e6..1e6) {
            let truth = items.iter().fold(start, |value, item| value * 0.9 + item * 0.1);
            let found = build::<100_000>(&items).value_from(start);
            prop_assert!((found - truth).abs() < 1e-8, "found={found} truth={truth}");

            let weights = || items.iter().rev().zip((0..).map(|age| 0.9_f64.powi(age)));
            let truth = weights().map(|(item, weight)| item * weight).sum::<f64>()
                / weights().map(|(_, weight)| weight).sum::<f64>();
            match build::<100_000>(&items).mean() {
                Some(found) => prop_assert!((found - truth).abs() < 1e-8, "found={found} truth={truth}"),
                None => prop_assert!(items.is_empty()),
            }
        }

        #[test]
        fn any_bytes(bytes: Vec<u8>, items in items(), changes: Vec<(usize, u8)>) {
            laws::survives::<Tenth>(&bytes, &[])?;
            laws::survives::<Tenth>(&build::<100_000>(&items).to_bytes(), &changes)?;
        }
    }

    #[test]
    fn the_mean_of_equals_is_that() {
        // Also where one item has a millionth of the weight.
        for count in [1, 2, 3, 1_000] {
            let mean = build::<1>(&vec![7.0; count]).mean().unwrap();
            assert!((mean - 7.0).abs() < 1e-9, "count={count} mean={mean}");
        }
        assert_eq!(Tenth::new().mean(), None);
        assert_eq!(Tenth::new().value_from(3.0), 3.0);
        assert_eq!(build::<1_000_000>(&[1.0, 2.0, 3.0]).mean(), Some(3.0));
        assert_eq!(build::<1_000_000>(&[1.0, 2.0, 3.0]).value_from(9.0), 3.0);
    }

    #[test]
    fn over_many_items() {
        let many = |count, weighted| Tenth { count, weighted };
        let mut sum = many(u64::MAX, 5.0);
        sum.plus(many(u64::MAX, 7.0));
        assert_eq!((sum.count(), sum.mean()), (u64::MAX, Some(7.0)));

        let mut infinite = Tenth::from(f64::INFINITY);
        infinite.plus(many(u64::MAX, 7.0));
        assert_eq!(infinite.mean(), Some(f64::INFINITY));
    }

    #[test]
    fn other_shapes_are_refused() {
        let bytes = Tenth::from(1.0).to_bytes();
        laws::refuses::<ExponentialAverage<9>>(&bytes, DecodeErrorKind::Shape).unwrap();
        let changed = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            bytes
        };
        laws::refuses::<Tenth>(&changed(0, 0), DecodeErrorKind::Corrupt).unwrap();
        laws::refuses::<Tenth>(&changed(1, 2), DecodeErrorKind::Version).unwrap();
        laws::refuses::<Tenth>(&changed(10, 0), DecodeErrorKind::Corrupt).unwrap();
        let zero = [&bytes[..18], &(-0.0_f64).to_le_bytes()].concat();
        laws::refuses::<Tenth>(&zero, DecodeErrorKind::Corrupt).unwrap();
        assert!(serde_json::from_str::<Tenth>(r#"{"ppm":9,"count":1,"weighted":1}"#).is_err());
    }
}
