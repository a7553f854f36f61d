//! The loop of a job: read, put through, commit; after an error look where the tails are and go on from there.
//!
//! It has two halves that overlap: while an epoch steps through its barriers and commits, the next one is read and put
//! through the functions before the first barriers, which touch no store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use store::Progress;
use tokio::sync::watch;

use super::job::{ClosingStatus, Flows, JobOptions, JobState, JobStatus};
use super::plan::{Lowered, TailEntry};
use super::position::{Parts, Position, catching_up, is_reserved};
use super::slots::{Held, Slots};
use super::watermark::{EpochTimes, PartTime};
use super::work::{self, Work};
use super::workers::Threads;
use crate::counter::{add_all, counting_while};
use crate::{Counts, Error, ErrorKind, Result, Timestamp};

pub(super) struct Engine {
    pub(super) job: Arc<Lowered>,
    pub(super) parts: Parts,
    pub(super) options: JobOptions,
    pub(super) status: Arc<Mutex<JobStatus>>,
    /// True, or closed, when the job is to end after its current epoch.
    pub(super) stop: watch::Receiver<bool>,
}

/// What a read gives.
enum Input {
    Read(Vec<Taken>),
    Ended,
    Stopped,
}

/// Elements of one part, with what their order in the epoch goes by: it is the same however often sources were asked.
struct Taken {
    source: usize,
    part: String,
    work: Box<dyn Work>,
}

/// What the first half gives.
enum Front {
    Epoch(Box<Epoch>),
    Ended,
    Stopped,
}

/// An epoch of which all functions have run, until all of its tails have it.
struct Unfinished {
    at: Progress,
    elements: u64,
    counts: Counts,
    flows: Flows,
}

/// An epoch between the halves.
struct Epoch {
    /// What has gathered before the first barriers.
    slots: Slots,
    elements: u64,
    /// What its sources gave.
    flows: Flows,
    /// The progress after it.
    at: Progress,
    /// What it says of event time, if the job closes batches.
    times: EpochTimes,
    /// For each tail whether it has this epoch already.
    muted: Vec<bool>,
    /// The sums that note the end of this epoch before it is committed.
    noting: Vec<usize>,
    /// What each tail holds after it.
    after: Vec<Progress>,
}

/// Where the first half is.
struct Reading {
    position: Position,
    ended: Vec<bool>,
    stop: watch::Receiver<bool>,
}

impl Engine {
    /// Runs until the sources have ended, the job is stopped or an error cannot be mended by trying again.
    pub(super) async fn run(mut self) -> Result<()> {
        let (mut failures, mut conflicts, mut unfinished) = (0, 0, None);
        loop {
            let epochs = self.status(|status| status.epochs);
            let error = match self.attempt(&mut unfinished).await {
                Ok(state) => {
                    self.status(|status| status.state = state);
                    return Ok(());
                }
                Err(error) => error,
            };
            if self.status(|status| status.epochs) > epochs {
                (failures, conflicts) = (0, 0);
            }
            failures += 1;
            match error.kind() {
                ErrorKind::Retry => {}
                ErrorKind::Conflict if conflicts < self.options.conflicts_max => conflicts += 1,
                ErrorKind::Conflict => {
                    let text =
                        format!("another run of the job writes to its tails: stop one of them error={error}");
                    return Err(Error::new(ErrorKind::Conflict, text).with_source(error));
                }
                _ => return Err(error),
            }
            let wait = self.options.wait(failures);
            tracing::warn!(%error, ?wait, "the job tries again");
            self.status(|status| {
                status.state = JobState::Waiting;
                status.last_error = Some(error.to_string());
            });
            if self.stopped_within(wait).await {
                self.status(|status| status.state = JobState::Stopped);
                return Ok(());
            }
        }
    }

    /// Runs from where the tails are until something ends it.
    async fn attempt(&self, unfinished: &mut Option<Unfinished>) -> Result<JobState> {
        let position = self.position().await?;
        self.reconcile(unfinished, &position);
        let mut held = position.held.clone();
        self.status(|status| {
            status.state = JobState::Running;
            status.progress = position.at.clone();
            status.closings = self.closings();
        });
        let mut reading = Reading {
            position,
            ended: vec![false; self.job.sources.len()],
            stop: self.stop.clone(),
        };
        let mut epoch = None;
        loop {
            let back = self.back(epoch.take(), &mut held, unfinished);
            // A failure of the second half ends the first at once; one of the first lets the second come to its end.
            let front = self.front(&mut reading).map(Ok);
            let (front, ()) = futures::try_join!(front, back)?;
            match front? {
                Front::Epoch(next) => epoch = Some(next),
                Front::Ended => return Ok(JobState::Ended),
                Front::Stopped => return Ok(JobState::Stopped),
            }
        }
    }

