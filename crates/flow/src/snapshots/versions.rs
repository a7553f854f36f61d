//! The value of a key in all snapshots that hold it: what changed in which batch.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::memory::plus;
use crate::{BatchId, Value};

/// The changes of one key's sum, in the order of their batches.
///
/// The value before a bound is what all changes in batches before the bound come to. How changes are grouped is
/// ours: of those before the newest bound there is one for each snapshot that is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Versions<V>(Vec<(BatchId, Change<V>)>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Change<V> {
    /// Whatever was before, it is this now.
    Is(Option<V>),
    /// It is added to what was before.
    Add(V),
}

impl<V> Default for Versions<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V: Value> Change<V> {
    fn then(self, later: Self) -> Self {
        match (self, later) {
            (_, Self::Is(value)) => Self::Is(value),
            (Self::Is(before), Self::Add(delta)) => Self::Is(Some(plus(before, delta))),
            (Self::Add(before), Self::Add(delta)) => Self::Add(plus(Some(before), delta)),
        }
    }
}

impl<V: Value> Versions<V> {
    /// The value before `bound`.
    pub(super) fn before(&self, bound: BatchId) -> Option<V> {
        let changes = self.0.iter().take_while(|(batch, _)| *batch < bound);
        match changes.map(|(_, change)| change.clone()).reduce(Change::then)? {
            Change::Is(value) => value,
            Change::Add(value) => Some(value),
        }
    }

    /// What has been added in a batch.
    pub(super) fn part(&self, batch: BatchId) -> Option<V> {
        self.0.iter().find_map(|(at, change)| match change {
            Change::Add(delta) if *at == batch => Some(delta.clone()),
            _ => None,
        })
    }

    /// What has been added in each of these batches.
    pub(super) fn parts_of(&self, batches: &Range<BatchId>) -> Vec<(BatchId, V)> {
        let part = |(batch, change): &(BatchId, Change<V>)| match change {
            Change::Add(delta) if batches.contains(batch) => Some((*batch, delta.clone())),
            _ => None,
        };
        self.0.iter().filter_map(part).collect()
    }

    /// Replaces what has been added in a batch.
    pub(super) fn set_part(&mut self, batch: BatchId, delta: Option<V>) {
        self.0
            .retain(|(at, change)| *at != batch || matches!(change, Change::Is(_)));
        if let Some(delta) = delta {
            self.insert(batch, Change::Add(delta));
        }
    }

    /// The value is this from after `batch` on, and what was changed in the batch so far is gone.
    pub(super) fn set_value(&mut self, batch: BatchId, value: Option<V>) {
        self.0.retain(|(at, _)| *at != batch);
        self.insert(batch, Change::Is(value));
    }

    fn insert(&mut self, batch: BatchId, change: Change<V>) {
        let place = self.0.partition_point(|(at, _)| *at <= batch);
        self.0.insert(place, (batch, change));
    }

    /// Forgets what was changed from `bound` on.
    pub(super) fn cut(&mut self, bound: BatchId) {
        self.0.retain(|(batch, _)| *batch < bound);
    }

    /// How many changes there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Joins changes, so that one is left for each of the `kept` bounds, which rise. The values before these bounds
    /// stay; those between are gone; the changes after the last bound stay as they are.
    pub(super) fn compact(&mut self, kept: &[BatchId]) {
        let mut joined: Vec<(usize, BatchId, Change<V>)> = Vec::new();
        for (batch, change) in std::mem::take(&mut self.0) {
            let group = kept.partition_point(|bound| *bound <= batch);
            match joined.pop() {
                Some((last, _, before)) if last == group && group < kept.len() => {
                    joined.push((group, batch, before.then(change)));
                }
                last => {
                    joined.extend(last);
                    joined.push((group, batch, change));
                }
            }
        }
        // Nothing before the first bound says nothing.
        if matches!(joined.first(), Some((0, _, Change::Is(None)))) && !kept.is_empty() {
            joined.remove(0);
        }
        self.0 = joined
            .into_iter()
            .map(|(_, batch, change)| (batch, change))
            .collect();
    }

    /// What to write: nothing when no snapshot has a value.
    pub(super) fn kept(self) -> Option<Self> {
        (!self.0.is_empty()).then_some(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Part(i64, Option<String>),
        Value(i64, Option<String>),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let text = || prop::option::weighted(0.8, "[a-z]{1,2}");
        let step = prop_oneof![
            4 => (0i64..8, text()).prop_map(|(batch, text)| Step::Part(batch, text)),
            1 => (0i64..8, text()).prop_map(|(batch, text)| Step::Value(batch, text)),
        ];
        prop::collection::vec(step, 0..12)
    }

    fn versions(mut steps: Vec<Step>) -> Versions<String> {
        steps.sort_by_key(|step| match step {
            Step::Part(batch, _) | Step::Value(batch, _) => *batch,
        });
        let mut versions = Versions::default();
        for step in steps {
            match step {
                Step::Part(batch, text) => versions.set_part(BatchId(batch), text),
                Step::Value(batch, text) => versions.set_value(BatchId(batch), text),
            }
        }
        versions
    }

    proptest! {
        /// Compaction changes no kept snapshot, nor what is added afterwards, and leaves one change for each.
        #[test]
        fn compact_keeps_the_kept(steps in steps(), kept in prop::collection::btree_set(0i64..9, 1..4)) {
            let full = versions(steps);
            let kept: Vec<_> = kept.into_iter().map(BatchId).collect();
            let mut compacted = full.clone();
            compacted.compact(&kept);
            let last = *kept.last().unwrap();
            for bound in kept.iter().copied().chain((last.0..10).map(BatchId)) {
                prop_assert_eq!(compacted.before(bound), full.before(bound), "bound={}", bound);
            }
            for batch in (last.0..9).map(BatchId) {
                prop_assert_eq!(compacted.part(batch), full.part(batch));
            }
            let published = compacted.0.iter().filter(|(batch, _)| *batch < last).count();
            prop_assert!(published <= kept.len());
        }
    }

    #[test]
    fn values_in_the_order_of_batches() {
        let mut versions = Versions::default();
        versions.set_part(BatchId(2), Some("c".to_owned()));
        versions.set_part(BatchId(0), Some("a".to_owned()));
        versions.set_part(BatchId(1), Some("x".to_owned()));
        versions.set_part(BatchId(1), Some("b".to_owned()));
        assert_eq!(versions.before(BatchId(0)), None);
        assert_eq!(versions.before(BatchId(2)).unwrap(), "ab");
        assert_eq!(versions.before(BatchId(3)).unwrap(), "abc");
        versions.set_value(BatchId(1), None);
        assert_eq!(versions.before(BatchId(2)), None);
        versions.compact(&[BatchId(2)]);
        assert_eq!(versions.before(BatchId(3)).unwrap(), "c");
        versions.cut(BatchId(2));
        assert_eq!(versions.kept(), None);
    }
}
