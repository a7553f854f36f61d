//! A fading sum for each of several keys.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::mem::swap;

use super::half_lives::{growth, is_settled, settled, shifted, whole};
use crate::codec::{Codec, DecodeError, Input, kind, put_header, put_shape, through_bytes};
use crate::sketch::Sketch;
use crate::{Commutative, Group, Monoid, Semigroup};

/// For each key `Σ xᵢ·2^(−(t − tᵢ)/HALF_LIFE)`: a map of floats with one shared time, the half-life in which the latest
/// part of any key lies. Times and `HALF_LIFE` are in one unit, the caller's.
///
/// ```
/// use algebra::DecayedVector;
///
/// let mut topics = DecayedVector::<&str, 1_000>::new();
/// topics.add_at(0, "ant", 8.0);
/// topics.add_at(3_000, "bee", 2.0);
/// assert_eq!(topics.top_at(3_000, 2), [(&"bee", 2.0), (&"ant", 1.0)]);
/// topics.forget_below(3_000, 1.5);
/// assert_eq!(topics.len(), 1);
/// ```
///
/// The laws are those of [`DecayedValue`](crate::DecayedValue), key by key: identity, inverse and commutativity exact,
/// associative within its bound. A key whose sum is exactly 0 is not kept; so a key is gone when its parts cancel, and
/// once they have faded to nothing, some 1,100 half-lives later.
///
/// It grows by an entry with each key. Where keys have no bound, [`forget_below`](Self::forget_below) from time to
/// time, or take [`DecayingCountMin`](crate::sketch::DecayingCountMin).
///
/// | | |
/// |---|---|
/// | answers | a fading sum for each key |
/// | update | one `exp2`, O(log keys); O(keys) once in a half-life |
/// | merge | O(keys) |
/// | size | an entry a key |
/// | error | rounding |
///
/// Bytes: kind, version; `HALF_LIFE` u64; half-lives u64; u32 count; the entries, keys rising, each key and f64.
#[derive(Clone, Debug, PartialEq)]
pub struct DecayedVector<K, const HALF_LIFE: u64> {
    /// The half-life of the latest part, counted from time 0; 0 when there are no values.
    half_lives: u64,
    /// As of `half_lives`; none is 0.
    values: BTreeMap<K, f64>,
}

impl<K, const HALF_LIFE: u64> Default for DecayedVector<K, HALF_LIFE> {
    fn default() -> Self {
        Self {
            half_lives: 0,
            values: BTreeMap::new(),
        }
    }
}

impl<K: Ord, const HALF_LIFE: u64> DecayedVector<K, HALF_LIFE> {
    /// No parts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part of a key.
    pub fn add_at(&mut self, time: u64, key: K, value: f64) {
        let value = settled(value * growth::<HALF_LIFE>(time));
        if value == 0.0 {
            return;
        }
        let from = whole::<HALF_LIFE>(time);
        if from > self.half_lives {
            self.advance(from);
        }
        self.add_value(key, shifted(value, from, self.half_lives));
        self.settle();
    }

    /// The sum of a key at `time`: 0 when it has no parts. (Before the latest part, as
    /// [`DecayedValue::at`](crate::DecayedValue::at).)
    pub fn at<Q: Ord + ?Sized>(&self, time: u64, key: &Q) -> f64
    where
        K: Borrow<Q>,
    {
        self.values
            .get(key)
            .map_or(0.0, |value| self.value_at(time, *value))
    }

    /// The keys, rising, with their sums at `time`.
    pub fn entries_at(&self, time: u64) -> impl Iterator<Item = (&K, f64)> {
        self.values
            .iter()
            .map(move |(key, value)| (key, self.value_at(time, *value)))
    }

    /// The `limit` keys with the largest sums at `time`, falling; of equal ones the smaller key first.
    pub fn top_at(&self, time: u64, limit: usize) -> Vec<(&K, f64)> {
        let mut entries: Vec<_> = self.entries_at(time).collect();
        entries.sort_by(|left, right| right.1.total_cmp(&left.1));
        entries.truncate(limit);
        entries
    }

