//! Histogram: counts between edges that the type fixes.

use std::fmt;
use std::marker::PhantomData;

use super::Sketch;
use crate::codec::{Codec, DecodeError, Input, kind, put_header, put_shape, through_bytes};
use crate::{Commutative, Group, Monoid, Semigroup, hash128};

/// Where the buckets of a [`Histogram`] end.
pub trait Edges {
    /// Rising and finite, at least one and at most [`EDGES_MAX`]; else `Histogram::new` does not compile.
    const EDGES: &'static [f64];
}

/// The most edges of a histogram.
pub const EDGES_MAX: usize = 1 << 16;

/// How many numbers there are in each of `n + 1` buckets between `n` edges, `(−∞, e₁], (e₁, e₂], …, (eₙ, ∞)`, and how
/// many NaN: counts, and bounds on quantiles.
///
/// An edge belongs to the bucket below it, as in Prometheus (`le`) and OpenTelemetry. Nothing is approximate but where
/// in its bucket a number is: [`quantile`](Self::quantile) gives the bucket.
///
/// Laws hold *exactly* (`==`, and equal bytes), with inverses: counts are `i64` and wrap. Two sets of edges are two
/// types, and the bytes of one are refused by the other.
///
/// ```
/// use algebra::sketch::histogram::{Edges, Histogram};
/// use algebra::sketch::Sketch;
///
/// enum Millis {}
/// impl Edges for Millis {
///     const EDGES: &'static [f64] = &[1.0, 10.0, 100.0];
/// }
///
/// let mut waits = Histogram::<Millis>::new();
/// [0.5, 3.0, 10.0, 700.0].iter().for_each(|wait| waits.add(wait));
/// assert_eq!(waits.counts(), [1, 2, 0, 1]);
/// assert_eq!(waits.quantile(0.5), Some((1.0, 10.0)));
/// ```
///
/// | | |
/// |---|---|
/// | answers | `counts`, `quantile`, `count` |
/// | number | a binary search among the edges |
/// | merge | `n + 1` additions |
/// | size | `8·(n + 2)` bytes |
/// | error | none; a quantile is known to be in its bucket |
///
/// | bytes | what |
/// |---|---|
/// | 2 | kind `0x6a`, version 1 |
/// | 8, 8 | shape: `n`; the low half of [`hash128`] of the edges' bytes, seed 0 |
/// | 8 | how many NaN |
/// | 8·(n + 1) | the counts |
pub struct Histogram<B: Edges> {
    counts: Box<[i64]>,
    not_numbers: i64,
    edges: PhantomData<fn() -> B>,
}

impl<B: Edges> Histogram<B> {
    /// Of no numbers.
    pub fn new() -> Self {
        const {
            assert!(
                !B::EDGES.is_empty() && B::EDGES.len() <= EDGES_MAX && rise(B::EDGES),
                "the edges of a histogram are 1 to 2^16 finite numbers that rise"
            );
        }
        Self {
            counts: vec![0; B::EDGES.len() + 1].into(),
            not_numbers: 0,
            edges: PhantomData,
        }
    }

    /// By bucket: `counts()[i]` are above edge `i − 1` and at most edge `i`.
    pub fn counts(&self) -> &[i64] {
        &self.counts
    }

    /// How many NaN.
    pub fn not_numbers(&self) -> i64 {
        self.not_numbers
    }

    /// How many numbers, without NaN.
    pub fn count(&self) -> i64 {
        self.counts.iter().fold(0, |sum, count| sum.wrapping_add(*count))
    }

    /// Takes a number `count` times; fewer than 0 takes it out.
    #[inline]
    pub fn add_count(&mut self, number: f64, count: i64) {
        let held = if number.is_nan() {
            &mut self.not_numbers
        } else {
            &mut self.counts[B::EDGES.partition_point(|edge| *edge < number)]
        };
        *held = held.wrapping_add(count);
    }

