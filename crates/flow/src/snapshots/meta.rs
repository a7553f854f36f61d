//! What a batch store knows of itself: its snapshots, and the build that is under way.

use std::ops::Range;

use store::{Error, ErrorKind, Progress, Result};

use crate::BatchId;
use crate::framed::{batch_at, batcher_in, job_in, offset_of, put_batcher, put_job};

/// How far a build is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// A job adds to it.
    Summing,
    /// The job is done, old keys are removed.
    Pruning,
    /// It is taken back.
    Abandoning,
    /// A given first snapshot is written.
    Loading,
    /// All of the store is dropped, for good.
    Dropping,
}

const STAGES: [Stage; 5] = [
    Stage::Summing,
    Stage::Pruning,
    Stage::Abandoning,
    Stage::Loading,
    Stage::Dropping,
];

/// All of it, kept as the store's progress and thus changed in one commit with values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Meta {
    /// Counts the changes of all but `job`, so that no progress comes twice and the fence of the store holds.
    pub(super) step: u64,
    /// The bounds of the snapshots there are, rising.
    pub(super) kept: Vec<BatchId>,
    /// Where the build under way started, or the last one.
    pub(super) from: BatchId,
    /// Where the build under way ends, and how far it is.
    pub(super) build: Option<(BatchId, Stage)>,
    /// The progress of the job of the build under way, or the last one.
    pub(super) job: Option<Progress>,
    /// What cuts the batches, as text.
    pub(super) batcher: Option<String>,
}

/// What is to be done for some batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Begin.
    Begin,
    /// It has been begun.
    Resume(Stage),
    /// It is there.
    Done,
}

impl Meta {
    /// Reads it from what a store holds.
    ///
    /// # Errors
    /// `Invalid` when the progress is that of something else.
    pub(super) fn of(held: Option<&Progress>) -> Result<Self> {
        let Some(held) = held else {
            return Ok(Self::read(&Progress::default()));
        };
        if held.0.contains_key("step") {
            return Ok(Self::read(held));
        }
        let text =
            "a store of snapshots is of its own, and a job has written to this one: give an empty store";
        Err(Error::new(ErrorKind::Invalid, format!("{text} progress={held}")))
    }

    fn read(held: &Progress) -> Self {
        let batch = |part: &str| held.0.get(part).map(|offset| batch_at(*offset));
        let bounds = held.0.iter().filter(|(part, _)| part.starts_with("snapshot/"));
        let mut kept: Vec<_> = bounds.map(|(_, offset)| batch_at(*offset)).collect();
        kept.sort_unstable();
        let stage = STAGES.get(held.of("stage") as usize).copied();
        Self {
            step: held.of("step"),
            kept,
            from: batch("from").unwrap_or(BatchId(i64::MIN)),
            build: batch("build").zip(stage),
            job: job_in(held),
            batcher: batcher_in(held),
        }
    }

    pub(super) fn progress(&self) -> Progress {
        let mut held = Progress::from_iter([("step", self.step), ("from", offset_of(self.from))]);
        for (i, bound) in self.kept.iter().enumerate() {
            held.advance(&format!("snapshot/{i}"), offset_of(*bound));
        }
        if let Some((end, stage)) = self.build {
            let stage = STAGES.iter().position(|known| *known == stage).unwrap_or(0);
            held.advance("build", offset_of(end));
            held.advance("stage", stage as u64);
        }
        put_job(&mut held, self.job.as_ref());
        put_batcher(&mut held, self.batcher.as_deref());
        held
    }

    /// The end of the newest snapshot.
    pub(super) fn bound(&self) -> Option<BatchId> {
        self.kept.last().copied()
    }

    /// What is to be done to build `batches`.
    pub(super) fn due(&self, batches: &Range<BatchId>) -> Result<Due> {
        let asked = format!("batches={}..{}", batches.start.0, batches.end.0);
        let invalid = |text: String| Err(Error::new(ErrorKind::Invalid, text));
        if batches.is_empty() {
            return invalid(format!("a snapshot is built from one batch at least {asked}"));
        }
        let Some(bound) = self.bound() else {
            let text = "there is no first snapshot yet: begin with an empty or a given one";
            return Err(Error::new(ErrorKind::NotFound, format!("{text} {asked}")));
        };
        match self.build {
            Some((_, Stage::Abandoning)) => invalid(format!(
                "a build is being taken back: call `abandon` again to its end {asked}"
            )),
            Some((end, stage)) if (self.from..end) == *batches => Ok(Due::Resume(stage)),
            Some((end, _)) => invalid(format!(
                "another build is under way: finish it, or take it back with `abandon` {asked} build={}..{}",
                self.from.0, end.0
            )),
            None if (self.from..bound) == *batches => Ok(Due::Done),
            None if batches.start == bound => Ok(Due::Begin),
            None => invalid(format!(
                "snapshots have no holes and do not overlap: build from the end of the newest one {asked} \
                 bound={}",
                bound.0
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn progress_holds_all_of_it(
            step: u64,
            kept in prop::collection::btree_set(any::<i64>(), 0..12),
            from: i64,
            build in prop::option::of((any::<i64>(), 0usize..5)),
            job in prop::option::of(prop::collection::btree_map("[a-z/]{0,3}", any::<u64>(), 0..3)),
            batcher in prop::option::of("[a-z /]{0,9}"),
        ) {
            let meta = Meta {
                step,
                kept: kept.into_iter().map(BatchId).collect(),
                from: BatchId(from),
                build: build.map(|(end, stage)| (BatchId(end), STAGES[stage])),
                job: job.map(Progress),
                batcher,
            };
            prop_assert_eq!(Meta::of(Some(&meta.progress())).unwrap(), meta);
        }
    }
}