    /// After an error: what has become of the epoch that was being committed. If some tails have it, it is replayed up
    /// to there, but not all of its functions; so what was counted before holds, and what the replay counts does not.
    fn reconcile(&self, unfinished: &mut Option<Unfinished>, position: &Position) {
        match unfinished {
            Some(epoch) if position.at == epoch.at => self.count(unfinished.take()),
            Some(epoch) if position.is_held(&epoch.at) => {}
            _ => *unfinished = None,
        }
    }

    fn count(&self, finished: Option<Unfinished>) {
        if let Some(epoch) = finished {
            self.status(|status| {
                status.elements += epoch.elements;
                add_all(&mut status.counters, &epoch.counts);
                for (node, more) in epoch.flows {
                    let elements = status.nodes.entry(node).or_default();
                    elements.taken += more.taken;
                    elements.given += more.given;
                }
            });
        }
    }

    /// Asks all tails how far they are; notes the start in those that have none.
    async fn position(&self) -> Result<Position> {
        let (job, mut held) = (&self.job, Vec::new());
        // From the sources to the leaves: a leaf only grows meanwhile, so it is not seen behind what feeds it.
        for tail in &job.tails {
            held.push(tail.tail.progress().await?);
        }
        let mut start = Progress::default();
        if held.iter().any(Option::is_none) {
            for (i, source) in job.sources.iter().enumerate() {
                for (part, offset) in source.source.start().await?.0 {
                    start.advance(&self.parts.part(i, &part), offset);
                }
            }
        }
        let mut position = Position::new(job, &self.parts, held, start)?;
        for (i, tail) in job.tails.iter().enumerate() {
            if let Some(first) = position.first_of(job, i) {
                tail.tail.commit(tail.tail.nothing(), None, &first).await?;
                position.hold(i, first);
            }
        }
        Ok(position)
    }

    /// The first half: waits for elements and puts them through to the first barriers.
    async fn front(&self, reading: &mut Reading) -> Result<Front> {
        loop {
            // Sources, stores and sinks in memory never wait: other tasks of this thread are to run too.
            tokio::task::yield_now().await;
            let whole = reading.position.whole(&self.job);
            let mut taken = Vec::new();
            loop {
                match self.read(reading).await? {
                    Input::Read(more) => taken.extend(more),
                    // What was taken is an epoch of its own, before the end, as it was at first.
                    Input::Ended if !taken.is_empty() => break,
                    Input::Ended if reading.position.end(&self.job) => {
                        let times = EpochTimes {
                            ended: true,
                            ..self.times(&reading.position.at, &[])
                        };
                        let slots = Slots::fresh(&self.job.slots);
                        return Ok(Front::Epoch(self.epoch(
                            &reading.position,
                            slots,
                            Flows::new(),
                            times,
                        )));
                    }
                    Input::Ended => return Ok(Front::Ended),
                    Input::Stopped => return Ok(Front::Stopped),
                }
                if whole
                    .as_ref()
                    .is_none_or(|whole| reading.position.at.covers(whole))
                {
                    break;
                }
            }
            taken.sort_by(|a, b| (a.source, &a.part).cmp(&(b.source, &b.part)));
            let times = self.times(&reading.position.at, &taken);
            if taken.iter().all(|taken| taken.work.items() == 0) {
                continue;
            }
            let (slots, flows) = self.functions(taken).await?;
            return Ok(Front::Epoch(self.epoch(&reading.position, slots, flows, times)));
        }
    }

    /// An epoch up to the position.
    fn epoch(&self, position: &Position, slots: Slots, flows: Flows, times: EpochTimes) -> Box<Epoch> {
        let tails = 0..self.job.tails.len();
        let after = tails.clone().map(|tail| position.after(&self.job, tail));
        Box::new(Epoch {
            slots,
            elements: flows.values().map(|flow| flow.given).sum(),
            flows,
            at: position.at.clone(),
            times,
            muted: tails.clone().map(|tail| position.is_muted(tail)).collect(),
            after: after.collect(),
            noting: tails.filter(|sum| position.notes_end(&self.job, *sum)).collect(),
        })
    }

