//! How far each tail of a job has come, and what follows from it for the next epoch.

use store::Progress;

use super::plan::{BarrierEntry, Lowered};
use crate::{Error, ErrorKind, Result};

/// The part of a job's progress that says that all sources had ended, for jobs that close batches then. Its offset is the
/// sum of all others at that end, so it rises from one end to the next.
pub(super) const END: &str = "$end";

/// The names of a job's sources, which are the first half of the parts in its progress: `source/part`. A job
/// with one source uses the bare parts.
pub(super) struct Parts(Vec<String>);

impl Parts {
    /// `Invalid` if two sources have one name, or a name has a slash.
    pub(super) fn of(job: &Lowered) -> Result<Self> {
        let name =
            |(i, name): (usize, Option<&str>)| name.map_or_else(|| format!("source-{i}"), str::to_owned);
        let names = job.sources.iter().map(|source| source.name.as_deref());
        let names: Vec<String> = names.enumerate().map(name).collect();
        if names.len() == 1 {
            return Ok(Self(vec![String::new()]));
        }
        for (i, name) in names.iter().enumerate() {
            if name.contains('/') || names[..i].contains(name) {
                let text = format!("each source needs a name of its own, without a slash name={name:?}");
                return Err(Error::new(ErrorKind::Invalid, text));
            }
        }
        Ok(Self(names.into_iter().map(|name| name + "/").collect()))
    }

    pub(super) fn of_source(&self, source: usize, progress: &Progress) -> Progress {
        let own =
            |(part, offset): (&String, &u64)| Some((part.strip_prefix(&self.0[source])?.to_owned(), *offset));
        progress
            .0
            .iter()
            .filter(|(part, _)| *part != END)
            .filter_map(own)
            .collect()
    }

    /// The source that a part is of; `None` for the end.
    pub(super) fn source_of(&self, part: &str) -> Option<usize> {
        let of = |prefix: &String| part.starts_with(prefix.as_str());
        (part != END).then(|| self.0.iter().position(of)).flatten()
    }

    pub(super) fn part(&self, source: usize, part: &str) -> String {
        format!("{}{part}", self.0[source])
    }

    fn check(&self, tail: &str, progress: &Progress) -> Result<()> {
        let known = |part: &&String| *part == END || self.source_of(part).is_some();
        match progress.0.keys().find(|part| !known(part)) {
            None => Ok(()),
            Some(part) => Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "progress is of a source that the job does not have: was it renamed? tail={tail} part={part:?}"
                ),
            )),
        }
    }
}

/// The progress of all tails, and of the job: the smallest of them.
pub(super) struct Position {
    /// The sources have been read up to here.
    pub(super) at: Progress,
    /// What each tail holds, as it was read; `None` before its first commit.
    pub(super) held: Vec<Option<Progress>>,
    start: Progress,
}

impl Position {
    /// The position after tails have been read. `Invalid` if the tails' progress does not form a chain, or a
    /// tail is behind a sum that it reads from.
    pub(super) fn new(
        job: &Lowered,
        parts: &Parts,
        held: Vec<Option<Progress>>,
        start: Progress,
    ) -> Result<Self> {
        let mut position = Self {
            at: Progress::default(),
            held,
            start,
        };
        for (tail, progress) in job.tails.iter().zip(&position.held) {
            progress
                .iter()
                .try_for_each(|progress| parts.check(&tail.name, progress))?;
        }
        let mut order: Vec<usize> = (0..job.tails.len()).collect();
        order.sort_by_key(|tail| {
            position
                .of(*tail)
                .0
                .values()
                .map(|offset| u128::from(*offset))
                .sum::<u128>()
        });
        let wrong = |text: &str, a: usize, b: usize| {
            let (tail, other) = (&job.tails[a].name, &job.tails[b].name);
            let (has, other_has) = (position.of(a), position.of(b));
            let text = format!("{text} tail={tail} progress={has} other={other} other_progress={other_has}");
            Err(Error::new(ErrorKind::Invalid, text))
        };
        for pair in order.windows(2) {
            if !position.of(pair[1]).covers(position.of(pair[0])) {
                return wrong(
                    "the tails' progress is not of one job: start it with empty tails",
                    pair[1],
                    pair[0],
                );
            }
        }
        for (i, tail) in job.tails.iter().enumerate() {
            if let Some(sum) = tail
                .above
                .iter()
                .find(|sum| !position.of(i).covers(position.of(**sum)))
            {
                return wrong(
                    "a tail is behind a sum that it reads from, whose old values are gone: start both empty",
                    i,
                    *sum,
                );
            }
        }
        position.at = order
            .first()
            .map(|tail| position.of(*tail).clone())
            .unwrap_or_default();
        Ok(position)
    }

    /// Where a tail goes on.
    pub(super) fn of(&self, tail: usize) -> &Progress {
        self.held[tail].as_ref().unwrap_or(&self.start)
    }

    /// Where the next epoch must end at the latest: the progress of the least tail that is ahead.
    pub(super) fn until(&self) -> Option<Progress> {
        let ahead = (0..self.held.len())
            .map(|tail| self.of(tail))
            .filter(|progress| !self.at.covers(progress));
        ahead
            .reduce(|least, other| if least.covers(other) { other } else { least })
            .cloned()
    }

    /// Where the next epoch must end and not before: it has been through a join with a sum, some tail below that has
    /// taken what came out, and another needs it yet. What a join finds depends on where epochs end.
    pub(super) fn whole(&self, job: &Lowered) -> Option<Progress> {
        let until = self.until()?;
        let lacks = |tail: usize| !self.of(tail).covers(&until);
        let split = |barrier: &BarrierEntry, sum: usize| {
            let tails = job.tails.iter().enumerate();
            let below = tails.filter(|(_, tail)| tail.above.contains(&sum));
            let (lacking, having): (Vec<_>, Vec<_>) = below.partition(|(tail, _)| lacks(*tail));
            let needed = !lacking.is_empty() || barrier.tail == Some(sum);
            lacks(sum) && needed && !having.is_empty()
        };
        let mut barriers = job.barriers.iter();
        barriers
            .any(|barrier| barrier.joins.is_some_and(|sum| split(barrier, sum)))
            .then_some(until)
    }

    /// Moves on over the end of all sources; `false` if that is behind it already. To be called when there is no more to
    /// read, or no more before a tail that is ahead.
    pub(super) fn end(&mut self, job: &Lowered) -> bool {
        let offsets = self.at.0.iter().filter(|(part, _)| *part != END);
        let sum = offsets.fold(0u64, |sum, (_, offset)| sum.saturating_add(*offset));
        let end = match self.until() {
            Some(until) => until.of(END),
            None if job.closes => sum,
            None => return false,
        };
        let moves = end > self.at.of(END);
        if moves {
            self.at.advance(END, end);
        }
        moves
    }

    /// Whether some tail is there.
    pub(super) fn is_held(&self, progress: &Progress) -> bool {
        (0..self.held.len()).any(|tail| self.of(tail) == progress)
    }

    /// Whether a tail has what an epoch up to `at` would give it.
    pub(super) fn is_muted(&self, tail: usize) -> bool {
        self.of(tail).covers(&self.at)
    }
}
