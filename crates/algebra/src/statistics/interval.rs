//! Intervals, whose sum is their intersection.

use std::cmp::Ordering;
use std::ops::{Bound, Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::{Codec, DecodeError, Input, kind, put_header};
use crate::{Commutative, Idempotent, Monoid, Semigroup};

/// A set of `T` between two bounds, each with the value, without it, or none: `a ⊕ b = a ∩ b`. The zero has no bounds
/// (everything), and the empty one takes everything: `∅ ⊕ a = ∅`.
///
/// The laws hold exactly. Empty is what has no room between its bounds whatever `T` is: the lower above the upper, or both
/// the same and not both with the value. `T` may have no value between two: the integers between 1 and 2, both excluded,
/// are an interval with nothing in it that is not [empty](Self::is_empty), and the one from 1 to 3, both excluded, is not
/// equal to the one from 2 to 2. For integers keep to one kind of bounds. Floats have no total order: wrap them in a
/// type that has.
///
/// | answers | what all conditions leave |
/// |---|---|
/// | update, merge | two comparisons |
/// | memory, bytes | two bounds; 3, and 2 and `T` for each bound |
///
/// Bytes: kind 0x1c, version 1, a byte that is 0 when empty; else 1 and the lower and the upper bound: a byte (0 none, 1
/// with the value, 2 without it) and, if not 0, the value.
///
/// ```
/// use algebra::Interval;
///
/// let adult = Interval::from(18..);
/// assert_eq!(adult.intersect(Interval::from(..65)), Interval::from(18..65));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interval<T>(Option<Between<T>>);

/// Has room: `room` says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Between<T> {
    lower: Bound<T>,
    upper: Bound<T>,
}

impl<T> Interval<T> {
    /// Nothing.
    pub const EMPTY: Self = Self(None);

    /// Everything.
    pub const UNIVERSE: Self = Self(Some(Between {
        lower: Bound::Unbounded,
        upper: Bound::Unbounded,
    }));

    /// Whether the bounds leave no room.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The bounds, lower and upper; `None` when it is empty.
    pub fn bounds(&self) -> Option<(Bound<&T>, Bound<&T>)> {
        let between = self.0.as_ref()?;
        Some((between.lower.as_ref(), between.upper.as_ref()))
    }

    /// The least value, when the lower bound is one.
    pub fn least(&self) -> Option<&T> {
        match self.bounds()?.0 {
            Bound::Included(value) => Some(value),
            Bound::Excluded(_) | Bound::Unbounded => None,
        }
    }

    /// The greatest value, when the upper bound is one.
    pub fn greatest(&self) -> Option<&T> {
        match self.bounds()?.1 {
            Bound::Included(value) => Some(value),
            Bound::Excluded(_) | Bound::Unbounded => None,
        }
    }
}

impl<T: Ord> Interval<T> {
    /// What is between the bounds; empty when they leave no room.
    pub fn new(lower: Bound<T>, upper: Bound<T>) -> Self {
        Self(has_room(&lower, &upper).then_some(Between { lower, upper }))
    }

    /// Whether the value is in it.
    pub fn contains(&self, value: &T) -> bool {
        self.bounds().is_some_and(|(lower, upper)| {
            let above = match lower {
                Bound::Included(lower) => lower <= value,
                Bound::Excluded(lower) => lower < value,
                Bound::Unbounded => true,
            };
            let below = match upper {
                Bound::Included(upper) => value <= upper,
                Bound::Excluded(upper) => value < upper,
                Bound::Unbounded => true,
            };
            above && below
        })
    }

    /// What is in both.
    #[must_use]
    pub fn intersect(mut self, other: Self) -> Self {
        self.plus(other);
        self
    }
}

fn has_room<T: Ord>(lower: &Bound<T>, upper: &Bound<T>) -> bool {
    match (lower, upper) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => true,
        (Bound::Included(lower), Bound::Included(upper)) => lower <= upper,
        (
            Bound::Included(lower) | Bound::Excluded(lower),
            Bound::Included(upper) | Bound::Excluded(upper),
        ) => lower < upper,
    }
}

/// The bound that leaves less; `is_beyond` is the order in which one value does.
fn tighter<T: Ord>(left: Bound<T>, right: Bound<T>, is_beyond: Ordering) -> Bound<T> {
    match (&left, &right) {
        (Bound::Unbounded, _) => right,
        (_, Bound::Unbounded) => left,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => {
            let order = b.cmp(a);
            let right_excludes = order.is_eq() && matches!(right, Bound::Excluded(_));
            if order == is_beyond || right_excludes {
                right
            } else {
                left
            }
        }
    }
}

