//! One partition: what comes in and is decided, the group that is committed, and what readers see.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use event::{Batch, BatchKey};
use tokio::sync::{oneshot, watch};

use super::Job;
use super::dataset::DatasetFolder;
use super::record::UNKNOWN;
use super::segment::{Segment, Wanted};
use super::tail::Tail;
use super::writer::{Head, SegmentWriter, record_bytes};
use crate::dedup::{self, Decision, Dedup};
use crate::limits::{GROUP_BYTES_MAX, IN_FLIGHT_OVERHEAD_BYTES};
use crate::memory::was_deleted;
use crate::{Error, ErrorKind, Offset, Partition, Receipt, Record, Result};

/// A partition as it is when it is opened.
pub(crate) struct Opened {
    pub(crate) segments: BTreeMap<u64, Arc<Segment>>,
    pub(crate) writer: SegmentWriter,
    pub(crate) dedup: Dedup,
    pub(crate) end: u64,
}

/// One partition of one dataset.
#[derive(Debug)]
pub(crate) struct PartitionLog {
    dataset: Arc<DatasetFolder>,
    partition: Partition,
    jobs: Sender<Job>,
    budget: Arc<Budget>,
    intake: Mutex<Intake>,
    writer: Mutex<SegmentWriter>,
    segments: RwLock<BTreeMap<u64, Arc<Segment>>>,
    /// The first offset that has not been deleted.
    start: AtomicU64,
    tail: Mutex<Tail>,
    end: watch::Sender<End>,
}

/// What the partitions of a queue share: the bytes that may be in flight.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) in_flight_bytes: AtomicUsize,
    pub(crate) in_flight_bytes_max: usize,
}

impl Budget {
    fn take(&self, bytes: usize) -> Result<()> {
        let fits = |used: usize| Some(used + bytes).filter(|sum| *sum <= self.in_flight_bytes_max);
        match self
            .in_flight_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
        {
            Ok(_) => Ok(()),
            Err(used) => Err(Error::new(
                ErrorKind::Retry,
                format_args!(
                    "queue is busy, send the batch again later in_flight_bytes={used} bytes={bytes} \
                     in_flight_bytes_max={}",
                    self.in_flight_bytes_max
                ),
            )),
        }
    }

    fn give_back(&self, bytes: usize) {
        self.in_flight_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy, Debug)]
struct End {
    offset: u64,
    closed: bool,
}

/// Everything that is decided at the call of `append`.
#[derive(Debug)]
struct Intake {
    dedup: Dedup,
    pending: VecDeque<Pending>,
    /// Later appends of batches in flight, which wait for their twins.
    twins: HashMap<BatchKey, Vec<Answer>>,
    /// Whether a commit of this partition is on its way to its writer.
    scheduled: bool,
    closed: bool,
}

#[derive(Debug)]
struct Pending {
    batch: Batch,
    answer: Answer,
}

type Answer = oneshot::Sender<Result<Receipt>>;

/// An answer now or when the batch is durable.
pub(crate) enum Reply {
    Now(Result<Receipt>),
    Later(oneshot::Receiver<Result<Receipt>>),
}

fn cost(batch: &Batch) -> usize {
    batch.payload.len() + IN_FLIGHT_OVERHEAD_BYTES
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "queue is shut, open it again")
}

impl PartitionLog {
    pub(crate) fn new(
        dataset: Arc<DatasetFolder>,
        partition: Partition,
        opened: Opened,
        jobs: Sender<Job>,
        budget: Arc<Budget>,
    ) -> Self {
        let Opened {
            segments,
            writer,
            dedup,
            end,
        } = opened;
        let intake = Intake {
            dedup,
            pending: VecDeque::new(),
            twins: HashMap::new(),
            scheduled: false,
            closed: false,
        };
        Self {
            dataset,
            partition,
            jobs,
            budget,
            intake: Mutex::new(intake),
            writer: Mutex::new(writer),
            start: AtomicU64::new(segments.keys().next().copied().unwrap_or(end)),
            segments: RwLock::new(segments),
            tail: Mutex::default(),
            end: watch::Sender::new(End {
                offset: end,
                closed: false,
            }),
        }
    }

    fn intake(&self) -> MutexGuard<'_, Intake> {
        self.intake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, SegmentWriter> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The offset after the last durable batch.
    pub(crate) fn end(&self) -> u64 {
        self.end.borrow().offset
    }

    /// The first offset that has not been deleted.
    pub(crate) fn start(&self) -> u64 {
        self.start.load(Ordering::SeqCst)
    }

