//! How far event time has come: what an epoch says of it, and what a closing keeps of it beside its progress.

use std::collections::BTreeMap;

use store::Progress;

use crate::closing::{Times, risen, rising};
use crate::framed::{job_in, put_job};
use crate::{Error, ErrorKind, Result, Timestamp};

/// What an epoch says of event time.
#[derive(Clone, Debug, Default)]
pub(super) struct EpochTimes {
    /// All parts that the progress after the epoch names.
    pub(super) parts: Vec<PartTime>,
    /// Whether this is the epoch without elements that the end of all sources makes.
    pub(super) ended: bool,
}

/// One part of a source in an epoch.
#[derive(Clone, Debug)]
pub(super) struct PartTime {
    pub(super) source: usize,
    /// As in the job's progress.
    pub(super) part: String,
    /// The largest time that it gave in this epoch.
    pub(super) newest: Option<Timestamp>,
}

/// What a closing knows of time after an epoch. It stands in the progress of its store, so that it is committed with the
/// keys that are open and the job's progress, in one step.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Facts {
    /// All batches that end by then are closed. Never goes back, also if the closing is given other times.
    pub(super) closed: Timestamp,
    /// The elements that came after their batch was closed.
    pub(super) late: u64,
    /// The largest time that each part has given.
    newest: BTreeMap<String, Timestamp>,
}

const CLOSED: &str = "closed";
const LATE: &str = "late";
const NEWEST_PARTS: &str = "newest/";

impl Default for Facts {
    fn default() -> Self {
        Self {
            closed: Timestamp(i64::MIN),
            late: 0,
            newest: BTreeMap::new(),
        }
    }
}

impl Facts {
    /// The facts and the job's progress in the progress of a closing's store. `Invalid` if something else is there.
    pub(super) fn of(held: Option<Progress>) -> Result<(Self, Option<Progress>)> {
        let Some(held) = held else {
            return Ok((Self::default(), None));
        };
        let (Some(job), Some(closed)) = (job_in(&held), held.0.get(CLOSED)) else {
            let text = format!(
                "the store of a closing is of its own, and a job has written to this one directly: give an empty store \
                 progress={held}"
            );
            return Err(Error::new(ErrorKind::Invalid, text));
        };
        let newest = held.0.iter().filter_map(|(part, time)| {
            let part = part.strip_prefix(NEWEST_PARTS)?;
            Some((part.to_owned(), risen(*time)))
        });
        let facts = Self {
            closed: risen(*closed),
            late: held.of(LATE),
            newest: newest.collect(),
        };
        Ok((facts, Some(job)))
    }

    /// The progress of the store that these facts stand in beside `job`.
    pub(super) fn beside(&self, job: &Progress) -> Progress {
        let mut held = Progress::from_iter([(CLOSED, rising(self.closed)), (LATE, self.late)]);
        for (part, time) in &self.newest {
            held.advance(&format!("{NEWEST_PARTS}{part}"), rising(*time));
        }
        put_job(&mut held, Some(job));
        held
    }

    /// Takes in what an epoch says of `sources`; gives the watermark after it, which may be less than it was.
    pub(super) fn advance(&mut self, epoch: &EpochTimes, sources: &[usize], times: &Times) -> Timestamp {
        let ours = || epoch.parts.iter().filter(|part| sources.contains(&part.source));
        for part in ours() {
            if let Some(newest) = part.newest {
                let time = self.newest.entry(part.part.clone()).or_insert(newest);
                *time = newest.max(*time);
            }
        }
        let begun = |source: &usize| epoch.parts.iter().any(|part| part.source == *source);
        let missing = sources.iter().filter(|source| !begun(source)).map(|_| None);
        let parts = ours().map(|part| self.newest.get(&part.part).copied());
        watermark(parts.chain(missing), times)
    }
}

/// The watermark for parts that have given these largest times, `None` for nothing yet.
fn watermark(newest: impl Iterator<Item = Option<Timestamp>>, times: &Times) -> Timestamp {
    let (mut least, mut most) = (i64::MAX, i64::MIN);
    for time in newest {
        let time = time.map_or(i64::MIN, |time| time.0);
        (least, most) = (least.min(time), most.max(time));
    }
    let held = least.max(most.saturating_sub(times.idleness));
    Timestamp(held.saturating_sub(times.out_of_orderness))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn times(out_of_orderness: i64, idleness: i64) -> Times {
        Times {
            out_of_orderness,
            lateness: 0,
            idleness,
        }
    }

    fn at(newest: &[Option<i64>], times: &Times) -> i64 {
        watermark(newest.iter().map(|time| time.map(Timestamp)), times).0
    }

    #[test]
    fn the_least_part_that_counts() {
        assert_eq!(at(&[Some(30), Some(20)], &times(5, 100)), 15);
        // A part that has given nothing holds the watermark, until it is idle.
        assert_eq!(at(&[Some(30), None], &times(5, 100)), 30 - 100 - 5);
        assert_eq!(at(&[Some(300), Some(20)], &times(5, 100)), 300 - 100 - 5);
        assert_eq!(at(&[None, None], &times(5, 100)), i64::MIN);
        assert_eq!(at(&[Some(i64::MAX), Some(i64::MAX)], &times(0, 100)), i64::MAX);
        assert_eq!(at(&[Some(-7), None], &times(i64::MAX, i64::MAX)), i64::MIN);
    }

    fn epoch(parts: &[(usize, &str, Option<i64>)]) -> EpochTimes {
        let part = |(source, part, newest): &(usize, &str, Option<i64>)| PartTime {
            source: *source,
            part: (*part).to_owned(),
            newest: newest.map(Timestamp),
        };
        EpochTimes {
            parts: parts.iter().map(part).collect(),
            ended: false,
        }
    }

    #[test]
    fn parts_of_its_own_sources_count_and_sources_without_parts_do() {
        let (mut facts, times) = (Facts::default(), times(0, 1000));
        let mut next = |parts: &[_], sources: &[usize]| facts.advance(&epoch(parts), sources, &times).0;
        assert_eq!(next(&[(0, "a", Some(50))], &[0, 1]), 50 - 1000);
        assert_eq!(next(&[(0, "a", None), (1, "b", Some(70))], &[0, 1]), 50);
        assert_eq!(
            next(&[(0, "a", Some(40)), (1, "b", None), (2, "c", Some(1))], &[0, 1]),
            50
        );
        // A new part may bring it back; what is closed stays so.
        assert_eq!(
            next(&[(0, "a", None), (0, "d", Some(9)), (1, "b", None)], &[0, 1]),
            9
        );
    }

    proptest! {
        #[test]
        fn facts_stand_beside_the_progress(
            closed: i64,
            late: u64,
            newest in prop::collection::btree_map("[a-z/$]{0,4}", any::<i64>(), 0..5),
            job in prop::collection::btree_map("[a-z/$]{0,4}", any::<u64>(), 0..5),
        ) {
            let facts = Facts {
                closed: Timestamp(closed),
                late,
                newest: newest.into_iter().map(|(part, time)| (part, Timestamp(time))).collect(),
            };
            let job = Progress(job);
            let held = facts.beside(&job);
            prop_assert_eq!(Facts::of(Some(held)).unwrap(), (facts, Some(job)));
        }
    }

    #[test]
    fn a_store_of_another_job_is_refused() {
        let error = Facts::of(Some(Progress::from_iter([("0", 7)]))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(
            error.to_string().contains("give an empty store progress=0:7"),
            "{error}"
        );
    }
}
