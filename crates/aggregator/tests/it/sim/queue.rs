//! A queue of the simulation: appends that are durable only when their sync is done, and may never be.
//!
//! It has a power switch: what was not synced is then gone but for some prefix, as on a disk, and the table of
//! emitters is made again from what is there. It does nothing by itself: [`SimQueue::pass`] lets time pass.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use event::{Batch, BatchKey, DatasetName, EmitterId};
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use queue::{Error, ErrorKind, Offset, Partition, Queue, Receipt, Record, Result};
use tokio::sync::{oneshot, watch};

use super::chance::Chance;

/// The machine that the queue is on. Clones are the same one.
#[derive(Clone)]
pub(crate) struct SimQueue(Arc<Mutex<State>>);

/// What can go wrong with it, as it is now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trouble {
    /// Of 16 appends, so many are turned away.
    pub(crate) busy: u64,
    /// Of 16 syncs, so many fail.
    pub(crate) failing: u64,
    /// The longest sync.
    pub(crate) sync_max: Duration,
    /// The longest way of an answer back to the door.
    pub(crate) late_max: Duration,
}

struct State {
    chance: Chance,
    now: Duration,
    trouble: Trouble,
    datasets: BTreeMap<DatasetName, Vec<Log>>,
    names: watch::Sender<Vec<DatasetName>>,
    /// Doors whose appends are not answered now.
    stalled: BTreeSet<usize>,
    held: Vec<(usize, Answer, Result<Receipt>)>,
    /// Answers on their way.
    late: Vec<(Duration, usize, Answer, Result<Receipt>)>,
    /// Payloads that hold this are refused for good.
    poison: &'static [u8],
    /// Every batch that became durable, and when.
    synced: Vec<(Duration, Batch)>,
    /// Every batch that was refused for good.
    refused: Vec<Batch>,
    /// Batches that went with the power.
    lost: u64,
}

/// One partition.
#[derive(Default)]
struct Log {
    kept: Vec<Batch>,
    table: BTreeMap<EmitterId, Place>,
    /// Emitters of which nothing is kept, with the first batch that was turned away.
    awaited: BTreeMap<EmitterId, Place>,
    pending: VecDeque<Pending>,
    sync_at: Option<Duration>,
}

/// Epoch and sequence.
type Place = (u32, u64);
type Answer = oneshot::Sender<Result<Receipt>>;

struct Pending {
    batch: Batch,
    /// The first is that of the batch, the others those of its twins.
    answers: Vec<(usize, Answer)>,
}

enum Verdict {
    Append,
    Kept,
    InFlight(usize),
    Wrong(Error),
}

fn place(key: &BatchKey) -> Place {
    (key.epoch.0, key.sequence.0)
}

impl Log {
    /// The law *no holes*, told by what is kept and what is pending.
    fn verdict(&self, key: &BatchKey) -> Verdict {
        let (epoch, sequence) = place(key);
        let of_emitter = |pending: &&Pending| pending.batch.header.key.emitter == key.emitter;
        let last = self.pending.iter().rev().find(of_emitter);
        let next = |(epoch, sequence): Place| (epoch, sequence + 1);
        let kept = self.table.get(&key.emitter).copied();
        let Some((known, expected)) = last
            .map(|pending| next(place(&pending.batch.header.key)))
            .or(kept.map(next))
            .or(self.awaited.get(&key.emitter).copied())
        else {
            return Verdict::Append;
        };
        if epoch < known {
            let text = format!("a later life of this emitter has begun epoch={epoch} current={known}");
            return Verdict::Wrong(Error::new(ErrorKind::Fenced, text));
        }
        let expected = if epoch > known { 0 } else { expected };
        if sequence > expected {
            let text = format!("not the next batch expected={expected} sequence={sequence}");
            return Verdict::Wrong(Error::new(ErrorKind::Conflict, text));
        }
        if sequence == expected {
            return Verdict::Append;
        }
        let twin = self
            .pending
            .iter()
            .position(|pending| pending.batch.header.key == *key);
        match (twin, last.is_some() || kept.is_some()) {
            (Some(twin), _) => Verdict::InFlight(twin),
            (None, true) => Verdict::Kept,
            (None, false) => Verdict::Append,
        }
    }