    /// The ends of the bucket with the `⌈q·count⌉`-th smallest number: above the first, and at most the second.
    ///
    /// `None` when there is no number, `q` is not in `0..=1`, or a count is below zero.
    pub fn quantile(&self, q: f64) -> Option<(f64, f64)> {
        let sizes: Option<Vec<u128>> = self
            .counts
            .iter()
            .map(|count| u128::try_from(*count).ok())
            .collect();
        let sizes = sizes?;
        let total: u128 = sizes.iter().sum();
        if total == 0 || !(0.0..=1.0).contains(&q) {
            return None;
        }
        let place = ((q * total as f64).ceil() as u128).clamp(1, total);
        let mut below = 0;
        let bucket = sizes.iter().position(|size| {
            below += size;
            below >= place
        })?;
        let edge = |at: Option<usize>| at.and_then(|at| B::EDGES.get(at)).copied();
        Some((
            edge(bucket.checked_sub(1)).unwrap_or(f64::NEG_INFINITY),
            edge(Some(bucket)).unwrap_or(f64::INFINITY),
        ))
    }
}

const fn rise(edges: &[f64]) -> bool {
    let mut at = 0;
    while at < edges.len() {
        if !edges[at].is_finite() || (at > 0 && edges[at - 1] >= edges[at]) {
            return false;
        }
        at += 1;
    }
    true
}

impl<B: Edges> Default for Histogram<B> {
    fn default() -> Self {
        Self::new()
    }
}

impl<B: Edges> Clone for Histogram<B> {
    fn clone(&self) -> Self {
        Self {
            counts: self.counts.clone(),
            ..*self
        }
    }
}

impl<B: Edges> PartialEq for Histogram<B> {
    fn eq(&self, other: &Self) -> bool {
        (&self.counts, self.not_numbers) == (&other.counts, other.not_numbers)
    }
}

impl<B: Edges> Eq for Histogram<B> {}

impl<B: Edges> fmt::Debug for Histogram<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("edges", &B::EDGES)
            .field("counts", &self.counts)
            .field("not_numbers", &self.not_numbers)
            .finish()
    }
}

/// Count by count; wraps.
impl<B: Edges> Semigroup for Histogram<B> {
    fn plus(&mut self, right: Self) {
        self.not_numbers.plus(right.not_numbers);
        for (held, count) in self.counts.iter_mut().zip(right.counts) {
            held.plus(count);
        }
    }
}

impl<B: Edges> Monoid for Histogram<B> {
    fn zero() -> Self {
        Self::new()
    }

    fn is_zero(&self) -> bool {
        self.not_numbers == 0 && self.counts.iter().all(|count| *count == 0)
    }
}

impl<B: Edges> Group for Histogram<B> {
    fn negate(&mut self) {
        self.not_numbers.negate();
        self.counts.iter_mut().for_each(Group::negate);
    }
}

impl<B: Edges> Commutative for Histogram<B> {}

impl<B: Edges> Sketch<f64> for Histogram<B> {
    #[inline]
    fn add(&mut self, number: &f64) {
        self.add_count(*number, 1);
    }
}

impl<B: Edges> Codec for Histogram<B> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::HISTOGRAM, 1);
        put_shape(out, B::EDGES.len() as u64);
        put_shape(out, fingerprint(B::EDGES));
        self.not_numbers.encode(out);
        self.counts.iter().for_each(|count| count.encode(out));
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::HISTOGRAM, 1)?;
        input.shape("edges", B::EDGES.len() as u64)?;
        input.shape("hash of edges", fingerprint(B::EDGES))?;
        let mut histogram = Self::new();
        histogram.not_numbers = i64::decode(input)?;
        for count in &mut histogram.counts {
            *count = i64::decode(input)?;
        }
        Ok(histogram)
    }
}

/// Frozen: what is stored depends on it.
fn fingerprint(edges: &[f64]) -> u64 {
    let bytes: Vec<u8> = edges.iter().flat_map(|edge| (edge + 0.0).to_le_bytes()).collect();
    hash128(&bytes, 0) as u64
}

