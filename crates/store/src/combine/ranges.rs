//! Sums over ranges of a number, a time for instance, from buckets of several sizes.

use std::ops::Range;

use algebra::Semigroup;
use async_trait::async_trait;

use crate::grouped::Deltas;
use crate::ports::{Parts, complete};
use crate::{Answers, Error, ErrorKind, Key, Mergeable, Queryable, Readable, Result, Value};

/// The numbers from `index · size` up to `(index + 1) · size`, where `size = 2^(bits · level)` of [`RangeLimits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Bucket {
    /// 0 is the finest.
    pub level: u32,
    /// Which one of its level.
    pub index: i64,
}

/// The sizes of the buckets of a [`Ranges`]. Stored sums depend on the first two: they must stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeLimits {
    /// A bucket holds `2^bits` of the next finer ones: 1 to 16.
    pub bits: u32,
    /// Sizes of buckets, the finest (single numbers) included: 1 to 16, so that `bits · (levels − 1)` ≤ 63.
    pub levels: u32,
    /// The most buckets that a question may be answered from.
    pub buckets_max: usize,
}

/// A store of `(key, `[`Bucket`]`) → sum` as one that is merged into at `(key, number)`, and asked for the sum of a
/// key over a range of numbers, in their order.
///
/// A merge goes to the bucket of each level; a question is answered from the fewest buckets that make up its range:
/// each time the largest that begins where the last one ended and does not reach over the end. For a range of up
/// to `n` largest buckets these are at most `n + 2 · (levels − 1) · (2^bits − 1)`.
///
/// Each bucket is merged atomically, but not the levels together: a question may see a merge under way in part, and
/// a merge that failed in some level is in `Doubt`. The value before is that of the number's own bucket.
pub struct Ranges<S> {
    inner: S,
    limits: RangeLimits,
}

impl<S> Ranges<S> {
    /// Ranges over the buckets of `inner`; `limits` outside of what they say are taken as the nearest within.
    pub fn new(inner: S, limits: RangeLimits) -> Self {
        let bits = limits.bits.clamp(1, 16);
        let levels = limits.levels.clamp(1, 16).min(63 / bits + 1);
        Self {
            inner,
            limits: RangeLimits {
                bits,
                levels,
                ..limits
            },
        }
    }

    /// The buckets that make up a range, in order.
    fn cover(&self, range: &Range<i64>) -> Result<Vec<Bucket>> {
        let mut cover = Vec::new();
        // Wider than the numbers, so that the end of the last bucket can be told.
        let (mut from, end) = (i128::from(range.start), i128::from(range.end));
        while from < end {
            if cover.len() == self.limits.buckets_max {
                let text =
                    "the range needs too many buckets: ask for a shorter one, or for one with rounder ends";
                let text = format!("{text} range={range:?} buckets_max={}", self.limits.buckets_max);
                return Err(Error::new(ErrorKind::Invalid, text));
            }
            let fits = |level: &u32| {
                let size = self.size(*level);
                from % size == 0 && from + size <= end
            };
            let level = (0..self.limits.levels).rev().find(fits).unwrap_or(0);
            let index = (from >> (self.limits.bits * level)) as i64;
            cover.push(Bucket { level, index });
            from += self.size(level);
        }
        Ok(cover)
    }

    fn size(&self, level: u32) -> i128 {
        1 << (self.limits.bits * level)
    }
}

#[async_trait]
impl<K, V, S> Mergeable<(K, i64), V> for Ranges<S>
where
    K: Key,
    V: Semigroup + Value,
    S: Mergeable<(K, Bucket), V>,
{
    async fn merge_each(&self, deltas: Vec<((K, i64), V)>) -> Answers<Option<V>> {
        let (sums, deltas) = Deltas::sum(deltas);
        let levels = self.limits.levels;
        let mut merges = Vec::with_capacity(sums.len() * levels as usize);
        for ((key, number), sum) in sums {
            for level in 0..levels {
                let index = number >> (self.limits.bits * level).min(63);
                merges.push(((key.clone(), Bucket { level, index }), sum.clone()));
            }
        }
        let answers = complete(merges.len(), self.inner.merge_each(merges).await);
        let mut answers = answers.into_iter();
        let mut befores = Vec::new();
        while let Some(finest) = answers.next() {
            let others: Answers<Option<V>> = answers.by_ref().take(levels as usize - 1).collect();
            befores.push(of_all_levels(finest, others));
        }
        deltas.befores(befores)
    }
}

/// The finest level's answer; a failure when one failed, in doubt when not all failed alike without effect.
fn of_all_levels<V>(finest: Result<Option<V>>, others: Answers<Option<V>>) -> Result<Option<V>> {
    let failed = others
        .iter()
        .chain([&finest])
        .find_map(|answer| answer.as_ref().err());
    let Some(failed) = failed else { return finest };
    let none_done = others.iter().chain([&finest]).all(|answer| {
        answer
            .as_ref()
            .is_err_and(|error| error.kind() != ErrorKind::Doubt)
    });
    if none_done {
        return Err(failed.clone());
    }
    let text = "merged into the buckets of some sizes and not of others: ranges over it are wrong until it is mended";
    Err(Error::new(ErrorKind::Doubt, format!("{text} cause={failed}")).with_source(failed.clone()))
}

