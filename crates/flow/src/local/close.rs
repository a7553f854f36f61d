//! The closing of batches: a tail whose store holds the keys that are open, and beside its progress what is closed.
//!
//! What an epoch hands on depends on that store, on the sum's store before the epoch, and on where the epoch ends, as it
//! does for a join with its own sum: so for the engine this is one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use foldhash::fast::RandomState;
use store::limits::PAGE_KEYS;
use store::{Commit, Progress};

use super::calls::Calls;
use super::job::ClosingStatus;
use super::plan::{BarrierEntry, LocalPlan, Outlet};
use super::slots::{Gathered, Gathers, Held};
use super::stage::{AnyTail, Barrier, Stepped, typed};
use super::watermark::{EpochTimes, Facts};
use super::work::Run;
use super::{Local, Stream};
use crate::closing::{LatePolicy, last_before};
use crate::memory::plus;
use crate::platform::{JoinedSum, Summed, Timed};
use crate::{CloseRule, Closed, Error, ErrorKind, Key, NodeInfo, Open, Result, Timestamp, Value};

/// Adds a closing to the plan.
pub(super) fn lower<K: Key, V: Value>(
    plan: &mut LocalPlan,
    node: &NodeInfo,
    sum: JoinedSum<'_, Local, K, V>,
    rule: &CloseRule<K>,
    open: &Arc<dyn store::Store<Open<K>, ()>>,
) -> Stream<Closed<K, V>> {
    let (slot, outlet) = (plan.slot(Gathers::<Input<K, V>>::new()), Outlet::new(0));
    let stage = Arc::new(CloseStage {
        sums: sum.store.clone(),
        calls: Calls::of(&node.options),
        open: open.clone(),
        rule: rule.clone(),
        sources: plan.sources_of(sum.node).to_vec(),
        delay: plan.delay(node, rule.times.lateness),
        outlet: outlet.clone(),
        state: Mutex::default(),
    });
    let tail = plan.tail(node, slot, stage.clone(), Arc::as_ptr(open).cast::<()>().addr());
    plan.depends(node, Some(tail));
    plan.lowered.barriers.push(BarrierEntry {
        node: node.id,
        parallelism: node.options.parallelism,
        slot,
        tail: Some(tail),
        joins: Some(tail),
        barrier: stage,
    });
    plan.lowered.closes = true;
    let rule = rule.clone();
    plan.on_seal(&outlet, move |_| {
        sum.changes.0.attach(Arc::new(move |slots, time, change| {
            slots.get::<Input<K, V>>(slot).changes.push((time, change));
        }));
        if rule.late == LatePolicy::Aside {
            sum.deltas.0.attach(Arc::new(move |slots, time, pair| {
                slots.get::<Input<K, V>>(slot).elements.push((time, pair));
            }));
        } else {
            sum.deltas.0.attach(Arc::new(move |slots, _, (key, _)| {
                let counts = &mut slots.get::<Input<K, V>>(slot).counts;
                *counts.entry(rule.number_of(&key)).or_default() += 1;
            }));
        }
    });
    Stream(outlet)
}

/// What an epoch has for a closing.
struct Input<K, V> {
    changes: Vec<Timed<Summed<K, V>>>,
    /// The elements themselves, if late ones are to be handed on.
    elements: Vec<Timed<(K, V)>>,
    /// How many elements there are for each window, otherwise.
    counts: HashMap<i64, u64, RandomState>,
}

impl<K, V> Default for Input<K, V> {
    fn default() -> Self {
        Self {
            changes: Vec::new(),
            elements: Vec::new(),
            counts: HashMap::default(),
        }
    }
}

impl<K: Key, V: Value> Gathered for Input<K, V> {
    fn append(&mut self, later: Self) {
        Gathered::append(&mut self.changes, later.changes);
        Gathered::append(&mut self.elements, later.elements);
        for (number, count) in later.counts {
            *self.counts.entry(number).or_default() += count;
        }
    }
}

struct CloseStage<K: Key, V: Value> {
    sums: Arc<dyn store::Store<K, V>>,
    /// How the sums are asked for.
    calls: Calls,
    open: Arc<dyn store::Store<Open<K>, ()>>,
    rule: CloseRule<K>,
    /// The sources that the sum reads from.
    sources: Vec<usize>,
    /// How far behind the watermark batches close: the lateness of this closing and of those that it reads from.
    delay: i64,
    outlet: Arc<Outlet<Closed<K, V>>>,
    /// As the store of the open keys is.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    facts: Facts,
    /// The ends of the batches that are open.
    ends: BTreeSet<Timestamp>,
}