/// Intersection.
impl<T: Ord> Semigroup for Interval<T> {
    fn plus(&mut self, right: Self) {
        let left = std::mem::replace(self, Self::EMPTY);
        if let (Some(left), Some(right)) = (left.0, right.0) {
            let lower = tighter(left.lower, right.lower, Ordering::Greater);
            let upper = tighter(left.upper, right.upper, Ordering::Less);
            *self = Self::new(lower, upper);
        }
    }
}

impl<T: Ord> Monoid for Interval<T> {
    fn zero() -> Self {
        Self::UNIVERSE
    }

    fn is_zero(&self) -> bool {
        matches!(self.bounds(), Some((Bound::Unbounded, Bound::Unbounded)))
    }
}

impl<T: Ord> Commutative for Interval<T> {}
impl<T: Ord> Idempotent for Interval<T> {}

/// Everything.
impl<T> Default for Interval<T> {
    fn default() -> Self {
        Self::UNIVERSE
    }
}

macro_rules! of_ranges {
    ($($range:ty, |$it:pat_param| $lower:expr, $upper:expr;)*) => {$(
        impl<T: Ord> From<$range> for Interval<T> {
            fn from($it: $range) -> Self {
                Self::new($lower, $upper)
            }
        }
    )*};
}

of_ranges! {
    Range<T>, |it| Bound::Included(it.start), Bound::Excluded(it.end);
    RangeFrom<T>, |it| Bound::Included(it.start), Bound::Unbounded;
    RangeTo<T>, |it| Bound::Unbounded, Bound::Excluded(it.end);
    RangeToInclusive<T>, |it| Bound::Unbounded, Bound::Included(it.end);
    RangeFull, |_| Bound::Unbounded, Bound::Unbounded;
}

impl<T: Ord> From<RangeInclusive<T>> for Interval<T> {
    fn from(range: RangeInclusive<T>) -> Self {
        let (start, end) = range.into_inner();
        Self::new(Bound::Included(start), Bound::Included(end))
    }
}

impl<T: Codec + Ord> Codec for Interval<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::INTERVAL, 1);
        (!self.is_empty()).encode(out);
        if let Some((lower, upper)) = self.bounds() {
            put_bound(out, lower);
            put_bound(out, upper);
        }
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::INTERVAL, 1)?;
        if !bool::decode(input)? {
            return Ok(Self::EMPTY);
        }
        let interval = Self::new(take_bound(input)?, take_bound(input)?);
        if interval.is_empty() {
            return Err(input.corrupt("the bounds of an interval leave no room"));
        }
        Ok(interval)
    }
}

fn put_bound<T: Codec>(out: &mut Vec<u8>, bound: Bound<&T>) {
    let (tag, value) = match bound {
        Bound::Unbounded => (0_u8, None),
        Bound::Included(value) => (1, Some(value)),
        Bound::Excluded(value) => (2, Some(value)),
    };
    tag.encode(out);
    if let Some(value) = value {
        value.encode(out);
    }
}

fn take_bound<T: Codec>(input: &mut Input<'_>) -> Result<Bound<T>, DecodeError> {
    match u8::decode(input)? {
        0 => Ok(Bound::Unbounded),
        1 => Ok(Bound::Included(T::decode(input)?)),
        2 => Ok(Bound::Excluded(T::decode(input)?)),
        other => Err(input.corrupt(format!("unknown kind of bound: found={other}"))),
    }
}

/// As serde has it: `"empty"`, or `{"between": {"lower": …, "upper": …}}` with std's bounds.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Form<T> {
    Empty,
    Between { lower: Bound<T>, upper: Bound<T> },
}

