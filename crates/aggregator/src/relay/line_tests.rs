//! The line against a model: two relays before one queue, emitters that keep to the law, everything that can go wrong.

use std::collections::{BTreeMap, VecDeque};

use event::wire::PutAck;
use event::{Batch, DatasetName, Durability, Sequence};
use futures::FutureExt;
use proptest::prelude::*;
use queue::laws::batch;
use queue::{Error, ErrorKind, MemoryQueue, Offset, Partition, Queue, Receipt};

use super::line::{Acked, Act, Backlog, Entry, Line, Mode};
use super::replay::Place;

fn dataset() -> DatasetName {
    "orders".parse().unwrap()
}

fn append(queue: &MemoryQueue, batch: Batch) -> queue::Result<Receipt> {
    queue.append(batch).now_or_never().unwrap()
}

fn kept(queue: &MemoryQueue) -> Vec<Batch> {
    let end = queue.ends(&dataset()).first().copied().unwrap_or_default();
    if end == Offset(0) {
        return Vec::new();
    }
    let name = dataset();
    let read = queue
        .read(&name, Partition(0), Offset(0), usize::MAX)
        .now_or_never();
    let records = read.unwrap().unwrap();
    records.into_iter().map(|record| record.batch).collect()
}

/// Who waits for an answer: an emitter, on one of its streams, for a sequence.
type Waits = (usize, u64, u64);

/// What an edge has on its disk: fresh queues, by number.
#[derive(Default)]
struct Disk {
    spools: BTreeMap<u64, MemoryQueue>,
    next: u64,
}

impl Disk {
    fn at_or_after(&self, place: Place) -> Option<(Place, Batch)> {
        self.spools.range(place.spool..).find_map(|(number, spool)| {
            let offset = if *number == place.spool { place.offset } else { 0 };
            let batch = kept(spool).into_iter().nth(offset as usize)?;
            Some((
                Place {
                    spool: *number,
                    offset,
                },
                batch,
            ))
        })
    }
}

struct Edge {
    line: Line<Waits>,
    disk: Disk,
    /// Whether the last spool was made by this life of the edge.
    has_own: bool,
    /// Handed to the disk and not answered.
    appends: VecDeque<Entry<Waits>>,
    /// On the wire to the queue, and the answers on the way back.
    wire: VecDeque<Batch>,
    /// On wires that were given up; the queue may still get it.
    late: VecDeque<VecDeque<Batch>>,
    answers: VecDeque<Result<PutAck, ErrorKind>>,
    refused: Vec<Batch>,
    /// So many batches find no room in the spool.
    turns_away: usize,
    /// So many are answered before they come to the line.
    busy: usize,
}

impl Edge {
    fn new(disk: Disk) -> Self {
        let first = disk.spools.keys().next().map(|spool| Place {
            spool: *spool,
            offset: 0,
        });
        Self {
            line: Line::new(first, 300),
            disk,
            has_own: false,
            appends: VecDeque::new(),
            wire: VecDeque::new(),
            late: VecDeque::new(),
            answers: VecDeque::new(),
            refused: Vec::new(),
            turns_away: 0,
            busy: 0,
        }
    }

    fn cut(&mut self) {
        self.late.push_back(std::mem::take(&mut self.wire));
        self.answers.clear();
        self.line.lost();
    }

    /// What the loop does on its own: reads the spool, settles, sends.
    fn work(&mut self) -> Vec<(Waits, queue::Result<Receipt>)> {
        let mut told = self.perform();
        while let Some(place) = self.line.wants()
            && let Some((place, batch)) = self.disk.at_or_after(place)
        {
            self.line.skip_to(place);
            self.line.read(place, batch);
        }
        let cursor = self.line.replay().cursor();
        let backlog = match self.disk.at_or_after(cursor) {
            None if self.appends.is_empty() => Backlog::Nothing,
            None => Backlog::Little,
            Some(_) => Backlog::Much,
        };
        self.line.settle(backlog);
        told.extend(self.perform());
        while let Some(batch) = self.line.send() {
            self.wire.push_back(batch);
        }
        told
    }

    fn perform(&mut self) -> Vec<(Waits, queue::Result<Receipt>)> {
        let mut told = Vec::new();
        loop {
            let acts = self.line.acts();
            if acts.is_empty() {
                return told;
            }
            for act in acts {
                match act {
                    Act::Answer(waits, outcome) => told.push((waits, outcome)),
                    Act::Spool(entry) => told.extend(self.spool(entry)),
                    Act::Refuse(batch, _) => self.refused.push(batch),
                    Act::DropSpool => {
                        assert!(self.appends.is_empty());
                        self.disk.spools.clear();
                        self.has_own = false;
                    }
                }
            }
        }
    }