/// What is to be committed.
struct Output<K> {
    writes: Vec<(Open<K>, Option<()>)>,
    /// `None`: as they are.
    facts: Option<Facts>,
}

/// The ends of windows, each worked out once.
struct Ends<'a, K> {
    rule: &'a CloseRule<K>,
    known: HashMap<i64, Timestamp, RandomState>,
}

impl<'a, K> Ends<'a, K> {
    fn new(rule: &'a CloseRule<K>) -> Self {
        Self {
            rule,
            known: HashMap::default(),
        }
    }

    fn of_number(&mut self, number: i64) -> Timestamp {
        *self
            .known
            .entry(number)
            .or_insert_with(|| self.rule.end_of_number(number))
    }

    fn of(&mut self, key: &K) -> Timestamp {
        self.of_number(self.rule.number_of(key))
    }
}

impl<K: Key, V: Value> CloseStage<K, V> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many elements of an epoch are late; hands them on if that is asked for.
    fn late(
        &self,
        input: &mut Input<K, V>,
        ends: &mut Ends<K>,
        closed: Timestamp,
        out: &mut Out<K, V>,
    ) -> u64 {
        let mut late = 0;
        for (number, count) in &input.counts {
            if ends.of_number(*number) <= closed {
                late += count;
            }
        }
        for (time, (key, value)) in std::mem::take(&mut input.elements) {
            if ends.of(&key) <= closed {
                late += 1;
                out.push((time, Closed::Late(key, value)));
            }
        }
        late
    }

    /// The keys in the store whose batches end by `closed`, with their sums before the epoch unless these are in `sums`
    /// already.
    async fn read_closing(&self, closed: Timestamp, sums: &mut BTreeMap<Open<K>, V>) -> Result<Vec<Open<K>>> {
        let mut closing: Vec<Open<K>> = Vec::new();
        loop {
            let mut page = self.open.scan(closing.last(), PAGE_KEYS).await?;
            let full = page.len() == PAGE_KEYS;
            check_order(closing.last(), &page)?;
            page.retain(|(open, ())| open.end <= closed);
            let more = full && page.len() == PAGE_KEYS;
            let asked: Vec<&Open<K>> = page
                .iter()
                .map(|(open, ())| open)
                .filter(|open| !sums.contains_key(open))
                .collect();
            let keys: Vec<K> = asked.iter().map(|open| open.key.clone()).collect();
            let found = self.calls.ask(&keys, |keys| self.sums.multi_get(keys)).await?;
            let found: Vec<_> = asked.into_iter().cloned().zip(found).collect();
            for (open, sum) in found {
                let sum = sum.ok_or_else(|| lost(open.end))?;
                sums.insert(open, sum);
            }
            closing.extend(page.into_iter().map(|(open, ())| open));
            if !more {
                return Ok(closing);
            }
        }
    }
}

type Out<K, V> = Vec<Timed<Closed<K, V>>>;

