//! Sums that can still be looked at as they were a while ago.

use algebra::Semigroup;
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// A sum of deltas with times: one value of all that are `KEEP` milliseconds or more older than the newest, and those
/// after them one by one, joined if of one time. So there are at most `KEEP` of these.
///
/// Laws: associative and commutative if the values are; if they are only associative, so is this as long as deltas come
/// in order of time. What it holds is a function of the deltas alone, not of how they were grouped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recent<V, const KEEP: u32> {
    /// The sum of what is older.
    settled: Option<V>,
    /// In order of time, each time once; the newest is always here.
    deltas: Vec<(Timestamp, V)>,
}

impl<V, const KEEP: u32> Recent<V, KEEP> {
    /// One delta. `KEEP` must be one at least, or it does not compile.
    pub fn new(time: Timestamp, delta: V) -> Self {
        const { assert!(KEEP > 0, "KEEP must be one millisecond at least") };
        Self {
            settled: None,
            deltas: vec![(time, delta)],
        }
    }
}

impl<V: Semigroup + Clone, const KEEP: u32> Recent<V, KEEP> {
    /// The sum of the deltas with times before `time`, and of all that have settled.
    pub fn before(&self, time: Timestamp) -> Option<V> {
        let earlier = self.deltas.iter().take_while(|(at, _)| *at < time);
        earlier.fold(self.settled.clone(), |sum, (_, delta)| {
            Some(joined(sum, delta.clone()))
        })
    }

    /// The sum of all.
    pub fn now(&self) -> Option<V> {
        let deltas = self.deltas.iter();
        deltas.fold(self.settled.clone(), |sum, (_, delta)| {
            Some(joined(sum, delta.clone()))
        })
    }
}

impl<V: Semigroup, const KEEP: u32> Recent<V, KEEP> {
    /// The latest time that has settled.
    fn edge(&self) -> Timestamp {
        let newest = self.deltas.last().map_or(i64::MIN, |(time, _)| time.0);
        Timestamp(newest.saturating_sub(i64::from(KEEP)))
    }

    fn settle(&mut self, edge: Timestamp) {
        let count = self.deltas.partition_point(|(time, _)| *time <= edge);
        for (_, delta) in self.deltas.drain(..count) {
            self.settled = Some(joined(self.settled.take(), delta));
        }
    }
}

impl<V: Semigroup, const KEEP: u32> Semigroup for Recent<V, KEEP> {
    fn plus(&mut self, right: Self) {
        let right_edge = right.edge();
        if let Some(settled) = right.settled {
            // In order of time all of this one is older than what has settled in the right one.
            self.settle(right_edge);
            self.settled = Some(joined(self.settled.take(), settled));
        }
        for (time, delta) in right.deltas {
            match self.deltas.binary_search_by_key(&time, |(time, _)| *time) {
                Ok(place) => self.deltas[place].1.plus(delta),
                Err(place) => self.deltas.insert(place, (time, delta)),
            }
        }
        self.settle(self.edge());
    }
}

fn joined<V: Semigroup>(sum: Option<V>, delta: V) -> V {
    match sum {
        None => delta,
        Some(mut sum) => {
            sum.plus(delta);
            sum
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn recent<V>((time, delta): (i64, V)) -> Recent<V, 5> {
        Recent::new(Timestamp(time), delta)
    }

    proptest! {
        /// However the deltas are grouped, and in whichever order they come.
        #[test]
        fn is_its_twin(deltas in prop::collection::vec((-9i64..20, -9i64..9), 1..30), cut in 0usize..30, until in -12i64..25) {
            let sum = |deltas: &[(i64, i64)]| Recent::sum(deltas.iter().map(|delta| recent(*delta)));
            let (left, right) = deltas.split_at(cut.min(deltas.len()));
            let got = Recent::sum([sum(left), sum(right)].into_iter().flatten()).unwrap();
            prop_assert_eq!(Some(got.clone()), sum(&deltas));
            let edge = deltas.iter().map(|(time, _)| time - 5).max().unwrap();
            let mut by_time = BTreeMap::<i64, i64>::new();
            for (time, delta) in &deltas {
                *by_time.entry(*time).or_default() += delta;
            }
            let seen = by_time.range(..until.max(edge + 1));
            let twin = seen.map(|(_, delta)| *delta).reduce(|sum, delta| sum + delta);
            prop_assert_eq!(got.before(Timestamp(until)), twin);
            prop_assert!(got.deltas.len() <= 5);
        }

        /// Values that do not commute keep the order of time, if they come in it.
        #[test]
        fn keeps_order(steps in prop::collection::vec(0i64..4, 1..30), cuts in (0usize..30, 0usize..30)) {
            let mut time = 0;
            let deltas: Vec<(i64, String)> = steps.iter().map(|step| {
                time += step;
                (time, format!("{time} "))
            }).collect();
            let first = cuts.0.min(deltas.len());
            let second = cuts.1.clamp(first, deltas.len());
            let sum = |deltas: &[(i64, String)]| Recent::sum(deltas.iter().cloned().map(recent));
            let (a, b, c) = (sum(&deltas[..first]), sum(&deltas[first..second]), sum(&deltas[second..]));
            let bc = Recent::sum([b, c].into_iter().flatten());
            let got = Recent::sum([a, bc].into_iter().flatten()).unwrap();
            prop_assert_eq!(Some(got.clone()), sum(&deltas));
            let twin: String = deltas.iter().map(|(_, text)| text.as_str()).collect();
            prop_assert_eq!(got.now(), Some(twin));
        }
    }

    #[test]
    fn the_ends_of_time() {
        let mut all = recent((i64::MIN, 1));
        all.plus(recent((i64::MAX, 2)));
        assert_eq!((all.before(Timestamp(0)), all.now()), (Some(1), Some(3)));
    }
}
