//! Samples by hash: what is in them depends on the items' ids alone, so that replays and merges in any order agree.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::Sketch;
use crate::codec::{Codec, DecodeError, Input, kind, put_header, put_shape, through_bytes};
use crate::{Commutative, Idempotent, Item, Monoid, Semigroup, hash128};

/// The values of the `K` ids with the smallest hashes ([`hash128`] with `SEED`), each with its hash: a uniform sample,
/// without replacement, of the values by distinct id.
///
/// Every set of `K` ids is as likely as any other, over the choice of `SEED`: a bottom-`k` sample (Cohen and Kaplan
/// 2007). An id that comes again changes nothing. One that comes with two values keeps the one whose bytes
/// ([`Codec`]) are larger. Two samples of the same `SEED` choose the same ids; take different ones where samples must
/// be independent.
///
/// Laws, exact (`==`): `⊕` is the sample of the union; associative, commutative, idempotent; `new()` is the zero.
///
/// ```
/// use algebra::sketch::Sample;
///
/// let mut orders = Sample::<u64, 100, 1>::new();
/// (0..10_000_u64).for_each(|id| orders.insert(&id, 5));
/// assert_eq!(orders.values().count(), 100);
/// let total = orders.sum_estimate(|price| *price as f64);
/// assert!((40_000.0..60_000.0).contains(&total));
/// ```
///
/// | | |
/// |---|---|
/// | answers | `K` values, uniformly drawn; how many distinct ids; sums of any function of the values |
/// | error | of the number of ids a standard error of `1 / √(K − 2)` |
/// | update | a hash, and `log₂ K` for one that has room |
/// | merge | `K·log₂ K` |
/// | size | `K` values, and 16 bytes each |
///
/// Bytes: the header, `K`, `SEED`, and a map from the hash (`u128`) to the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample<T, const K: usize, const SEED: u64> {
    values: BTreeMap<u128, T>,
}

/// Whether the id is in a sample that has every id with this probability, each independently of the others, over the
/// choice of `SEED`: the same answer for the same id, always and everywhere.
///
/// What is in a sample is in any with a larger probability. A probability that is NaN or below 0 is 0. Of the same
/// `SEED` as a [`Sample`], the two are not independent.
pub fn bernoulli<const SEED: u64>(id: &(impl Item + ?Sized), probability: f64) -> bool {
    // As an integer, so that no hash rounds up to 1; the cast takes NaN and what is below 0 as 0.
    hash128(id, SEED) >> 64 < (probability * 2_f64.powi(64)) as u128
}

impl<T, const K: usize, const SEED: u64> Sample<T, K, SEED> {
    /// No values.
    pub fn new() -> Self {
        const { assert!(K >= 2, "a sample has room for at least two") };
        Self {
            values: BTreeMap::new(),
        }
    }

    /// The values, in the order of their ids' hashes: in random order, so that the first `n` are a sample too.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &T> {
        self.values.values()
    }

    /// How many distinct ids there were: exact below `K`, else with a relative standard error of `1 / √(K − 2)`.
    pub fn distinct_estimate(&self) -> f64 {
        self.sum_estimate(|_| 1.0)
    }

    /// The sum of `of` over the values of all distinct ids: exact below `K`, else an estimate without bias.
    ///
    /// The values below the largest hash were each as likely to be there as that hash is large; their sum is divided
    /// by that likelihood (Cohen and Kaplan 2007, section 3).
    pub fn sum_estimate(&self, of: impl Fn(&T) -> f64) -> f64 {
        match self.values.last_key_value() {
            Some((largest, _)) if self.values.len() == K => {
                let likelihood = *largest as f64 / 2_f64.powi(128);
                self.values.values().take(K - 1).map(of).sum::<f64>() / likelihood
            }
            _ => self.values.values().map(of).sum(),
        }
    }
}

impl<T: Codec, const K: usize, const SEED: u64> Sample<T, K, SEED> {
    /// Takes the value of an id.
    pub fn insert(&mut self, id: &(impl Item + ?Sized), value: T) {
        let hash = hash128(id, SEED);
        if self.takes(hash) {
            self.put(hash, value);
        }
    }

    fn takes(&self, hash: u128) -> bool {
        self.values.len() < K
            || self
                .values
                .last_key_value()
                .is_some_and(|(largest, _)| hash <= *largest)
    }

    fn put(&mut self, hash: u128, value: T) {
        match self.values.entry(hash) {
            Entry::Vacant(place) => {
                place.insert(value);
            }
            Entry::Occupied(mut place) => {
                if value.to_bytes() > place.get().to_bytes() {
                    place.insert(value);
                }
            }
        }
        if self.values.len() > K {
            self.values.pop_last();
        }
    }
}

impl<T, const K: usize, const SEED: u64> Default for Sample<T, K, SEED> {
    fn default() -> Self {
        Self::new()
    }
}

/// Takes a value with its id.
impl<I: Item, T: Codec + Clone, const K: usize, const SEED: u64> Sketch<(I, T)> for Sample<T, K, SEED> {
    fn add(&mut self, (id, value): &(I, T)) {
        let hash = hash128(id, SEED);
        if self.takes(hash) {
            self.put(hash, value.clone());
        }
    }
}

/// The sample of the union.
impl<T: Codec, const K: usize, const SEED: u64> Semigroup for Sample<T, K, SEED> {
    fn plus(&mut self, right: Self) {
        for (hash, value) in right.values {
            if !self.takes(hash) {
                return;
            }
            self.put(hash, value);
        }
    }
}

impl<T: Codec, const K: usize, const SEED: u64> Monoid for Sample<T, K, SEED> {
    fn zero() -> Self {
        Self::new()
    }

    fn is_zero(&self) -> bool {
        self.values.is_empty()
    }
}

impl<T: Codec, const K: usize, const SEED: u64> Commutative for Sample<T, K, SEED> {}
impl<T: Codec, const K: usize, const SEED: u64> Idempotent for Sample<T, K, SEED> {}

impl<T: Codec, const K: usize, const SEED: u64> Codec for Sample<T, K, SEED> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::SAMPLE, 1);
        put_shape(out, K as u64);
        put_shape(out, SEED);
        self.values.encode(out);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::SAMPLE, 1)?;
        input.shape("K", K as u64)?;
        input.shape("SEED", SEED)?;
        let values = BTreeMap::decode(input)?;
        if values.len() > K {
            return Err(input.corrupt(format!("more values than have room: values={}", values.len())));
        }
        Ok(Self { values })
    }
}

through_bytes!([T: Codec, const K: usize, const SEED: u64] Sample<T, K, SEED>);
