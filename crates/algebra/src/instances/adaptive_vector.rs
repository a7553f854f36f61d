//! `AdaptiveVector`: a vector that is an array where it is full and a map where it is not.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::{Codec, DecodeError, Input, kind, put_header, put_length};
use crate::{Commutative, Group, Idempotent, Monoid, Semigroup};

/// A vector without end, zero from some place on, that sums element by element: `(a ⊕ b)[i] = a[i] ⊕ b[i]`.
///
/// Kept as an array when at least one element in four, up to the last that is not zero, is not zero; else as an
/// ordered map of those. So memory is within about four times the smaller of the two. The form is a function of the
/// content: equal vectors are `==` and have equal bytes. Laws are exact where those of the elements are. A group when
/// the elements are one.
///
/// ```
/// use algebra::{AdaptiveVector, Semigroup};
///
/// let mut clicks = AdaptiveVector::from(vec![3_u64, 0, 1]);
/// clicks.plus(AdaptiveVector::from_iter([(1_000_000, 7)]));
/// assert_eq!(clicks.get(1_000_000), Some(&7));
/// assert_eq!((clicks.filled(), clicks.extent()), (3, 1_000_001));
/// ```
///
/// `add` costs `O(1)` in an array and `O(log n)` in a map; `plus` that for each element of the one with fewer, or of the shorter array; a change
/// of form `O(n)`: a vector kept exactly at one in four that gains and loses an element pays it each time.
///
/// As JSON it is the map from index to element. Bytes: kind, version 1, then 1 and the array (a length, the elements), or
/// 0 and the map (a length, then index (`u64`) and element, indices rising).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AdaptiveVector<T>(Form<T>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Form<T> {
    /// What is not zero, by index.
    Sparse(BTreeMap<usize, T>),
    /// All to the last that is not zero, and how many are not.
    Dense { elements: Vec<T>, filled: usize },
}

use Form::{Dense, Sparse};

/// The least share of elements that are not zero for an array: one in this many.
const ONE_IN: usize = 4;

/// Whether so many elements, the last at this index, are an array.
fn is_dense(last: usize, filled: usize) -> bool {
    // The same as `last + 1 <= ONE_IN * filled`, which may overflow.
    last / ONE_IN < filled
}

impl<T> AdaptiveVector<T> {
    /// How many elements are not zero.
    pub fn filled(&self) -> usize {
        match &self.0 {
            Sparse(entries) => entries.len(),
            Dense { filled, .. } => *filled,
        }
    }

    /// How many elements to the last that is not zero, with it.
    pub fn extent(&self) -> usize {
        match &self.0 {
            Sparse(entries) => entries
                .last_key_value()
                .map_or(0, |(last, _)| last.saturating_add(1)),
            Dense { elements, .. } => elements.len(),
        }
    }
}

impl<T: Monoid> AdaptiveVector<T> {
    /// All zeros.
    pub fn new() -> Self {
        Self(Sparse(BTreeMap::new()))
    }

    /// The element at `index`, when it is not zero.
    pub fn get(&self, index: usize) -> Option<&T> {
        match &self.0 {
            Sparse(entries) => entries.get(&index),
            Dense { elements, .. } => elements.get(index).filter(|element| !element.is_zero()),
        }
    }