    /// A batch was turned away: of an emitter of which nothing is kept or pending, it is the first to come.
    fn turn_away(&mut self, key: &BatchKey) {
        let pending = self
            .pending
            .iter()
            .any(|pending| pending.batch.header.key.emitter == key.emitter);
        if !pending && !self.table.contains_key(&key.emitter) {
            let first = self.awaited.entry(key.emitter).or_insert(place(key));
            *first = if first.0 == key.epoch.0 {
                (*first).min(place(key))
            } else {
                place(key)
            };
        }
    }

    fn keep(&mut self, batch: &Batch) {
        let key = batch.header.key;
        self.awaited.remove(&key.emitter);
        self.table.insert(key.emitter, place(&key));
        self.kept.push(batch.clone());
    }
}

impl State {
    fn log(&mut self, dataset: &DatasetName, partitions: u32) -> &mut Vec<Log> {
        if !self.datasets.contains_key(dataset) {
            let logs = (0..partitions).map(|_| Log::default()).collect();
            self.datasets.insert(dataset.clone(), logs);
            self.names.send_replace(self.datasets.keys().cloned().collect());
        }
        self.datasets.get_mut(dataset).unwrap()
    }

    fn append(&mut self, door: usize, batch: Batch) -> oneshot::Receiver<Result<Receipt>> {
        let (answer, receiver) = oneshot::channel();
        let (busy, wait) = (self.chance.below(16) < self.trouble.busy, self.sync_in());
        let is_poison = !self.poison.is_empty()
            && batch
                .payload
                .windows(self.poison.len())
                .any(|bytes| bytes == self.poison);
        let (now, key) = (self.now, batch.header.key);
        let logs = self.log(&batch.dataset, queue::limits::PARTITIONS_DEFAULT);
        let partition = Partition::of(key.emitter, logs.len() as u32).0 as usize;
        let log = &mut logs[partition];
        let invalid = batch.check().is_err() || is_poison;
        let outcome = match log.verdict(&key) {
            Verdict::Wrong(error) => Err(error),
            Verdict::Kept => Ok(Receipt {
                offset: None,
                duplicate: true,
                spooled: false,
            }),
            Verdict::InFlight(twin) => {
                log.pending[twin].answers.push((door, answer));
                return receiver;
            }
            Verdict::Append if invalid => {
                log.turn_away(&key);
                self.refused.push(batch);
                Err(Error::new(ErrorKind::Invalid, "this batch is never taken"))
            }
            Verdict::Append if busy => {
                log.turn_away(&key);
                Err(Error::new(
                    ErrorKind::Retry,
                    "queue is busy, send the batch again later",
                ))
            }
            Verdict::Append => {
                log.sync_at.get_or_insert(now + wait);
                let answers = vec![(door, answer)];
                log.pending.push_back(Pending { batch, answers });
                return receiver;
            }
        };
        self.answer(door, answer, outcome);
        receiver
    }

    fn sync_in(&mut self) -> Duration {
        self.up_to(self.trouble.sync_max)
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        Duration::from_millis(self.chance.below(most.as_millis() as u64 + 1))
    }

    fn answer(&mut self, door: usize, answer: Answer, outcome: Result<Receipt>) {
        let wait = self.up_to(self.trouble.late_max);
        if wait.is_zero() {
            self.answer_now(door, answer, outcome);
        } else {
            self.late.push((self.now + wait, door, answer, outcome));
        }
    }

    fn answer_now(&mut self, door: usize, answer: Answer, outcome: Result<Receipt>) {
        if self.stalled.contains(&door) {
            self.held.push((door, answer, outcome));
        } else {
            // Who has dropped the future does not hear of it.
            let _ = answer.send(outcome);
        }
    }

    fn sync(&mut self, dataset: &DatasetName, partition: usize) {
        let fails = self.chance.below(16) < self.trouble.failing;
        let now = self.now;
        let log = &mut self.datasets.get_mut(dataset).unwrap()[partition];
        log.sync_at = None;
        let group = std::mem::take(&mut log.pending);
        let mut answers = Vec::new();
        for Pending { batch, answers: to } in group {
            let log = &mut self.datasets.get_mut(dataset).unwrap()[partition];
            let outcome = if fails {
                log.turn_away(&batch.header.key);
                Err(Error::new(
                    ErrorKind::Retry,
                    "log cannot be written, send the batch again later",
                ))
            } else {
                log.keep(&batch);
                Ok(Offset(log.kept.len() as u64 - 1))
            };
            if outcome.is_ok() {
                self.synced.push((now, batch));
            }
            answers.extend(to.into_iter().enumerate().map(|(i, (door, answer))| {
                let receipt = outcome.clone().map(|offset| Receipt {
                    offset: (i == 0).then_some(offset),
                    duplicate: i > 0,
                    spooled: false,
                });
                (door, answer, receipt)
            }));
        }
        for (door, answer, outcome) in answers {
            self.answer(door, answer, outcome);
        }
    }
}