    /// Decides about a batch and, if it is to be written, takes its place in the order.
    pub(crate) fn append(self: &Arc<Self>, batch: Batch) -> Reply {
        let key = batch.header.key;
        let mut intake = self.intake();
        if intake.closed {
            return Reply::Now(Err(closed()));
        }
        let decision = intake.dedup.decide(&key);
        if let Some(answer) = decision.answer(&key) {
            return Reply::Now(answer);
        }
        let (answer, receiver) = oneshot::channel();
        if decision == Decision::DuplicateInFlight {
            intake.twins.entry(key).or_default().push(answer);
            return Reply::Later(receiver);
        }
        if let Err(error) = dedup::check(&batch).and_then(|()| self.budget.take(cost(&batch))) {
            intake.dedup.refuse(&key);
            return Reply::Now(Err(error));
        }
        intake.dedup.begin(&key);
        intake.pending.push_back(Pending { batch, answer });
        if !intake.scheduled {
            intake.scheduled = true;
            if self.jobs.send(Job::Commit(self.clone())).is_err() {
                drop(intake);
                self.fail(
                    Vec::new(),
                    &Error::new(ErrorKind::Closed, "the queue's writer has ended, open it again"),
                );
            }
        }
        Reply::Later(receiver)
    }

    /// Writes one group of what is pending and answers it. Tells whether there is more.
    pub(crate) fn commit(&self, buffer: &mut Vec<u8>) -> bool {
        // Held until the group is kept: between, the segments and the end do not agree.
        let mut writer = self.writer();
        let group = self.intake().take_group();
        if !group.is_empty() {
            match self.write(&mut writer, &group, buffer) {
                Ok(end) => self.keep(group, end),
                Err(error) => {
                    tracing::warn!(dataset = %self.dataset.name, partition = self.partition.0, %error, "not written");
                    let error = Error::new(
                        ErrorKind::Retry,
                        format_args!(
                            "log cannot be written, send the batch again later: {error} dataset={} partition={}",
                            self.dataset.name, self.partition.0
                        ),
                    );
                    self.fail(group, &error);
                }
            }
        }
        drop(writer);
        let mut intake = self.intake();
        intake.scheduled = !intake.pending.is_empty();
        intake.scheduled
    }

    fn write(
        &self,
        writer: &mut SegmentWriter,
        group: &[Pending],
        buffer: &mut Vec<u8>,
    ) -> std::io::Result<u64> {
        self.dataset.make()?;
        let end = self.end();
        let bytes = group.iter().map(|pending| record_bytes(&pending.batch)).sum();
        if let Some(segment) = writer.prepare(end, bytes, || self.head())? {
            self.add_segment(segment);
        }
        writer.write(end, group.iter().map(|pending| &pending.batch), buffer)?;
        Ok(end)
    }

    /// What the next segment begins with.
    fn head(&self) -> Head {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let last = segments.last_key_value();
        Head {
            latest: last.map_or(UNKNOWN, |(_, segment)| segment.known_latest()),
            snapshot: self.intake().dedup.snapshot(),
        }
    }

    fn add_segment(&self, segment: Arc<Segment>) {
        self.segments
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(segment.base, segment);
    }

    /// A group is durable from offset `end` on: readers see it, then its appends are answered.
    fn keep(&self, group: Vec<Pending>, end: u64) {
        let mut answers = Vec::with_capacity(group.len());
        let mut keys = Vec::with_capacity(group.len());
        let mut bytes = 0;
        {
            let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
            for (offset, Pending { batch, answer }) in (end..).map(Offset).zip(group) {
                bytes += cost(&batch);
                keys.push(batch.header.key);
                answers.push((answer, offset));
                tail.push(Record {
                    partition: self.partition,
                    offset,
                    batch,
                });
            }
        }
        self.end
            .send_modify(|state| state.offset = end + keys.len() as u64);
        let mut twins = Vec::new();
        {
            let mut intake = self.intake();
            for key in &keys {
                intake.dedup.keep(key);
                twins.extend(intake.twins.remove(key).into_iter().flatten());
            }
        }
        self.budget.give_back(bytes);
        // Who has dropped the future does not hear of it.
        for (answer, offset) in answers {
            let _ = answer.send(Ok(Receipt {
                offset: Some(offset),
                duplicate: false,
                spooled: false,
            }));
        }
        for answer in twins {
            let _ = answer.send(Ok(Receipt {
                offset: None,
                duplicate: true,
                spooled: false,
            }));
        }
    }

    /// A group is not durable: it and all that was decided after it is answered with the error, and forgotten.
    fn fail(&self, mut group: Vec<Pending>, error: &Error) {
        let mut answers = Vec::new();
        {
            let mut intake = self.intake();
            group.extend(intake.pending.drain(..));
            intake
                .dedup
                .fail(group.iter().map(|pending| &pending.batch.header.key));
            answers.extend(intake.twins.drain().flat_map(|(_, answers)| answers));
        }
        self.budget
            .give_back(group.iter().map(|pending| cost(&pending.batch)).sum());
        answers.extend(group.into_iter().map(|pending| pending.answer));
        for answer in answers {
            let _ = answer.send(Err(error.clone()));
        }
    }