    /// The elements that are not zero with their indices, rising.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        let (sparse, dense) = match &self.0 {
            Sparse(entries) => (Some(entries), None),
            Dense { elements, .. } => (None, Some(elements)),
        };
        let sparse = sparse
            .into_iter()
            .flatten()
            .map(|(index, element)| (*index, element));
        let dense = dense.into_iter().flatten().enumerate();
        sparse.chain(dense.filter(|(_, element)| !element.is_zero()))
    }

    /// `self[index] ← self[index] ⊕ value`.
    pub fn add(&mut self, index: usize, value: T) {
        if value.is_zero() {
            return;
        }
        self.make_room(index, 1);
        self.add_at(index, |element| element.plus(value));
        self.settle();
    }

    /// Leaves the array when it could not hold `index`, also with so many elements more.
    fn make_room(&mut self, index: usize, more: usize) {
        if index >= self.extent() && !is_dense(index, self.filled().saturating_add(more)) {
            self.leave_array();
        }
    }

    /// Changes one element; the form may be the wrong one after that.
    fn add_at(&mut self, index: usize, change: impl FnOnce(&mut T)) {
        match &mut self.0 {
            Sparse(entries) => {
                let element = entries.entry(index).or_insert_with(T::zero);
                change(element);
                if element.is_zero() {
                    entries.remove(&index);
                }
            }
            Dense { elements, filled } => {
                if index >= elements.len() {
                    elements.resize_with(index + 1, T::zero);
                }
                let element = &mut elements[index];
                *filled -= usize::from(!element.is_zero());
                change(element);
                *filled += usize::from(!element.is_zero());
                canonical_zero(element);
            }
        }
    }

    /// Gives it the form that its content has.
    fn settle(&mut self) {
        match &mut self.0 {
            Sparse(entries) => {
                let filled = entries.len();
                if let Some((&last, _)) = entries.last_key_value()
                    && is_dense(last, filled)
                {
                    let mut elements = Vec::with_capacity(last + 1);
                    for (index, element) in std::mem::take(entries) {
                        elements.resize_with(index, T::zero);
                        elements.push(element);
                    }
                    self.0 = Dense { elements, filled };
                }
            }
            Dense { elements, filled } => {
                while elements.pop_if(|last| last.is_zero()).is_some() {}
                if elements.is_empty() || !is_dense(elements.len() - 1, *filled) {
                    self.leave_array();
                }
            }
        }
    }

    fn leave_array(&mut self) {
        if let Dense { elements, .. } = &mut self.0 {
            let entries = std::mem::take(elements).into_iter().enumerate();
            self.0 = Sparse(entries.filter(|(_, element)| !element.is_zero()).collect());
        }
    }

    /// Adds an array to an array that is as long at least, in loops that a compiler can make vector instructions of.
    fn add_array(&mut self, other: Self, add: impl Fn(&mut T, T)) {
        if let (Dense { elements, filled }, Dense { elements: other, .. }) = (&mut self.0, other.0) {
            let both = &mut elements[..other.len()];
            *filled -= count(both);
            for (element, value) in both.iter_mut().zip(other) {
                add(element, value);
            }
            both.iter_mut().for_each(canonical_zero);
            *filled += count(both);
        }
        self.settle();
    }

    /// Adds another, whose elements go to the right or to the left of these.
    fn add_all(&mut self, other: Self, add: impl Fn(&mut T, T)) {
        match other.0 {
            Sparse(entries) => {
                if let Some((&last, _)) = entries.last_key_value() {
                    self.make_room(last, entries.len());
                }
                for (index, value) in entries {
                    self.add_at(index, |element| add(element, value));
                }
            }
            Dense { elements, filled } => {
                self.make_room(elements.len() - 1, filled);
                for (index, value) in elements.into_iter().enumerate() {
                    if !value.is_zero() {
                        self.add_at(index, |element| add(element, value));
                    }
                }
            }
        }
        self.settle();
    }
}

/// `element ← left ⊕ element`.
fn plus_left<T: Semigroup>(element: &mut T, left: T) {
    let right = std::mem::replace(element, left);
    element.plus(right);
}

/// How many are not zero.
fn count<T: Monoid>(elements: &[T]) -> usize {
    elements.iter().filter(|element| !element.is_zero()).count()
}

/// Of the values that are zero the one that `zero()` makes, so that bytes are equal where vectors are.
fn canonical_zero<T: Monoid>(element: &mut T) {
    if element.is_zero() {
        *element = T::zero();
    }
}

impl<T: Monoid> Default for AdaptiveVector<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Element by element.
impl<T: Monoid> Semigroup for AdaptiveVector<T> {
    fn plus(&mut self, mut right: Self) {
        let arrays = matches!((&self.0, &right.0), (Dense { .. }, Dense { .. }));
        let size = |vector: &Self| if arrays { vector.extent() } else { vector.filled() };
        let swapped = size(self) < size(&right);
        if swapped {
            // Now `right` holds what was on the left, and must stay on the left of each `⊕`.
            std::mem::swap(self, &mut right);
        }
        match (arrays, swapped) {
            (true, false) => self.add_array(right, T::plus),
            (true, true) => self.add_array(right, plus_left),
            (false, false) => self.add_all(right, T::plus),
            (false, true) => self.add_all(right, plus_left),
        }
    }
}

impl<T: Monoid> Monoid for AdaptiveVector<T> {
    fn zero() -> Self {
        Self::new()
    }

    fn is_zero(&self) -> bool {
        self.filled() == 0
    }
}

impl<T: Group> Group for AdaptiveVector<T> {
    fn negate(&mut self) {
        match &mut self.0 {
            Sparse(entries) => entries.values_mut().for_each(T::negate),
            Dense { elements, .. } => {
                for element in elements {
                    element.negate();
                    canonical_zero(element);
                }
            }
        }
    }
}

