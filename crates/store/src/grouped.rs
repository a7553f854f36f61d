//! The keys of a call once each: what combinators need that retry, divide or hold back parts of a call, since then
//! two parts of one call must not hold the same key.

use std::collections::BTreeMap;

use algebra::Semigroup;

use crate::ports::complete;
use crate::{Answers, Result};

/// The deltas of a call, summed by key, and how to answer each delta from the answer to its key.
pub(crate) struct Deltas<V> {
    /// For each delta the place of its key, and the sum of the deltas of that key before it.
    places: Vec<(usize, Option<V>)>,
    keys: usize,
}

impl<V: Semigroup + Clone> Deltas<V> {
    /// Sums by key, in the order of the deltas; keys in the order of their first delta.
    pub(crate) fn sum<K: Ord + Clone>(deltas: Vec<(K, V)>) -> (Vec<(K, V)>, Self) {
        let mut sums: Vec<(K, V)> = Vec::with_capacity(deltas.len());
        let mut place_of = BTreeMap::<K, usize>::new();
        let mut places = Vec::with_capacity(deltas.len());
        for (key, delta) in deltas {
            match place_of.get(&key) {
                Some(place) => {
                    let sum = &mut sums[*place].1;
                    places.push((*place, Some(sum.clone())));
                    sum.plus(delta);
                }
                None => {
                    place_of.insert(key.clone(), sums.len());
                    places.push((sums.len(), None));
                    sums.push((key, delta));
                }
            }
        }
        let keys = sums.len();
        (sums, Self { places, keys })
    }

    /// The value before each delta, from the value before each key's sum.
    pub(crate) fn befores(self, answers: Answers<Option<V>>) -> Answers<Option<V>> {
        let answers = complete(self.keys, answers);
        let before = |(place, prior): (usize, Option<V>)| {
            let held: Option<V> = answers[place].clone()?;
            Ok(joined(held, prior))
        };
        self.places.into_iter().map(before).collect()
    }
}

/// `a ⊕ b` where both are; else the one that is.
pub(crate) fn joined<V: Semigroup>(a: Option<V>, b: Option<V>) -> Option<V> {
    match (a, b) {
        (Some(mut a), Some(b)) => {
            a.plus(b);
            Some(a)
        }
        (a, b) => a.or(b),
    }
}

/// The writes of a call, the last one of each key, and how to answer each write from the answer to its key.
pub(crate) struct Writes {
    places: Vec<usize>,
    keys: usize,
}

impl Writes {
    /// The last write of each key; keys in the order of their first write.
    pub(crate) fn last<K: Ord + Clone, W>(writes: Vec<(K, W)>) -> (Vec<(K, W)>, Self) {
        let mut lasts: Vec<(K, W)> = Vec::with_capacity(writes.len());
        let mut place_of = BTreeMap::new();
        let mut places = Vec::with_capacity(writes.len());
        for (key, value) in writes {
            let place = *place_of.entry(key.clone()).or_insert(lasts.len());
            places.push(place);
            match lasts.get_mut(place) {
                Some(last) => last.1 = value,
                None => lasts.push((key, value)),
            }
        }
        let keys = lasts.len();
        (lasts, Self { places, keys })
    }

    /// The answer to each write.
    pub(crate) fn answers(self, answers: Answers<()>) -> Vec<Result<()>> {
        let answers = complete(self.keys, answers);
        self.places
            .into_iter()
            .map(|place| answers[place].clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, ErrorKind};

    fn text(deltas: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        deltas
            .iter()
            .map(|(key, delta)| (*key, delta.to_string()))
            .collect()
    }

    #[test]
    fn befores_are_as_if_merged_one_by_one() {
        let (sums, deltas) = Deltas::sum(text(&[("a", "1"), ("b", "2"), ("a", "3"), ("a", "4")]));
        assert_eq!(sums, text(&[("a", "134"), ("b", "2")]));
        let befores = deltas.befores(vec![Ok(None), Ok(Some("0".to_owned()))]);
        let befores: Vec<_> = befores.into_iter().map(Result::unwrap).collect();
        let expected = [None, Some("0"), Some("1"), Some("13")].map(|before| before.map(str::to_owned));
        assert_eq!(
            befores, expected,
            "an absent key has a before from its second delta on"
        );
    }

    #[test]
    fn a_failed_key_fails_its_deltas_alone() {
        let (_, deltas) = Deltas::sum(text(&[("a", "1"), ("b", "2"), ("a", "3")]));
        let failed = Error::new(ErrorKind::Retry, "busy");
        let befores = deltas.befores(vec![Err(failed), Ok(None)]);
        assert_eq!(
            befores.iter().map(Result::is_ok).collect::<Vec<_>>(),
            [false, true, false]
        );
    }

    #[test]
    fn too_few_answers_are_an_error_for_each() {
        let (_, deltas) = Deltas::sum(text(&[("a", "1"), ("b", "2")]));
        for answer in deltas.befores(vec![Ok(None)]) {
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn the_last_write_counts() {
        let (lasts, writes) = Writes::last(vec![("a", Some(1)), ("b", None), ("a", None), ("b", Some(2))]);
        assert_eq!(lasts, [("a", None), ("b", Some(2))]);
        let failed = Error::new(ErrorKind::Retry, "busy");
        let answers = writes.answers(vec![Ok(()), Err(failed)]);
        assert_eq!(
            answers.iter().map(Result::is_ok).collect::<Vec<_>>(),
            [true, false, true, false]
        );
    }
}