#[async_trait]
impl<K: Key, V: Value> Barrier for CloseStage<K, V> {
    async fn step(&self, input: Held, epoch: &EpochTimes) -> Result<Stepped> {
        let mut input: Input<K, V> = typed(input);
        let taken = input.changes.len();
        let (mut facts, first_end, last_end) = {
            let state = self.state();
            let (first, last) = (state.ends.first().copied(), state.ends.last().copied());
            (state.facts.clone(), first, last)
        };
        let (mut ends, mut out, before) = (Ends::new(&self.rule), Vec::new(), facts.closed);
        facts.late += self.late(&mut input, &mut ends, before, &mut out);
        let watermark = facts.advance(epoch, &self.sources, &self.rule.times);
        facts.closed = before.max(Timestamp(watermark.0.saturating_sub(self.delay)));
        if epoch.ended {
            let changed = input.changes.iter().map(|(_, (key, _))| ends.of(key)).max();
            facts.closed = facts.closed.max(changed.max(last_end).unwrap_or(facts.closed));
        }
        // What closes in this epoch, in the order in which it is handed on; and what stays open.
        let (mut sums, mut writes) = (BTreeMap::new(), Vec::new());
        for (time, (key, (value, delta))) in input.changes {
            let end = ends.of(&key);
            if end <= before {
                if self.rule.late == LatePolicy::Correct {
                    let sum = plus(value.clone(), delta);
                    out.push((time, Closed::Corrected(key, value, sum)));
                }
            } else if end <= facts.closed {
                sums.insert(Open { end, key }, plus(value, delta));
            } else {
                writes.push((Open { end, key }, Some(())));
            }
        }
        if first_end.is_some_and(|end| end <= facts.closed) {
            let closing = self.read_closing(facts.closed, &mut sums).await?;
            writes.extend(closing.into_iter().map(|open| (open, None)));
        }
        let finals = sums.into_iter();
        out.extend(finals.map(|(open, sum)| (last_before(open.end), Closed::Final(open.key, sum))));
        let facts = Some(facts);
        Ok(Stepped {
            taken,
            output: Some(Box::new(Output { writes, facts })),
            work: Some(Box::new(Run::new(out, &self.outlet))),
        })
    }
}

#[async_trait]
impl<K: Key, V: Value> AnyTail for CloseStage<K, V> {
    /// Also reads what is open, as this is asked for before the first epoch and after each error.
    async fn progress(&self) -> Result<Option<Progress>> {
        let (facts, job) = Facts::of(self.open.progress().await?)?;
        let (mut ends, mut last) = (BTreeSet::new(), None);
        loop {
            let page = self.open.scan(last.as_ref(), PAGE_KEYS).await?;
            check_order(last.as_ref(), &page)?;
            ends.extend(page.iter().map(|(open, ())| open.end));
            let full = page.len() == PAGE_KEYS;
            last = page.into_iter().next_back().map(|(open, ())| open);
            if !full {
                break;
            }
        }
        *self.state() = State { facts, ends };
        Ok(job)
    }

    async fn commit(&self, output: Held, expected: Option<Progress>, progress: &Progress) -> Result<()> {
        let Output::<K> { writes, facts } = typed(output);
        let before = self.state().facts.clone();
        let facts = facts.unwrap_or_else(|| before.clone());
        let opened = writes.iter().filter(|(_, write)| write.is_some());
        let opened: BTreeSet<Timestamp> = opened.map(|(open, _)| open.end).collect();
        let commit = Commit {
            writes,
            expected: expected.map(|job| before.beside(&job)),
            progress: facts.beside(progress),
        };
        self.open.commit(commit).await?;
        let mut state = self.state();
        state.ends.extend(opened);
        while state.ends.first().is_some_and(|end| *end <= facts.closed) {
            state.ends.pop_first();
        }
        state.facts = facts;
        Ok(())
    }

    fn nothing(&self) -> Held {
        Box::new(Output::<K> {
            writes: Vec::new(),
            facts: None,
        })
    }

    fn closing(&self) -> Option<ClosingStatus> {
        let state = self.state();
        let State { facts, ends } = &*state;
        Some(ClosingStatus {
            name: String::new(),
            watermark: (facts.closed.0 > i64::MIN)
                .then(|| Timestamp(facts.closed.0.saturating_add(self.delay))),
            open_batches: ends.len(),
            late: facts.late,
        })
    }
}

/// `Invalid` if a page does not go on from `last` in the order of ends: then a scan could miss what is to be closed.
fn check_order<K: Key>(last: Option<&Open<K>>, page: &[(Open<K>, ())]) -> Result<()> {
    let ends: Vec<Timestamp> = last
        .into_iter()
        .chain(page.iter().map(|(open, ())| open))
        .map(|open| open.end)
        .collect();
    match ends.windows(2).find(|pair| pair[0] > pair[1]) {
        None => Ok(()),
        Some(pair) => {
            let text = format!(
                "the store of a closing must scan in the order of its keys: give a store that keeps them in order \
                 end={} next_end={}",
                pair[0], pair[1]
            );
            Err(Error::new(ErrorKind::Invalid, text))
        }
    }
}

fn lost(end: Timestamp) -> Error {
    let text = format!(
        "the sum of a key whose batch is open is not in the sum's store: keep sums until their batch is closed end={end}"
    );
    Error::new(ErrorKind::Corrupt, text)
}