impl<T: Monoid + Commutative> Commutative for AdaptiveVector<T> {}
impl<T: Monoid + Idempotent> Idempotent for AdaptiveVector<T> {}

impl<T: Monoid> From<Vec<T>> for AdaptiveVector<T> {
    fn from(mut elements: Vec<T>) -> Self {
        elements.iter_mut().for_each(canonical_zero);
        let filled = count(&elements);
        let mut vector = Self(Dense { elements, filled });
        vector.settle();
        vector
    }
}

/// Elements of one index are summed in the order they come.
impl<T: Monoid> FromIterator<(usize, T)> for AdaptiveVector<T> {
    fn from_iter<I: IntoIterator<Item = (usize, T)>>(entries: I) -> Self {
        let mut vector = Self::new();
        for (index, value) in entries {
            vector.add_at(index, |element| element.plus(value));
        }
        vector.settle();
        vector
    }
}

impl<T: Monoid + Codec> Codec for AdaptiveVector<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::ADAPTIVE_VECTOR, 1);
        match &self.0 {
            Sparse(entries) => {
                false.encode(out);
                put_length(out, entries.len());
                for (index, element) in entries {
                    (*index as u64).encode(out);
                    element.encode(out);
                }
            }
            Dense { elements, .. } => {
                true.encode(out);
                elements.encode(out);
            }
        }
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::ADAPTIVE_VECTOR, 1)?;
        let dense = bool::decode(input)?;
        let vector = if dense {
            let elements = Vec::<T>::decode(input)?;
            if elements.last().is_none_or(T::is_zero) {
                return Err(input.corrupt("an array does not end with an element that is not zero"));
            }
            Self::from(elements)
        } else {
            Self(Sparse(sparse(input)?))
        };
        if dense == vector.should_be_dense() {
            return Ok(vector);
        }
        Err(input.corrupt("a vector has not the form that its content has"))
    }
}

impl<T: Monoid> AdaptiveVector<T> {
    fn should_be_dense(&self) -> bool {
        self.extent()
            .checked_sub(1)
            .is_some_and(|last| is_dense(last, self.filled()))
    }
}

fn sparse<T: Monoid + Codec>(input: &mut Input<'_>) -> Result<BTreeMap<usize, T>, DecodeError> {
    let length = input.length(size_of::<u64>())?;
    let mut entries = BTreeMap::new();
    for _ in 0..length {
        let Ok(index) = usize::try_from(u64::decode(input)?) else {
            return Err(input.corrupt("an index is beyond what this machine can count"));
        };
        if entries.last_key_value().is_some_and(|(last, _)| *last >= index) {
            return Err(input.corrupt("the indices of a vector do not rise"));
        }
        let element = T::decode(input)?;
        if element.is_zero() {
            return Err(input.corrupt("the map of a vector holds a zero"));
        }
        entries.insert(index, element);
    }
    Ok(entries)
}