#[async_trait]
impl<K, V, S> Queryable<(K, Range<i64>), Option<V>> for Ranges<S>
where
    K: Key,
    V: Semigroup + Value,
    S: Readable<(K, Bucket), V>,
{
    /// The sum of a key over a range; `None` when there is nothing in it.
    async fn query_each(&self, questions: &[(K, Range<i64>)]) -> Answers<Option<V>> {
        let (covers, parts) = Parts::of(questions.iter().map(|(key, range)| Ok((key, self.cover(range)?))));
        let keys: Vec<(K, Bucket)> = covers
            .iter()
            .flat_map(|(key, cover)| cover.iter().map(|bucket| ((*key).clone(), *bucket)))
            .collect();
        let mut answers = complete(keys.len(), self.inner.get_each(&keys).await).into_iter();
        let mut sum = |cover: &Vec<Bucket>| {
            // All of a question's answers are taken, also after one that failed.
            let values: Answers<Option<V>> = answers.by_ref().take(cover.len()).collect();
            let values: Vec<Option<V>> = values.into_iter().collect::<Result<_>>()?;
            Ok(V::sum(values.into_iter().flatten()))
        };
        parts.answers(covers.iter().map(|(_, cover)| sum(cover)).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::laws::{Fault, Faulty};
    use crate::{MemoryStore, MergeableExt, StoreExt};

    const LIMITS: RangeLimits = RangeLimits {
        bits: 2,
        levels: 4,
        buckets_max: 100,
    };

    fn cover(range: Range<i64>) -> Vec<(u32, i64)> {
        let buckets = Ranges::new((), LIMITS).cover(&range).unwrap();
        buckets
            .into_iter()
            .map(|bucket| (bucket.level, bucket.index))
            .collect()
    }

    #[test]
    fn the_largest_buckets_that_fit() {
        assert_eq!(cover(0..64), [(3, 0)], "when all sizes fit, the largest");
        assert_eq!(cover(0..1), [(0, 0)]);
        assert_eq!(cover(3..9), [(0, 3), (1, 1), (0, 8)]);
        assert_eq!(cover(-5..4), [(0, -5), (1, -1), (1, 0)]);
        assert_eq!(
            cover(0..192),
            [(3, 0), (3, 1), (3, 2)],
            "the largest again and again"
        );
        assert_eq!(cover(7..7), []);
        assert_eq!(cover(Range { start: 9, end: 3 }), []);
        let ranges = Ranges::new((), LIMITS);
        let error = ranges.cover(&(i64::MIN..i64::MAX)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let all = RangeLimits {
            bits: 16,
            levels: 4,
            buckets_max: 1_000_000,
        };
        assert!(
            Ranges::new((), all)
                .cover(&(i64::MAX - 2..i64::MAX))
                .unwrap()
                .len()
                == 2
        );
    }

    proptest! {
        #[test]
        fn a_cover_is_the_range_and_small(start in -3_000_i64..3_000, length in 0_i64..5_000, bits in 1_u32..5) {
            let limits = RangeLimits { bits, levels: 4, buckets_max: 10_000 };
            let ranges = Ranges::new((), limits);
            let (mut from, end) = (start, start + length);
            let cover = ranges.cover(&(start..end)).unwrap();
            for bucket in &cover {
                let size = 1_i64 << (bits * bucket.level);
                prop_assert_eq!(bucket.index * size, from, "each begins where the last one ended");
                from += size;
            }
            prop_assert_eq!(from, end);
            let largest = length as usize >> (bits * 3);
            prop_assert!(cover.len() <= largest + 2 * 3 * ((1 << bits) - 1));
        }
    }

    #[tokio::test]
    async fn sums_are_those_of_the_plain_list_in_order() {
        let ranges = MemoryStore::<(u64, Bucket), String>::new().ranges(LIMITS);
        let mut twin = BTreeMap::<(u64, i64), String>::new();
        for n in 0..300_i64 {
            let (key, number) = ((n % 2) as u64, n * 7919 % 401 - 200);
            let before = ranges.merge((key, number), format!("{n} ")).await.unwrap();
            assert_eq!(before.as_ref(), twin.get(&(key, number)));
            twin.entry((key, number)).or_default().push_str(&format!("{n} "));
        }
        // A larger bucket sums in the order of the merges; so compare what does not depend on it.
        let sorted = |text: String| {
            let mut words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
            words.sort();
            words
        };
        let questions: Vec<_> = (0..60)
            .map(|n| (n % 3, (n as i64 * 13 - 300)..(n as i64 * 29 - 500)))
            .collect();
        let answers = ranges.query_each(&questions).await;
        assert_eq!(answers.len(), questions.len());
        for ((key, range), answer) in questions.iter().zip(answers) {
            let expected: String = twin
                .iter()
                .filter(|((of, number), _)| of == key && range.contains(number))
                .map(|(_, text)| text.as_str())
                .collect();
            let answer = answer.unwrap();
            assert_eq!(answer.is_none(), expected.is_empty());
            assert_eq!(sorted(answer.unwrap_or_default()), sorted(expected));
        }
    }

    #[tokio::test]
    async fn failures_are_by_question_and_by_delta() {
        let kept = MemoryStore::<(u64, Bucket), u64>::new();
        let faults = [(0, Fault::Before), (1, Fault::After), (3, Fault::Before)];
        let ranges = Faulty::new(kept, faults).ranges(LIMITS);
        assert_eq!(
            ranges.merge((1, 5), 1).await.unwrap_err().kind(),
            ErrorKind::Retry
        );
        assert_eq!(
            ranges.merge((1, 5), 1).await.unwrap_err().kind(),
            ErrorKind::Doubt
        );
        let questions = [(1, 0..10), (1, i64::MIN..0), (1, 0..5)];
        let answers = ranges.query_each(&questions).await;
        assert_eq!(answers[0].clone().unwrap(), Some(1));
        assert_eq!(answers[1].as_ref().unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(answers[2].clone().unwrap(), None);
        assert!(ranges.query_each(&questions).await.iter().all(Result::is_err));
    }
}