impl<T: Serialize> Serialize for Interval<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.bounds() {
            None => Form::Empty,
            Some((lower, upper)) => Form::Between { lower, upper },
        }
        .serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de> + Ord> Deserialize<'de> for Interval<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Form::deserialize(deserializer)? {
            Form::Empty => Self::EMPTY,
            Form::Between { lower, upper } => Self::new(lower, upper),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::DecodeErrorKind;
    use crate::laws;

    fn bound() -> impl Strategy<Value = Bound<u8>> {
        prop_oneof![
            2 => Just(Bound::Unbounded),
            5 => (0..10_u8).prop_map(Bound::Included),
            5 => (0..10_u8).prop_map(Bound::Excluded),
        ]
    }

    fn interval() -> impl Strategy<Value = Interval<u8>> {
        (bound(), bound()).prop_map(|(lower, upper)| Interval::new(lower, upper))
    }

    fn values(interval: &Interval<u8>) -> Vec<u8> {
        (0..12).filter(|value| interval.contains(value)).collect()
    }

    proptest! {
        #[test]
        fn laws_hold(a in interval(), b in interval(), c in interval()) {
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
            laws::commutative(&a, &b)?;
            laws::idempotent(&a)?;
            prop_assert_eq!(a.intersect(Interval::EMPTY), Interval::EMPTY);
        }

        /// Sets of values.
        #[test]
        fn like_the_naive_twin(a in interval(), b in interval()) {
            let both: Vec<u8> = values(&a).into_iter().filter(|value| values(&b).contains(value)).collect();
            let found = a.intersect(b);
            prop_assert_eq!(values(&found), both);
            if let Some(least) = found.least() {
                prop_assert_eq!(values(&found).first().copied(), Some(*least));
            }
            if let Some(greatest) = found.greatest() {
                prop_assert_eq!(values(&found).last().copied(), Some(*greatest));
            }
            // Among halves, some below 0, there is one between any two: there, empty is having no value at all.
            let halves = |it: &Interval<u8>| {
                let doubled = |bound: Bound<&u8>| bound.map(|value| i16::from(*value) * 2);
                let (lower, upper) = it.bounds()?;
                let doubled = Interval::new(doubled(lower), doubled(upper));
                (-1..24_i16).find(|half| doubled.contains(half))
            };
            prop_assert_eq!(found.is_empty(), halves(&found).is_none());
        }

        #[test]
        fn contains_like_ranges(start in 0..10_u8, end in 0..10_u8, value in 0..10_u8) {
            prop_assert_eq!(Interval::from(start..end).contains(&value), (start..end).contains(&value));
            prop_assert_eq!(Interval::from(start..=end).contains(&value), (start..=end).contains(&value));
            prop_assert_eq!(Interval::from(start..).contains(&value), (start..).contains(&value));
            prop_assert_eq!(Interval::from(..end).contains(&value), (..end).contains(&value));
            prop_assert_eq!(Interval::from(..=end).contains(&value), (..=end).contains(&value));
            prop_assert!(Interval::from(..).contains(&value));
        }

        #[test]
        fn bytes_last(a in interval(), changes in prop::collection::vec(any::<(usize, u8)>(), 0..4)) {
            laws::round_trip(&a)?;
            laws::survives::<Interval<u8>>(&a.to_bytes(), &changes)?;
            let text = serde_json::to_string(&a).unwrap();
            prop_assert_eq!(serde_json::from_str::<Interval<u8>>(&text).unwrap(), a);
        }
    }

    #[test]
    fn empty_is_without_room_whatever_the_type() {
        let open = |lower, upper| Interval::new(Bound::Excluded(lower), Bound::Excluded(upper));
        assert_eq!(open(1, 1), Interval::EMPTY);
        assert_eq!(Interval::from(1..1), Interval::EMPTY);
        assert!(!open(1, 2).is_empty());
        assert_ne!(open(1, 3), Interval::from(2..=2));
    }

    #[test]
    fn one_form_only() {
        assert_eq!(Interval::from(1_u8..3).to_bytes(), [0x1c, 1, 1, 1, 1, 2, 3]);
        laws::refuses::<Interval<u8>>(&[0x1c, 1, 1, 1, 3, 2, 3], DecodeErrorKind::Corrupt).unwrap();
        laws::refuses::<Interval<u8>>(&[0x1c, 1, 1, 3, 3, 2, 4], DecodeErrorKind::Corrupt).unwrap();
        laws::refuses::<Interval<u8>>(&[0x1c, 2, 0], DecodeErrorKind::Version).unwrap();
        let json = r#"{"between":{"lower":{"Included":1},"upper":"Unbounded"}}"#;
        assert_eq!(serde_json::to_string(&Interval::from(1..)).unwrap(), json);
        let empty = r#"{"between":{"lower":{"Included":2},"upper":{"Included":1}}}"#;
        assert_eq!(
            serde_json::from_str::<Interval<u8>>(empty).unwrap(),
            Interval::EMPTY
        );
    }
}