impl<T: Monoid + Serialize> Serialize for AdaptiveVector<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, T: Monoid + Deserialize<'de>> Deserialize<'de> for AdaptiveVector<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(BTreeMap::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Max, laws};

    /// Few or many, near or far, so that both forms and the way between them come up.
    fn vector() -> impl Strategy<Value = AdaptiveVector<i8>> {
        let near = prop::collection::vec((0..12_usize, -2..3_i8), 0..12);
        let far = prop::collection::vec((prop_oneof![0..60_usize, Just(usize::MAX)], -2..3_i8), 0..6);
        prop_oneof![near, far].prop_map(AdaptiveVector::from_iter)
    }

    fn naive(vector: &AdaptiveVector<i8>) -> BTreeMap<usize, i8> {
        vector.iter().map(|(index, element)| (index, *element)).collect()
    }

    proptest! {
        #[test]
        fn laws_hold(a in vector(), b in vector(), c in vector()) {
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
            laws::inverse(&a)?;
            laws::commutative(&a, &b)?;
            laws::bulk_equals_repeated(&[a.clone(), b, c])?;
            laws::round_trip(&a)?;
            let text = serde_json::to_string(&a).unwrap();
            prop_assert_eq!(serde_json::from_str::<AdaptiveVector<i8>>(&text).unwrap(), a);
        }

        /// Strings show whether left stays left.
        #[test]
        fn not_commutative(vectors in prop::collection::vec(prop::collection::vec((0..20_usize, "[a-z]?"), 0..9), 3)) {
            let [a, b, c] = [0, 1, 2].map(|i: usize| AdaptiveVector::from_iter(vectors[i].clone()));
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
            let maxima = a.iter().map(|(index, text)| (index, Some(Max(text.clone()))));
            laws::idempotent(&AdaptiveVector::from_iter(maxima))?;
        }

        #[test]
        fn like_the_naive_twin(a in vector(), b in vector(), index in 0..60_usize, value in -2..3_i8) {
            let mut sums = naive(&a);
            sums.plus(naive(&b));
            sums.plus(BTreeMap::from([(index, value)]));
            sums.retain(|_, sum| *sum != 0);
            let mut vector = laws::sum([a, b]);
            vector.add(index, value);
            prop_assert_eq!(naive(&vector), sums.clone());
            prop_assert_eq!((vector.filled(), vector.get(index)), (sums.len(), sums.get(&index)));
            let dense = matches!(vector.0, Dense { .. });
            prop_assert_eq!(dense, vector.extent() > 0 && (vector.extent() as u128) <= 4 * sums.len() as u128);
        }

        #[test]
        fn by_whatever_way_the_same(a in vector(), b in vector()) {
            let once = AdaptiveVector::from_iter(a.iter().chain(b.iter()).map(|(index, element)| (index, *element)));
            let sum = laws::sum([a, b]);
            prop_assert_eq!(&sum, &once);
            prop_assert_eq!(sum.to_bytes(), once.to_bytes());
            if once.extent() < 100 {
                let all = (0..once.extent()).map(|index| once.get(index).copied().unwrap_or(0)).collect::<Vec<_>>();
                prop_assert_eq!(AdaptiveVector::from([all, vec![0; 3]].concat()), once);
            }
        }

        #[test]
        fn any_bytes(bytes: Vec<u8>, changes: Vec<(usize, u8)>, value in vector()) {
            laws::survives::<AdaptiveVector<i8>>(&bytes, &changes)?;
            laws::survives::<AdaptiveVector<i8>>(&value.to_bytes(), &changes)?;
        }
    }

    /// With two zeros, `0.0` and `-0.0`.
    #[derive(Clone, Debug, PartialEq)]
    struct Signed(f64);

    impl Semigroup for Signed {
        fn plus(&mut self, right: Self) {
            self.0 += right.0;
            if self.0 == 0.0 {
                self.0 = -0.0;
            }
        }
    }

    impl Monoid for Signed {
        fn zero() -> Self {
            Self(0.0)
        }

        fn is_zero(&self) -> bool {
            self.0 == 0.0
        }
    }

    impl Group for Signed {
        fn negate(&mut self) {
            self.0 = -self.0;
        }
    }

    impl Codec for Signed {
        fn encode(&self, out: &mut Vec<u8>) {
            self.0.encode(out);
        }

        fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
            f64::decode(input).map(Self)
        }
    }

    /// Each way to change an array, where an element comes to the other zero.
    #[test]
    fn of_two_zeros_one_is_kept() {
        let vector = |elements: [f64; 3]| AdaptiveVector::from(elements.map(Signed).to_vec());
        let bytes = vector([1.0, 0.0, 1.0]).to_bytes();
        assert_eq!(vector([1.0, -0.0, 1.0]).to_bytes(), bytes);
        let mut added = vector([1.0, 2.0, 1.0]);
        added.add(1, Signed(-2.0));
        assert_eq!(added.to_bytes(), bytes);
        let mut negated = vector([-1.0, 0.0, -1.0]);
        negated.negate();
        assert_eq!(negated.to_bytes(), bytes);
        let merged = laws::sum([vector([0.5, 2.0, 0.5]), vector([0.5, -2.0, 0.5])]);
        assert_eq!(merged.to_bytes(), bytes);
    }

    #[test]
    fn another_form_than_the_content_has_is_refused() {
        let header = |dense: u8, length: u8| vec![kind::ADAPTIVE_VECTOR.0, 1, dense, length, 0, 0, 0];
        let refused = |rest: &[u8], mut bytes: Vec<u8>| {
            bytes.extend_from_slice(rest);
            laws::refuses::<AdaptiveVector<i8>>(&bytes, crate::codec::DecodeErrorKind::Corrupt).unwrap();
        };
        refused(&[], header(1, 0));
        refused(&[0, 1, 0], header(1, 3));
        refused(&[0, 0, 0, 0, 1], header(1, 5));
        refused(&[0, 0, 0, 0, 0, 0, 0, 0, 1], header(0, 1));
        refused(&[9, 0, 0, 0, 0, 0, 0, 0, 0], header(0, 1));
    }
}