    fn spool(&mut self, entry: Entry<Waits>) -> Option<(Waits, queue::Result<Receipt>)> {
        let key = entry.batch.header.key;
        if let Some(error) = self.line.too_early(&key) {
            return Some((entry.answer, Err(error)));
        }
        if self.turns_away > 0 {
            self.turns_away -= 1;
            let full = Error::new(ErrorKind::Retry, "spool full");
            self.line.spooled(&key, entry.answer, Err(full));
        } else {
            self.appends.push_back(entry);
        }
        None
    }

    fn own_spool(&mut self) -> &MemoryQueue {
        if !self.has_own {
            self.disk.spools.insert(self.disk.next, MemoryQueue::new(1));
            self.disk.next += 1;
            self.has_own = true;
        }
        self.disk.spools.values().next_back().unwrap()
    }

    fn write(&mut self, fails: bool) {
        let Some(Entry { batch, answer }) = self.appends.pop_front() else {
            return;
        };
        let key = batch.header.key;
        if fails {
            // As the log does it: all that is behind fails with it.
            let behind = std::mem::take(&mut self.appends);
            let full = Error::new(ErrorKind::Retry, "disk full");
            self.line.spooled(&key, answer, Err(full.clone()));
            for entry in behind {
                self.line
                    .spooled(&entry.batch.header.key, entry.answer, Err(full.clone()));
            }
            return;
        }
        let outcome = append(self.own_spool(), batch);
        self.line.spooled(&key, answer, outcome);
    }
}

/// An emitter that keeps to the law; its batches are numbered 0, 1, 2 …
#[derive(Default)]
struct Emitter {
    made: u64,
    acked: u64,
    /// Sent on the stream that is open: `acked..sent`.
    sent: u64,
    edge: usize,
    stream: u64,
    is_bound: bool,
    /// Answers that wait for those before them.
    owed: BTreeMap<u64, queue::Result<Receipt>>,
}

struct World {
    core: MemoryQueue,
    edges: [Edge; 2],
    emitters: [Emitter; 3],
}

impl World {
    fn new() -> Self {
        Self {
            core: MemoryQueue::new(1),
            edges: [Edge::new(Disk::default()), Edge::new(Disk::default())],
            emitters: Default::default(),
        }
    }

    fn send(&mut self, who: usize) {
        let emitter = &mut self.emitters[who];
        while emitter.sent < emitter.made {
            let batch = batch(&dataset(), who as u128 + 1, 0, emitter.sent);
            let answer = (who, emitter.stream, emitter.sent);
            emitter.sent += 1;
            let edge = &mut self.edges[emitter.edge];
            if edge.busy == 0 {
                edge.line.came(Entry { batch, answer });
                continue;
            }
            edge.busy -= 1;
            edge.line.turned_away(&batch.header.key);
            let busy = Error::new(ErrorKind::Retry, "relay is busy");
            emitter.owed.insert(answer.2, Err(busy));
        }
        self.work(self.emitters[who].edge);
    }

    fn send_next(&mut self, who: usize) {
        self.emitters[who].made += 1;
        self.send(who);
    }

    fn reconnect(&mut self, who: usize) {
        let emitter = &mut self.emitters[who];
        emitter.stream += 1;
        emitter.sent = emitter.acked;
        emitter.owed.clear();
    }

    fn work(&mut self, edge: usize) {
        for ((who, stream, sequence), outcome) in self.edges[edge].work() {
            let emitter = &mut self.emitters[who];
            if emitter.stream == stream {
                emitter.owed.insert(sequence, outcome);
            }
        }
        for who in 0..self.emitters.len() {
            self.hear(who);
        }
    }

    /// The door answers in order, and ends the stream at the first failure.
    fn hear(&mut self, who: usize) {
        let emitter = &mut self.emitters[who];
        while let Some(outcome) = emitter.owed.remove(&emitter.acked) {
            match outcome {
                Ok(receipt) => {
                    emitter.acked += 1;
                    emitter.is_bound = receipt.spooled;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
                    return self.reconnect(who);
                }
            }
        }
    }

    /// The queue takes one batch off the wire.
    fn deliver(&mut self, edge: usize) {
        let Some(batch) = self.edges[edge].wire.pop_front() else {
            return;
        };
        let sequence = batch.header.key.sequence;
        let answer = append(&self.core, batch).map(|receipt| PutAck {
            sequence,
            events: 1,
            duplicate: receipt.duplicate,
            spooled: false,
            durability: Durability::default(),
        });
        let failed = answer.is_err();
        let edge = &mut self.edges[edge];
        edge.answers.push_back(answer.map_err(|error| error.kind()));
        if failed {
            edge.wire.clear();
        }
    }