    /// Batches from an offset on; waits until there is one.
    pub(crate) async fn read(self: Arc<Self>, from: u64, bytes_max: usize) -> Result<Vec<Record>> {
        let end = {
            let mut end = self.end.subscribe();
            // The sender is held by `self`.
            let state = end
                .wait_for(|end| end.offset > from || end.closed)
                .await
                .map_err(|_| closed())?;
            state.offset
        };
        if from >= end {
            return Err(closed());
        }
        self.check_start(from)?;
        let recent = self
            .tail
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .read(from, bytes_max);
        if let Some(records) = recent {
            return Ok(records);
        }
        let (segment, until) = {
            let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
            let next = segments.range(from + 1..).next().map_or(end, |(base, _)| *base);
            let holds = segments
                .range(..=from)
                .next_back()
                .map(|(_, segment)| segment.clone());
            (holds, next.min(end))
        };
        let Some(segment) = segment else {
            return Err(self.was_deleted(from));
        };
        let wanted = Wanted {
            partition: self.partition,
            from,
            until,
            bytes_max,
        };
        let log = self.clone();
        let read = move || segment.read(&log.dataset.name, wanted);
        let read = tokio::task::spawn_blocking(read).await;
        let read =
            read.map_err(|error| Error::new(ErrorKind::Retry, format_args!("read was given up: {error}")))?;
        // A segment that was deleted meanwhile fails in whatever way.
        read.or_else(|error| self.check_start(from).and(Err(error)))
    }

    fn check_start(&self, offset: u64) -> Result<()> {
        match offset < self.start() {
            true => Err(self.was_deleted(offset)),
            false => Ok(()),
        }
    }

    fn was_deleted(&self, offset: u64) -> Error {
        let partition = (&self.dataset.name, self.partition);
        was_deleted(partition, Offset(offset), Offset(self.start()))
    }

    /// The segments with the offset behind each, oldest first.
    pub(crate) fn segments(&self) -> Vec<(Arc<Segment>, u64)> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        // Read while no segment can be added, so that it is not before the last one.
        let end = self.end();
        let ends = segments.keys().skip(1).copied().chain([end]);
        segments.values().cloned().zip(ends).collect()
    }

    /// Begins a segment if `end` is where the partition ends, so that all before it can be deleted; says whether.
    pub(crate) fn roll(&self, end: u64) -> std::io::Result<bool> {
        let mut writer = self.writer();
        if self.end() != end {
            return Ok(false);
        }
        if self.segments().last().is_none_or(|(last, _)| last.base < end) {
            self.add_segment(writer.begin(end, &self.head())?);
        }
        Ok(true)
    }

    /// Deletes the segments that hold only batches before `end`, but never the last one. Each is gone for good
    /// before the next one goes: a crash leaves a partition without holes.
    ///
    /// # Errors
    /// Those of the disk. A segment that could not be removed stays, and so do those behind it.
    pub(crate) fn delete(&self, end: u64) -> Result<()> {
        let segments = self.segments();
        for ((segment, _), (next, _)) in segments.iter().zip(&segments[1.min(segments.len())..]) {
            if next.base > end {
                break;
            }
            let failed = |error: std::io::Error| {
                let path = segment.path.display();
                Error::new(
                    ErrorKind::Retry,
                    format_args!("segment cannot be deleted, try again later: {error} segment={path}"),
                )
            };
            self.start.store(next.base, Ordering::SeqCst);
            if let Err(error) = segment.remove() {
                self.start.store(segment.base, Ordering::SeqCst);
                return Err(failed(error));
            }
            self.segments
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&segment.base);
            self.dataset
                .disk
                .sync_folder(&self.dataset.partition(self.partition))
                .map_err(failed)?;
        }
        Ok(())
    }

    /// Takes no more appends; those in flight are still written.
    pub(crate) fn stop(&self) {
        self.intake().closed = true;
    }

    /// Lets go of the active segment and wakes readers, after the last commit.
    pub(crate) fn close(&self) {
        self.writer().close();
        self.end.send_modify(|end| end.closed = true);
    }
}

impl Intake {
    fn take_group(&mut self) -> Vec<Pending> {
        let mut bytes = 0;
        let fits = |pending: &Pending| {
            let more = bytes < GROUP_BYTES_MAX;
            bytes += pending.batch.payload.len();
            more
        };
        let count = self.pending.iter().map(fits).take_while(|fits| *fits).count();
        self.pending.drain(..count).collect()
    }
}