    /// Puts what sources gave through; those with as many threads all at once.
    async fn functions(&self, taken: Vec<Taken>) -> Result<(Slots, Flows)> {
        let (mut slots, mut flows) = (Slots::fresh(&self.job.slots), Flows::new());
        let mut taken = taken.into_iter().peekable();
        let options = |taken: &Taken| &self.job.sources[taken.source].options;
        while let Some(first) = taken.next() {
            let parallelism = options(&first).parallelism;
            let mut alike = vec![first];
            while let Some(next) = taken.next_if(|next| options(next).parallelism == parallelism) {
                alike.push(next);
            }
            for piece in &alike {
                let flow = flows.entry(self.job.sources[piece.source].node).or_default();
                flow.given += piece.work.items() as u64;
            }
            let work = alike.into_iter().map(|piece| piece.work).collect();
            slots = work::run(&self.job, work, slots, self.threads(parallelism)).await?;
        }
        Ok((slots, flows))
    }

    /// What the elements taken say of event time; nothing if nobody asks.
    fn times(&self, at: &Progress, taken: &[Taken]) -> EpochTimes {
        if !self.job.closes {
            return EpochTimes::default();
        }
        let mut newest = BTreeMap::<String, Option<Timestamp>>::new();
        for taken in taken {
            let part = newest
                .entry(self.parts.part(taken.source, &taken.part))
                .or_default();
            *part = taken.work.newest().max(*part);
        }
        let part = |part: &String| {
            Some(PartTime {
                source: self.parts.source_of(part)?,
                part: part.clone(),
                newest: newest.get(part).copied().flatten(),
            })
        };
        EpochTimes {
            parts: at.0.keys().filter_map(part).collect(),
            ended: false,
        }
    }

    fn closings(&self) -> Vec<ClosingStatus> {
        let closing = |entry: &TailEntry| {
            let name = entry.name.clone();
            Some(ClosingStatus {
                name,
                ..entry.tail.closing()?
            })
        };
        self.job.tails.iter().filter_map(closing).collect()
    }

    /// Waits for elements after the position, which it moves on.
    async fn read(&self, reading: &mut Reading) -> Result<Input> {
        let Reading {
            position,
            ended,
            stop,
        } = reading;
        if *stop.borrow() || stop.has_changed().is_err() {
            return Ok(Input::Stopped);
        }
        let until = position.until();
        let mut asked = Vec::new();
        for (i, ended) in ended.iter().enumerate() {
            let from = self.parts.of_source(i, &position.at);
            let until = until.as_ref().map(|until| self.parts.of_source(i, until));
            if until.as_ref().map_or(!ended, |until| !from.covers(until)) {
                asked.push((i, from, until));
            }
        }
        if asked.is_empty() {
            return Ok(Input::Ended);
        }
        let share = (self.options.epoch_bytes_max / asked.len()).max(1);
        let job = self.job.clone();
        let reads = asked.iter().map(|(i, from, until)| {
            let bytes_max = job.sources[*i].options.epoch_bytes_max.unwrap_or(share);
            let read = job.sources[*i].source.read(from, until.as_ref(), bytes_max);
            read.map(move |got| (*i, from, until, got))
        });
        let mut reads: FuturesUnordered<_> = reads.collect();
        let first = tokio::select! {
            first = reads.next() => first,
            () = stopped(stop) => return Ok(Input::Stopped),
        };
        // What other sources have by now comes along; who has nothing yet is asked again for the next epoch.
        let mut got: Vec<_> = first.into_iter().collect();
        while let Some(Some(more)) = reads.next().now_or_never() {
            got.push(more);
        }
        let mut taken = Vec::new();
        for (i, from, until, pieces) in got {
            match (pieces?, until) {
                (Some(pieces), _) => {
                    for piece in pieces {
                        let too_far = until
                            .as_ref()
                            .is_some_and(|until| piece.next > until.of(&piece.part));
                        let part = self.parts.part(i, &piece.part);
                        if piece.next <= from.of(&piece.part) || too_far || is_reserved(&part) {
                            return Err(misread(&part, piece.next));
                        }
                        position.at.advance(&part, piece.next);
                        taken.push(Taken {
                            source: i,
                            part: piece.part,
                            work: piece.work,
                        });
                    }
                }
                (None, Some(until)) => {
                    until
                        .0
                        .iter()
                        .for_each(|(part, next)| position.at.advance(&self.parts.part(i, part), *next));
                }
                (None, None) => ended[i] = true,
            }
        }
        Ok(Input::Read(taken))
    }