    /// A wire that was given up brings another batch, unless one before was refused.
    fn deliver_late(&mut self, edge: usize, wire: usize) {
        let late = self.edges[edge].late.get_mut(wire);
        if let Some(wire) = late
            && let Some(batch) = wire.pop_front()
            && append(&self.core, batch).is_err()
        {
            wire.clear();
        }
    }

    fn answer(&mut self, at: usize) {
        let edge = &mut self.edges[at];
        match edge.answers.pop_front() {
            None => {}
            Some(Ok(ack)) => assert_ne!(edge.line.acked(&ack), Acked::Stray),
            Some(Err(kind)) => {
                edge.line.refused(Error::new(kind, "refused"));
                edge.wire.clear();
                edge.answers.clear();
            }
        }
        self.work(at);
    }

    /// What is not on its disk is gone; an append under way may be on it.
    fn crash(&mut self, at: usize, written: usize) {
        for _ in 0..written {
            self.edges[at].write(false);
        }
        self.edges[at].cut();
        let late = std::mem::take(&mut self.edges[at].late);
        let disk = std::mem::take(&mut self.edges[at].disk);
        assert_eq!(self.edges[at].refused, []);
        self.edges[at] = Edge::new(disk);
        self.edges[at].late = late;
        for who in 0..self.emitters.len() {
            if self.emitters[who].edge == at {
                self.reconnect(who);
            }
        }
    }

    fn step(&mut self, step: u8, who: usize, at: usize) {
        let edge = &mut self.edges[at];
        match step {
            0..4 => self.send_next(who),
            4..8 => self.deliver(at),
            8..12 => self.answer(at),
            12 => edge.cut(),
            13 | 14 => {
                edge.cut();
                edge.line.spool();
            }
            15..18 => edge.write(false),
            18 => edge.write(true),
            19 => self.crash(at, who),
            20 if !self.emitters[who].is_bound => {
                self.reconnect(who);
                self.emitters[who].edge = at;
                self.send(who);
            }
            21 => {
                self.reconnect(who);
                self.send(who);
            }
            22 => edge.busy = who,
            23 => edge.line.age_turned_away(),
            24 => edge.turns_away = who,
            _ => self.deliver_late(at, who),
        }
        self.work(at);
    }