    /// Drops the keys whose sums at `time` are nearer to 0 than `least`: each loses less than `least` by it, a loss
    /// that fades as the sum would have.
    pub fn forget_below(&mut self, time: u64, least: f64) {
        let (growth, from, to) = (
            growth::<HALF_LIFE>(time),
            self.half_lives,
            whole::<HALF_LIFE>(time),
        );
        self.values.retain(|_, value| {
            let size = shifted(*value / growth, from, to).abs();
            size >= least || size.is_nan()
        });
        self.settle();
    }

    /// How many keys are kept.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether no key is kept.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn value_at(&self, time: u64, value: f64) -> f64 {
        shifted(
            value / growth::<HALF_LIFE>(time),
            self.half_lives,
            whole::<HALF_LIFE>(time),
        )
    }

    /// All values as of a later half-life.
    fn advance(&mut self, half_lives: u64) {
        let from = self.half_lives;
        self.values.retain(|_, value| {
            *value = settled(shifted(*value, from, half_lives));
            *value != 0.0
        });
        self.half_lives = half_lives;
    }

    fn add_value(&mut self, key: K, value: f64) {
        if value == 0.0 {
            return;
        }
        match self.values.entry(key) {
            Entry::Occupied(mut place) => {
                let sum = settled(*place.get() + value);
                if sum == 0.0 {
                    place.remove();
                } else {
                    *place.get_mut() = sum;
                }
            }
            Entry::Vacant(place) => {
                place.insert(value);
            }
        }
    }

    fn settle(&mut self) {
        if self.values.is_empty() {
            self.half_lives = 0;
        }
    }
}

/// Key by key, as of the later of the two.
impl<K: Ord, const HALF_LIFE: u64> Semigroup for DecayedVector<K, HALF_LIFE> {
    fn plus(&mut self, mut right: Self) {
        let half_lives = self.half_lives.max(right.half_lives);
        // The addition of floats commutes, so the larger map may be the one that stays.
        if self.len() < right.len() {
            swap(self, &mut right);
        }
        self.advance(half_lives);
        for (key, value) in right.values {
            self.add_value(key, settled(shifted(value, right.half_lives, half_lives)));
        }
        self.settle();
    }
}

impl<K: Ord, const HALF_LIFE: u64> Monoid for DecayedVector<K, HALF_LIFE> {
    fn zero() -> Self {
        Self::default()
    }

    fn is_zero(&self) -> bool {
        self.values.is_empty()
    }
}

impl<K: Ord, const HALF_LIFE: u64> Group for DecayedVector<K, HALF_LIFE> {
    fn negate(&mut self) {
        self.values
            .values_mut()
            .for_each(|value| *value = settled(-*value));
    }
}

impl<K: Ord, const HALF_LIFE: u64> Commutative for DecayedVector<K, HALF_LIFE> {}

/// Takes a time, a key and a value.
impl<K: Ord + Clone, const HALF_LIFE: u64> Sketch<(u64, K, f64)> for DecayedVector<K, HALF_LIFE> {
    fn add(&mut self, (time, key, value): &(u64, K, f64)) {
        self.add_at(*time, key.clone(), *value);
    }
}

impl<K: Codec + Ord, const HALF_LIFE: u64> Codec for DecayedVector<K, HALF_LIFE> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::DECAYED_VECTOR, 1);
        put_shape(out, HALF_LIFE);
        self.half_lives.encode(out);
        self.values.encode(out);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::DECAYED_VECTOR, 1)?;
        input.shape("HALF_LIFE", HALF_LIFE)?;
        let half_lives = u64::decode(input)?;
        let values = BTreeMap::<K, f64>::decode(input)?;
        if values.values().any(|value| *value == 0.0 || !is_settled(*value))
            || (values.is_empty() && half_lives != 0)
        {
            return Err(input
                .corrupt("a key has a sum that is not 0, zero and NaN have one form, no keys have no time"));
        }
        Ok(Self { half_lives, values })
    }
}