through_bytes!([B: Edges] Histogram<B>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::DecodeErrorKind;
    use crate::laws;

    enum Tens {}
    impl Edges for Tens {
        const EDGES: &'static [f64] = &[-10.0, 0.0, 10.0, 20.0];
    }

    enum Others {}
    impl Edges for Others {
        const EDGES: &'static [f64] = &[-10.0, 0.0, 10.0, 21.0];
    }

    fn histogram(numbers: &[f64]) -> Histogram<Tens> {
        let mut histogram = Histogram::new();
        numbers.iter().for_each(|number| histogram.add(number));
        histogram
    }

    fn numbers() -> impl Strategy<Value = Vec<f64>> {
        let number = prop_oneof![
            (-4..4_i32).prop_map(|x| f64::from(x) * 10.0),
            any::<f64>(),
            -30.0..30.0_f64
        ];
        prop::collection::vec(number, 0..40)
    }

    proptest! {
        #[test]
        fn laws_are_exact(
            a in numbers(), b in numbers(), c in numbers(), cuts in prop::collection::vec(any::<usize>(), 0..4),
        ) {
            let all = [a.clone(), b.clone(), c.clone()].concat();
            laws::merge_equals_whole_within(&all, &cuts, histogram, |x, y| x == y && x.to_bytes() == y.to_bytes())?;
            let [a, b, c] = [a, b, c].map(|numbers| histogram(&numbers));
            laws::associative(&a, &b, &c)?;
            laws::commutative(&a, &b)?;
            laws::identity(&a)?;
            laws::inverse(&a)?;
            laws::adds(&a, &10.0, |x, y| x == y)?;
            laws::round_trip(&a)?;
        }

        /// The naive twin is the sorted numbers.
        #[test]
        fn quantiles_are_in_their_bucket(numbers in numbers(), q in 0.0..=1.0_f64) {
            let histogram = histogram(&numbers);
            let mut sorted: Vec<f64> = numbers.iter().copied().filter(|x| !x.is_nan()).collect();
            sorted.sort_by(f64::total_cmp);
            prop_assert_eq!(histogram.count(), sorted.len() as i64);
            match histogram.quantile(q) {
                None => prop_assert!(sorted.is_empty()),
                Some((above, at_most)) => {
                    let truth = sorted[((q * sorted.len() as f64).ceil() as usize).max(1) - 1];
                    prop_assert!(above < truth || (above.is_infinite() && truth == above));
                    prop_assert!(truth <= at_most, "truth={truth} at_most={at_most}");
                }
            }
        }

        #[test]
        fn bytes_are_survived(
            numbers in numbers(), changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..6),
        ) {
            laws::survives::<Histogram<Tens>>(&histogram(&numbers).to_bytes(), &changes)?;
        }
    }

    #[test]
    fn an_edge_belongs_below() {
        let mut found = histogram(&[-10.0, -9.0, 0.0, -0.0, 20.0, 20.5, f64::NAN]);
        assert_eq!((found.counts(), found.not_numbers()), (&[1, 3, 0, 1, 1][..], 1));
        assert_eq!(found.quantile(1.0), Some((20.0, f64::INFINITY)));
        assert_eq!([-0.1, 1.1, f64::NAN].map(|q| found.quantile(q)), [None; 3]);
        found.negate();
        assert_eq!((found.count(), found.quantile(0.5)), (-6, None));
    }

    #[test]
    fn refuses_what_it_is_not() {
        let bytes = histogram(&[1.0]).to_bytes();
        let changed = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            bytes
        };
        laws::refuses::<Histogram<Tens>>(&changed(0, 1), DecodeErrorKind::Corrupt).unwrap();
        laws::refuses::<Histogram<Tens>>(&changed(1, 2), DecodeErrorKind::Version).unwrap();
        laws::refuses::<Histogram<Others>>(&bytes, DecodeErrorKind::Shape).unwrap();
        let text = serde_json::to_string(&histogram(&[1.0])).unwrap();
        assert_eq!(
            serde_json::from_str::<Histogram<Tens>>(&text).unwrap(),
            histogram(&[1.0])
        );
    }
}