    /// Everything works again, until nothing is left to do.
    fn recover(&mut self) {
        for _ in 0..2_000 {
            for at in 0..self.edges.len() {
                self.edges[at].line.age_turned_away();
                self.edges[at].write(false);
                self.deliver(at);
                self.answer(at);
            }
            for who in 0..self.emitters.len() {
                self.send(who);
            }
            let is_done = self.emitters.iter().all(|emitter| emitter.acked == emitter.made)
                && self.edges.iter().all(|edge| edge.line.mode() == Mode::Direct);
            if is_done {
                return;
            }
        }
        panic!("it does not come to an end");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever fails: each batch is in the queue once and in order, at the latest when all works again, and an ack
    /// without `spooled` means that it is there already.
    #[test]
    fn each_acked_batch_is_in_the_queue_once(steps in prop::collection::vec((0u8..28, 0usize..3, 0usize..2), 0..150)) {
        let mut world = World::new();
        for (step, who, at) in steps {
            world.step(step, who, at);
            let kept = kept(&world.core);
            for (who, emitter) in world.emitters.iter().enumerate() {
                let of = |batch: &&Batch| batch.header.key.emitter.0.as_u128() == who as u128 + 1;
                let there = kept.iter().filter(of).count() as u64;
                prop_assert!(emitter.is_bound || there >= emitter.acked);
            }
        }
        world.recover();
        let kept = kept(&world.core);
        for (who, emitter) in world.emitters.iter().enumerate() {
            let of = |batch: &&Batch| batch.header.key.emitter.0.as_u128() == who as u128 + 1;
            let sequences: Vec<u64> = kept.iter().filter(of).map(|batch| batch.header.key.sequence.0).collect();
            prop_assert_eq!(sequences, (0..emitter.made).collect::<Vec<_>>());
        }
        prop_assert!(world.edges.iter().all(|edge| edge.refused.is_empty() && edge.disk.spools.is_empty()));
    }
}

/// The answer to the batch that was turned away waits behind one that is long under way; then another one comes behind it.
#[test]
fn who_was_turned_away_and_has_not_heard_of_it_is_not_forgotten() {
    let mut world = World::new();
    world.send_next(0);
    world.edges[0].busy = 1;
    world.send_next(0);
    for _ in 0..3 {
        world.edges[0].line.age_turned_away();
    }
    world.deliver(0);
    world.send_next(0);
    world.answer(0);
    world.edges[0].line.age_turned_away();
    world.edges[0].cut();
    world.edges[0].line.spool();
    world.send_next(0);
    world.recover();
    let sequences = kept(&world.core)
        .into_iter()
        .map(|batch| batch.header.key.sequence.0);
    assert_eq!(sequences.collect::<Vec<_>>(), [0, 1, 2, 3]);
}

fn ack(sequence: u64) -> PutAck {
    PutAck {
        sequence: Sequence(sequence),
        events: 1,
        duplicate: false,
        spooled: false,
        durability: Durability::default(),
    }
}

fn entry(emitter: u128, epoch: u32, sequence: u64) -> Entry<(u128, u64)> {
    Entry {
        batch: batch(&dataset(), emitter, epoch, sequence),
        answer: (emitter, sequence),
    }
}

/// What callers were told: who, and the kind of the error if it was one.
fn told(line: &mut Line<(u128, u64)>) -> Vec<((u128, u64), Option<ErrorKind>)> {
    let answers = line.acts().into_iter().map(|act| match act {
        Act::Answer(who, outcome) => (who, outcome.err().map(|error| error.kind())),
        other => panic!("only answers here: {other:?}"),
    });
    answers.collect()
}

fn sent<A>(line: &mut Line<A>) -> Vec<(u128, u64)> {
    let mut sent = Vec::new();
    while let Some(batch) = line.send() {
        let key = batch.header.key;
        sent.push((key.emitter.0.as_u128(), key.sequence.0));
    }
    sent
}

/// Why a sender has to stay: what it left behind is a duplicate to a queue that has a later batch.
#[test]
fn a_sender_that_does_not_stay_loses_what_was_spooled() {
    let core = MemoryQueue::new(1);
    let mut world = World::new();
    world.edges[0].line.spool();
    world.emitters[0].made = 2;
    world.send(0);
    world.edges[0].write(false);
    world.edges[0].write(false);
    world.work(0);
    assert!(world.emitters[0].is_bound && world.emitters[0].acked == 2);
    append(&core, batch(&dataset(), 1, 0, 2)).unwrap();
    let late = append(&core, batch(&dataset(), 1, 0, 0)).unwrap();
    assert!(late.duplicate);
}

#[test]
fn a_conflict_of_one_emitter_is_its_own() {
    let mut line = Line::new(None, 10_000);
    for entry in [
        entry(1, 0, 5),
        entry(2, 0, 0),
        entry(1, 0, 6),
        entry(1, 0, 5),
        entry(2, 0, 1),
    ] {
        line.came(entry);
    }
    assert_eq!(sent(&mut line).len(), 5);
    line.refused(Error::new(ErrorKind::Conflict, "expected=4"));
    let conflict = Some(ErrorKind::Conflict);
    assert_eq!(
        told(&mut line),
        [((1, 5), conflict), ((1, 6), conflict)],
        "6 came behind the refused 5"
    );
    assert_eq!(
        sent(&mut line),
        [(2, 0), (1, 5), (2, 1)],
        "the second 5 may have its turn"
    );
    line.acked(&ack(0));
    line.refused(Error::new(ErrorKind::Invalid, "no"));
    assert_eq!(
        told(&mut line),
        [((2, 0), None), ((1, 5), Some(ErrorKind::Invalid))]
    );
    assert_eq!(sent(&mut line), [(2, 1)]);
}

#[test]
fn a_batch_behind_one_that_was_turned_away_waits_for_it() {
    let mut line = Line::new(None, 10_000);
    line.turned_away(&batch(&dataset(), 1, 0, 5).header.key);
    line.came(entry(1, 0, 6));
    line.came(entry(2, 0, 6));
    assert_eq!(told(&mut line), [((1, 6), Some(ErrorKind::Retry))]);
    line.came(entry(1, 0, 5));
    line.came(entry(1, 0, 6));
    assert_eq!(told(&mut line), []);
    assert_eq!(sent(&mut line), [(2, 6), (1, 5), (1, 6)]);
}

fn spooled_line(batches: &[(u128, u64)]) -> Line<(u128, u64)> {
    let mut line = Line::new(Some(Place::default()), 10_000);
    for (offset, (emitter, sequence)) in (0..).zip(batches) {
        line.read(
            Place { spool: 0, offset },
            batch(&dataset(), *emitter, 0, *sequence),
        );
    }
    line
}

#[test]
fn an_emitter_in_conflict_waits_and_others_go_on() {
    let batches = [(2, 0), (1, 5), (2, 1), (1, 6), (2, 2)];
    let mut line = spooled_line(&batches);
    assert_eq!(sent(&mut line), batches);
    line.acked(&ack(0));
    line.refused(Error::new(ErrorKind::Conflict, "expected=4"));
    assert_eq!(sent(&mut line), [(2, 1), (2, 2)]);
    line.acked(&ack(1));
    line.acked(&ack(2));
    line.settle(Backlog::Nothing);
    assert_eq!(line.mode(), Mode::Spooled, "there is something left");
    assert_eq!(line.replay().needed(), Place { spool: 0, offset: 1 });
    line.read(Place { spool: 0, offset: 5 }, batch(&dataset(), 1, 0, 7));
    assert_eq!(sent(&mut line), [], "it is behind those in conflict");
    line.try_blocked();
    for (offset, (emitter, sequence)) in (1..).zip([(1, 5), (2, 1), (1, 6), (2, 2), (1, 7)]) {
        line.read(
            Place { spool: 0, offset },
            batch(&dataset(), emitter, 0, sequence),
        );
    }
    assert_eq!(
        sent(&mut line),
        [(1, 5), (1, 6), (1, 7)],
        "what others have there is not sent again"
    );
    (5..8).for_each(|sequence| assert!(matches!(line.acked(&ack(sequence)), Acked::Replayed(_))));
    line.settle(Backlog::Nothing);
    assert_eq!(line.mode(), Mode::Direct);
}

#[test]
fn what_is_refused_for_good_takes_those_behind_it_along() {
    let mut line = spooled_line(&[(1, 5), (1, 6), (2, 0)]);
    let refused = |line: &mut Line<_>| -> Vec<u64> {
        let acts = line.acts().into_iter().map(|act| match act {
            Act::Refuse(batch, _) => batch.header.key.sequence.0,
            other => panic!("only refusals here: {other:?}"),
        });
        acts.collect()
    };
    sent(&mut line);
    line.refused(Error::new(ErrorKind::Invalid, "no"));
    assert_eq!(refused(&mut line), [5]);
    assert_eq!(sent(&mut line), [(1, 6), (2, 0)]);
    line.refused(Error::new(ErrorKind::Conflict, "expected=5"));
    assert_eq!(refused(&mut line), [6], "no queue takes it before 5");
    assert_eq!(sent(&mut line), [(2, 0)]);
    line.refused(Error::new(ErrorKind::Fenced, "over"));
    assert_eq!(refused(&mut line), [0]);
    line.settle(Backlog::Nothing);
    assert_eq!(line.mode(), Mode::Direct);
}

#[test]
fn without_room_emitters_in_conflict_are_given_up() {
    let mut line = spooled_line(&[(1, 5)]);
    sent(&mut line);
    line.refused(Error::new(ErrorKind::Conflict, "expected=4"));
    line.give_up_blocked();
    line.read(Place { spool: 0, offset: 0 }, batch(&dataset(), 1, 0, 5));
    assert_eq!(sent(&mut line), [(1, 5)]);
    line.refused(Error::new(ErrorKind::Conflict, "expected=4"));
    assert!(matches!(&line.acts()[..], [Act::Refuse(batch, _)] if batch.header.key.sequence == Sequence(5)));
}

#[test]
fn what_comes_behind_a_refused_batch_waits_for_the_next_one() {
    let core = MemoryQueue::new(1);
    let mut line = Line::new(None, 10_000);
    line.came(entry(1, 0, 0));
    line.came(entry(1, 0, 1));
    assert_eq!(sent(&mut line), [(1, 0), (1, 1)]);
    // The core's door refuses 0, so its queue never hears of the emitter; 2 was on its way.
    line.refused(Error::new(ErrorKind::Invalid, "no"));
    line.came(entry(1, 0, 2));
    assert_eq!(sent(&mut line), [], "the queue would take it as the first");
    for sequence in [1, 2] {
        line.came(entry(1, 0, sequence));
    }
    for (_, sequence) in sent(&mut line) {
        append(&core, batch(&dataset(), 1, 0, sequence)).unwrap();
        line.acked(&ack(sequence));
    }
    let kept: Vec<u64> = kept(&core)
        .iter()
        .map(|batch| batch.header.key.sequence.0)
        .collect();
    assert_eq!(kept, [1, 2]);
}