impl SimQueue {
    pub(crate) fn new(chance: Chance, trouble: Trouble, poison: &'static [u8]) -> Self {
        Self(Arc::new(Mutex::new(State {
            chance,
            now: Duration::ZERO,
            trouble,
            datasets: BTreeMap::new(),
            names: watch::Sender::default(),
            stalled: BTreeSet::new(),
            held: Vec::new(),
            late: Vec::new(),
            poison,
            synced: Vec::new(),
            refused: Vec::new(),
            lost: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The queue as one aggregator sees it.
    pub(crate) fn door(&self, door: usize) -> Arc<dyn Queue> {
        Arc::new(Door {
            queue: self.clone(),
            door,
        })
    }

    /// It is this late: syncs that are done by now are answered.
    pub(crate) fn pass(&self, now: Duration) {
        let mut state = self.state();
        state.now = now;
        let is_due = |log: &Log| log.sync_at.is_some_and(|at| at <= now);
        let due: Vec<_> = state
            .datasets
            .iter()
            .flat_map(|(name, logs)| logs.iter().enumerate().map(move |(i, log)| (name, i, log)))
            .filter(|(_, _, log)| is_due(log))
            .map(|(name, i, _)| (name.clone(), i))
            .collect();
        for (name, partition) in due {
            state.sync(&name, partition);
        }
        let (due, late): (Vec<_>, Vec<_>) = state.late.drain(..).partition(|(at, ..)| *at <= now);
        state.late = late;
        for (_, door, answer, outcome) in due {
            state.answer_now(door, answer, outcome);
        }
    }

    pub(crate) fn set_trouble(&self, trouble: Trouble) {
        self.state().trouble = trouble;
    }

    /// The answers to a door wait.
    pub(crate) fn stall(&self, door: usize) {
        self.state().stalled.insert(door);
    }

    /// They wait no more.
    pub(crate) fn go_on(&self, door: usize) {
        let mut state = self.state();
        state.stalled.remove(&door);
        let held = std::mem::take(&mut state.held);
        for (to, answer, outcome) in held {
            state.answer_now(to, answer, outcome);
        }
    }

    /// The power goes and comes again: of what is not synced, some prefix is there, and nobody is answered. Every
    /// door must go down with it: a stream that lives on would bring batches from the middle of what was lost.
    pub(crate) fn lose_power(&self) {
        let state = &mut *self.state();
        state.held.clear();
        state.late.clear();
        state.stalled.clear();
        for log in state.datasets.values_mut().flatten() {
            let count = state.chance.below(log.pending.len() as u64 + 1) as usize;
            state.lost += (log.pending.len() - count) as u64;
            for Pending { batch, .. } in log.pending.drain(..).take(count) {
                state.synced.push((state.now, batch.clone()));
                log.kept.push(batch);
            }
            log.sync_at = None;
            log.awaited.clear();
            log.table = log
                .kept
                .iter()
                .map(|batch| (batch.header.key.emitter, place(&batch.header.key)))
                .collect();
        }
    }

    /// Every batch that became durable with the time, in that order; those refused for good; how many went with
    /// the power.
    pub(crate) fn history(&self) -> (Vec<(Duration, Batch)>, Vec<Batch>, u64) {
        let state = self.state();
        (state.synced.clone(), state.refused.clone(), state.lost)
    }

    /// What is there now, by dataset.
    pub(crate) fn kept(&self) -> BTreeMap<DatasetName, Vec<Batch>> {
        let kept = |logs: &Vec<Log>| logs.iter().flat_map(|log| log.kept.iter().cloned()).collect();
        let state = self.state();
        let datasets = state.datasets.iter();
        datasets.map(|(name, logs)| (name.clone(), kept(logs))).collect()
    }
}

struct Door {
    queue: SimQueue,
    door: usize,
}

#[async_trait]
impl Queue for Door {
    fn append(&self, batch: Batch) -> BoxFuture<'static, Result<Receipt>> {
        let dead = |_| Err(Error::new(ErrorKind::Retry, "queue has lost its power"));
        let answer = self.queue.state().append(self.door, batch);
        answer.map(move |answer| answer.unwrap_or_else(dead)).boxed()
    }

    async fn create(&self, dataset: &DatasetName, partitions: u32) -> Result<u32> {
        if !(1..=queue::limits::PARTITIONS_MAX).contains(&partitions) {
            return Err(Error::new(ErrorKind::Invalid, "a dataset has 1 to 64 partitions"));
        }
        Ok(self.queue.state().log(dataset, partitions).len() as u32)
    }

    async fn read(
        &self,
        dataset: &DatasetName,
        partition: Partition,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Vec<Record>> {
        loop {
            let found = {
                let state = self.queue.state();
                let logs = state.datasets.get(dataset);
                let log = logs.and_then(|logs| logs.get(partition.0 as usize));
                let log = log.ok_or_else(|| Error::new(ErrorKind::NotFound, "no such partition"))?;
                read(log, partition, from, bytes_max)
            };
            if !found.is_empty() {
                return Ok(found);
            }
            // Only the suite of laws reads, and lets time pass as well.
            tokio::task::yield_now().await;
        }
    }

    fn ends(&self, dataset: &DatasetName) -> Vec<Offset> {
        let state = self.queue.state();
        let logs = state.datasets.get(dataset).into_iter().flatten();
        logs.map(|log| Offset(log.kept.len() as u64)).collect()
    }

    fn datasets(&self) -> watch::Receiver<Vec<DatasetName>> {
        self.queue.state().names.subscribe()
    }
}

fn read(log: &Log, partition: Partition, from: Offset, bytes_max: usize) -> Vec<Record> {
    let mut bytes = 0;
    let kept = log.kept.iter().enumerate().skip(from.0 as usize);
    let fits = |(_, batch): &(usize, &Batch)| {
        let first = bytes == 0;
        bytes += batch.payload.len().max(1);
        first || bytes <= bytes_max
    };
    let record = |(at, batch): (usize, &Batch)| Record {
        partition,
        offset: Offset(at as u64),
        batch: batch.clone(),
    };
    kept.take_while(fits).map(record).collect()
}

/// The model obeys what it stands for.
#[tokio::test]
async fn it_keeps_the_laws_of_a_queue() {
    let trouble = Trouble {
        sync_max: Duration::from_millis(20),
        ..Trouble::default()
    };
    let queue = SimQueue::new(Chance::new(1), trouble, b"");
    let (model, checked) = (queue.clone(), queue.door(0));
    let time = async move {
        for passed in 0.. {
            model.pass(Duration::from_millis(passed));
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = queue::laws::check(checked) => {}
        () = time => {}
    }
}

/// As a restart of the real one: what was acked is known again, what is sent again is a duplicate, and the rest
/// begins where it was lost.
#[tokio::test]
async fn after_a_loss_of_power_it_goes_on_where_it_was() {
    let dataset: DatasetName = "d".parse().unwrap();
    let one = |sequence| queue::laws::batch(&dataset, 7, 0, sequence);
    for seed in 0..50 {
        let queue = SimQueue::new(Chance::new(seed), Trouble::default(), b"");
        let door = queue.door(0);
        let mut answers: Vec<_> = (0..3).map(|n| door.append(one(n))).collect();
        queue.pass(Duration::from_secs(1));
        for answer in answers.drain(..) {
            assert!(!answer.await.unwrap().duplicate);
        }
        let answers: Vec<_> = (3..6).map(|n| door.append(one(n))).collect();
        queue.lose_power();
        for answer in answers {
            assert_eq!(answer.await.unwrap_err().kind(), ErrorKind::Retry);
        }
        let kept = door.ends(&dataset).iter().map(|end| end.0).sum::<u64>();
        assert!((3..=6).contains(&kept), "kept={kept}");
        let gap = door.append(one(kept + 1)).now_or_never();
        assert_eq!(gap.unwrap().unwrap_err().kind(), ErrorKind::Conflict);
        let answers: Vec<_> = (0..6).map(|n| (n, door.append(one(n)))).collect();
        queue.pass(Duration::from_secs(2));
        for (n, answer) in answers {
            assert_eq!(answer.await.unwrap().duplicate, n < kept);
        }
        let kept = queue.kept().remove(&dataset).unwrap();
        assert_eq!(kept, (0..6).map(one).collect::<Vec<_>>());
        ready(()).await;
    }
}