through_bytes!([K: Codec + Ord, const HALF_LIFE: u64] DecayedVector<K, HALF_LIFE>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::DecodeErrorKind;
    use crate::{DecayedValue, laws};

    type Vector = DecayedVector<u8, 100>;
    type Part = (u64, u8, f64);

    fn parts() -> impl Strategy<Value = Vec<Part>> {
        prop::collection::vec((0..20_000_u64, 0..6_u8, -1e3..1e3), 0..30)
    }

    fn build(parts: &[Part]) -> Vector {
        let mut vector = Vector::new();
        parts.iter().for_each(|part| vector.add(part));
        vector
    }

    fn close(left: &Vector, right: &Vector) -> bool {
        let near = |time: u64| (0..6).all(|key| (left.at(time, &key) - right.at(time, &key)).abs() < 1e-10);
        near(20_000) && near(20_150)
    }

    proptest! {
        #[test]
        fn laws_hold(a in parts(), b in parts(), c in parts(), part in (0..20_000_u64, 0..6_u8, -9.0..9.0)) {
            let all = [a.clone(), b.clone(), c.clone()].concat();
            laws::merge_equals_whole_within(&all, &[a.len(), b.len()], build, close)?;
            let [a, b, c] = [a, b, c].map(|parts| build(&parts));
            laws::associative_within(&a, &b, &c, close)?;
            laws::identity(&a)?;
            laws::inverse(&a)?;
            laws::commutative(&a, &b)?;
            laws::adds(&a, &part, Vector::eq)?;
            laws::round_trip(&a)?;
            let text = serde_json::to_string(&a).unwrap();
            prop_assert_eq!(serde_json::from_str::<Vector>(&text).unwrap(), a);
        }

        /// Each key on its own is a `DecayedValue`.
        #[test]
        fn like_the_naive_twin(parts in parts()) {
            let vector = build(&parts);
            for key in 0..6 {
                let mut value = DecayedValue::<100>::new();
                for (time, _, part) in parts.iter().filter(|part| part.1 == key) {
                    value.add_at(*time, *part);
                }
                let (found, truth) = (vector.at(20_000, &key), value.at(20_000));
                prop_assert!((found - truth).abs() < 1e-10, "found={found} truth={truth}");
            }
        }

        #[test]
        fn any_bytes(bytes: Vec<u8>, parts in parts(), changes: Vec<(usize, u8)>) {
            laws::survives::<Vector>(&bytes, &[])?;
            laws::survives::<Vector>(&build(&parts).to_bytes(), &changes)?;
        }
    }

    #[test]
    fn what_is_gone_is_not_kept() {
        let mut vector = build(&[(0, 1, 1.0), (0, 2, 1e300), (0, 3, 0.0)]);
        assert_eq!(vector.len(), 2);
        vector.add_at(110_000, 4, 1.0);
        assert_eq!(
            vector
                .entries_at(110_000)
                .map(|entry| *entry.0)
                .collect::<Vec<_>>(),
            [2, 4]
        );
        vector.add_at(u64::MAX, 4, 1.0);
        assert_eq!((vector.len(), vector.at(u64::MAX, &2)), (1, 0.0));
        vector.forget_below(u64::MAX, 1.5);
        assert_eq!(vector, Vector::new());
        // Far in the past it fades before it is added.
        vector.add_at(u64::MAX, 1, 1.0);
        vector.add_at(0, 2, 1.0);
        assert_eq!(vector.len(), 1);
    }

    #[test]
    fn other_shapes_are_refused() {
        let bytes = build(&[(0, 1, 1.0)]).to_bytes();
        laws::refuses::<DecayedVector<u8, 99>>(&bytes, DecodeErrorKind::Shape).unwrap();
        laws::refuses::<DecayedValue<100>>(&bytes, DecodeErrorKind::Corrupt).unwrap();
        let changed = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            bytes
        };
        laws::refuses::<Vector>(&changed(1, 2), DecodeErrorKind::Version).unwrap();
        // An entry of 0 is not canonical.
        let mut zero = bytes.clone();
        let end = zero.len();
        zero[end - 8..].fill(0);
        laws::refuses::<Vector>(&zero, DecodeErrorKind::Corrupt).unwrap();
    }
}
