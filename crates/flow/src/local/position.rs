//! How far each tail of a job has come, and what follows from it for the next epoch.

use store::Progress;

use super::plan::{BarrierEntry, Lowered};
use crate::framed;
use crate::{Error, ErrorKind, Result};

/// Under this name a joined sum that catches up keeps, beside its progress, where the epoch after it ends if some
/// tail below has taken it: its own progress as long as none has. See the proof.
const NEXT_END: &str = "@end";

/// The part of a job's progress that says that all sources had ended, for jobs that close batches then. Its offset is the
/// sum of all others at that end, so it rises from one end to the next.
pub(super) const END: &str = "$end";

/// Whether a part is one of ours, so that no source's may be called that.
pub(super) fn is_reserved(part: &str) -> bool {
    part == END || is_of_next_end(part)
}

fn is_of_next_end(part: &str) -> bool {
    part.strip_prefix(NEXT_END)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The progress of a sum that catches up, whose next epoch ends at `end`.
pub(super) fn catching_up(own: &Progress, end: &Progress) -> Progress {
    let mut held = without_next_end(own);
    framed::put(&mut held, NEXT_END, Some(end));
    held
}

fn without_next_end(held: &Progress) -> Progress {
    let parts = held.0.iter().filter(|(part, _)| !is_of_next_end(part));
    parts.map(|(part, offset)| (part.clone(), *offset)).collect()
}

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
    /// How far each tail was when it was read.
    own: Vec<Progress>,
    /// Where the next epoch of a sum that catches up ends.
    ends: Vec<Option<Progress>>,
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
        let own = held
            .iter()
            .map(|held| held.as_ref().map_or_else(|| start.clone(), without_next_end));
        let ends = held.iter().map(|held| framed::inner(held.as_ref()?, NEXT_END));
        let mut position = Self {
            at: Progress::default(),
            own: own.collect(),
            ends: ends.collect(),
            held,
            start,
        };
        for (tail, progress) in job.tails.iter().zip(&position.own) {
            parts.check(&tail.name, progress)?;
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
        &self.own[tail]
    }

    /// What a tail without progress has to hold before the first epoch; `None` where there is no need. A source may
    /// start elsewhere next time (at what is kept by then). A joined sum that has nothing while a tail below is past the
    /// start is new, and catches up.
    pub(super) fn first_of(&self, job: &Lowered, tail: usize) -> Option<Progress> {
        let joined = job.barriers.iter().any(|barrier| barrier.joins == Some(tail));
        if self.held[tail].is_some() || (!joined && self.start == Progress::default()) {
            return None;
        }
        let past = |below: usize| !self.start.covers(self.of(below));
        let new = joined && below(job, tail).any(past);
        Some(if new {
            catching_up(&self.start, &self.start)
        } else {
            self.start.clone()
        })
    }

    /// Notes what a tail holds now.
    pub(super) fn hold(&mut self, tail: usize, held: Progress) {
        self.ends[tail] = framed::inner(&held, NEXT_END);
        self.held[tail] = Some(held);
    }

    /// Where the next epoch must end at the latest: the least progress that some tail has, or will have been given by
    /// an epoch that had begun.
    pub(super) fn until(&self) -> Option<Progress> {
        let ahead =
            (self.own.iter().chain(self.ends.iter().flatten())).filter(|progress| !self.at.covers(progress));
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
            if let Some(end) = &self.ends[sum] {
                // What the tails ahead have is none of this sum's, but for the epoch that had begun.
                return lacks(sum) && !self.at.covers(end);
            }
            let (lacking, having): (Vec<_>, Vec<_>) = below(job, sum).partition(|tail| lacks(*tail));
            let needed = !lacking.is_empty() || barrier.tail == Some(sum);
            lacks(sum) && needed && !having.is_empty()
        };
        let mut barriers = job.barriers.iter();
        barriers
            .any(|barrier| barrier.joins.is_some_and(|sum| split(barrier, sum)))
            .then_some(until)
    }

    /// Whether a sum that catches up has to note the end of the epoch up to `at` before any tail takes it: some tail
    /// below takes it, and others that have it have it from before the sum was there.
    pub(super) fn notes_end(&self, job: &Lowered, sum: usize) -> bool {
        let mut muted = below(job, sum).map(|tail| self.is_muted(tail));
        let first = muted.next();
        self.ends[sum].is_some() && !self.is_muted(sum) && muted.any(|muted| Some(muted) != first)
    }

    /// What a tail holds after the epoch up to `at`.
    pub(super) fn after(&self, job: &Lowered, tail: usize) -> Progress {
        let behind = |below: usize| !self.at.covers(self.of(below));
        if self.ends[tail].is_some() && below(job, tail).any(behind) {
            catching_up(&self.at, &self.at)
        } else {
            self.at.clone()
        }
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
        self.own.contains(progress)
    }

    /// Whether a tail has what an epoch up to `at` would give it.
    pub(super) fn is_muted(&self, tail: usize) -> bool {
        self.of(tail).covers(&self.at)
    }
}

/// The tails that read from a sum.
fn below(job: &Lowered, sum: usize) -> impl Iterator<Item = usize> + '_ {
    let tails = job.tails.iter().enumerate();
    tails
        .filter(move |(_, tail)| tail.above.contains(&sum))
        .map(|(tail, _)| tail)
}