    /// The second half: puts an epoch through the barriers and what follows them, and commits.
    async fn back(
        &self,
        epoch: Option<Box<Epoch>>,
        held: &mut [Option<Progress>],
        unfinished: &mut Option<Unfinished>,
    ) -> Result<()> {
        let Some(epoch) = epoch else { return Ok(()) };
        let Epoch {
            mut slots,
            elements,
            mut flows,
            at,
            times,
            muted,
            noting,
            after,
        } = *epoch;
        let job = &self.job;
        let mut outputs: Vec<Option<Held>> = muted.iter().map(|_| None).collect();
        for entry in &job.barriers {
            let input = slots.take(entry.slot);
            if entry.tail.or(entry.joins).is_some_and(|sum| muted[sum]) {
                // Nothing below needs what this sum would emit: see the proof.
                continue;
            }
            let stepped = counting_while(&mut slots.counts, entry.barrier.step(input, &times)).await?;
            let flow = flows.entry(entry.node).or_default();
            flow.taken += stepped.taken as u64;
            flow.given += stepped.work.as_ref().map_or(0, |work| work.items() as u64);
            if let Some(tail) = entry.tail {
                outputs[tail] = stepped.output;
            }
            if let Some(work) = stepped.work.filter(|work| work.items() > 0) {
                slots = work::run(job, vec![work], slots, self.threads(entry.parallelism)).await?;
            }
        }
        for (i, entry) in job.tails.iter().enumerate().filter(|(i, _)| !muted[*i]) {
            let output = outputs[i].get_or_insert_with(|| slots.take(entry.slot));
            if let Some(written) = entry.tail.written(output) {
                let flow = flows.entry(entry.node).or_default();
                flow.taken += written as u64;
                flow.given += written as u64;
            }
        }
        unfinished.get_or_insert_with(|| Unfinished {
            at: at.clone(),
            elements,
            counts: std::mem::take(&mut slots.counts),
            flows,
        });
        for sum in noting {
            let (tail, own) = (&job.tails[sum].tail, held[sum].clone().unwrap_or_default());
            let noted = catching_up(&own, &at);
            tail.commit(tail.nothing(), Some(own), &noted).await?;
            held[sum] = Some(noted);
        }
        for (i, entry) in job.tails.iter().enumerate().rev().filter(|(i, _)| !muted[*i]) {
            debug_assert!(
                entry.above.iter().all(|sum| !muted[*sum]),
                "a tail has missed what a sum emitted"
            );
            let output = outputs[i].take().expect("what is not muted has an output");
            entry.tail.commit(output, held[i].clone(), &after[i]).await?;
            held[i] = Some(after[i].clone());
        }
        self.count(unfinished.take_if(|epoch| epoch.at == at));
        self.status(|status| {
            status.epochs += 1;
            status.progress = at;
            status.closings = self.closings();
        });
        Ok(())
    }

    /// Where functions run that a node with its `own` number of threads gives elements to.
    fn threads(&self, own: Option<usize>) -> Threads<'_> {
        let workers = self.options.workers.as_ref();
        let most = match workers {
            Some(workers) => own.unwrap_or(usize::MAX).min(workers.most()),
            None => own.unwrap_or(self.options.parallelism),
        };
        Threads {
            most: most.max(1),
            workers,
        }
    }

    fn status<R>(&self, change: impl FnOnce(&mut JobStatus) -> R) -> R {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn stopped_within(&mut self, wait: Duration) -> bool {
        tokio::time::timeout(wait, stopped(&mut self.stop)).await.is_ok()
    }
}

/// Resolves when the job is to end: it was told to, or nobody holds it any more.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn misread(part: &str, next: u64) -> Error {
    let text = format!(
        "the source gave a slice that goes back or too far, or of a part with a reserved name (`@end`, `$end`): mend the \
         source part={part:?} next={next}"
    );
    Error::new(ErrorKind::Invalid, text)
}
