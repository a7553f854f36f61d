//! Joins with sums of the same job: the store has what was before the epoch, the slot what this epoch adds.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::calls::Calls;
use super::plan::Outlet;
use super::slots::{Gathered, Held, Sums};
use super::stage::{Barrier, Stepped, typed};
use super::work::Run;
use crate::memory::plus;
use crate::platform::{DeltaFn, Timed};
use crate::{Element, Joined, Key, Result, Timestamp, Value};

/// What an epoch has for a join: its pairs, and one delta for each key and time.
pub(super) struct Sides<K, V, J> {
    pub(super) left: Vec<Timed<(K, V)>>,
    pub(super) deltas: Sums<(K, Timestamp), J>,
}

impl<K, V, J> Default for Sides<K, V, J> {
    fn default() -> Self {
        Self {
            left: Vec::new(),
            deltas: Sums::default(),
        }
    }
}

impl<K: Key, V: Element, J: Value> Gathered for Sides<K, V, J> {
    fn append(&mut self, later: Self) {
        Gathered::append(&mut self.left, later.left);
        Gathered::append(&mut self.deltas, later.deltas);
    }
}

/// What is done with one key: its pairs and its deltas, by time.
struct Lane<J> {
    /// Times and places of the pairs.
    pairs: Vec<(Timestamp, usize)>,
    deltas: Vec<(Timestamp, J)>,
}

type Lanes<K, J> = IndexMap<K, Lane<J>, RandomState>;

/// The keys of the pairs, each with its pairs in order of time, those of one time as they came.
fn lanes<K: Key, V, J>(left: &[Timed<(K, V)>]) -> Lanes<K, J> {
    let mut lanes = Lanes::<K, J>::default();
    for (place, (time, (key, _))) in left.iter().enumerate() {
        let new = || Lane {
            pairs: Vec::new(),
            deltas: Vec::new(),
        };
        let lane = match lanes.get_mut(key) {
            Some(lane) => lane,
            None => lanes.entry(key.clone()).or_insert_with(new),
        };
        lane.pairs.push((*time, place));
    }
    lanes.values_mut().for_each(|lane| lane.pairs.sort());
    lanes
}

/// The value of each lane before the epoch.
async fn befores<K: Key, J: Value>(
    store: &Arc<dyn store::Store<K, J>>,
    calls: &Calls,
    lanes: Lanes<K, J>,
) -> Result<Vec<(K, Lane<J>, Option<J>)>> {
    let (keys, lanes): (Vec<K>, Vec<Lane<J>>) = lanes.into_iter().unzip();
    let befores = calls.ask(&keys, |keys| store.multi_get(keys)).await?;
    let lanes = keys.into_iter().zip(lanes).zip(befores);
    Ok(lanes.map(|((key, lane), before)| (key, lane, before)).collect())
}

/// The pairs, each with what was found at its place.
fn joined<K: Key, V: Element, J: Value>(
    left: Vec<Timed<(K, V)>>,
    found: Vec<Option<J>>,
    outlet: &Outlet<Joined<K, V, J>>,
) -> Run<Joined<K, V, J>> {
    let pairs = left.into_iter().zip(found);
    let pairs = pairs.map(|((time, (key, value)), found)| (time, (key, (value, found))));
    Run::new(pairs.collect(), outlet)
}

/// A join with a sum that does not depend on it.
pub(super) struct JoinStage<K, V, J: Element> {
    pub(super) store: Arc<dyn store::Store<K, J>>,
    pub(super) calls: Calls,
    pub(super) outlet: Arc<Outlet<Joined<K, V, J>>>,
}

#[async_trait]
impl<K: Key, V: Element, J: Value> Barrier for JoinStage<K, V, J> {
    async fn step(&self, input: Held) -> Result<Stepped> {
        let Sides { left, deltas }: Sides<K, V, J> = typed(input);
        let mut lanes = lanes(&left);
        for ((key, time), (delta, _)) in deltas.0 {
            if let Some(lane) = lanes.get_mut(&key) {
                lane.deltas.push((time, delta));
            }
        }
        let mut found = vec![None; left.len()];
        for (_, mut lane, before) in befores(&self.store, &self.calls, lanes).await? {
            lane.deltas.sort_unstable_by_key(|(time, _)| *time);
            let (mut sum, mut deltas) = (before, lane.deltas.into_iter().peekable());
            for (time, place) in lane.pairs {
                while let Some((_, delta)) = deltas.next_if(|(at, _)| *at < time) {
                    sum = Some(plus(sum, delta));
                }
                found[place] = sum.clone();
            }
        }
        Ok(Stepped {
            taken: left.len(),
            output: None,
            work: Some(Box::new(joined(left, found, &self.outlet))),
        })
    }
}

/// A join with the sum that it adds to.
pub(super) struct JoinSumStage<K, V, J: Element> {
    pub(super) store: Arc<dyn store::Store<K, J>>,
    pub(super) calls: Calls,
    pub(super) function: DeltaFn<V, J>,
    pub(super) outlet: Arc<Outlet<Joined<K, V, J>>>,
}

#[async_trait]
impl<K: Key, V: Element, J: Value> Barrier for JoinSumStage<K, V, J> {
    async fn step(&self, input: Held) -> Result<Stepped> {
        let left: Vec<Timed<(K, V)>> = typed(input);
        let mut found = vec![None; left.len()];
        let mut writes = Vec::<(K, Option<J>)>::new();
        for (key, lane, before) in befores(&self.store, &self.calls, lanes(&left)).await? {
            let (mut sum, mut deltas) = (before, Vec::new());
            for instant in lane.pairs.chunk_by(|(time, _), (other, _)| time == other) {
                for (_, place) in instant {
                    let (_, (_, value)) = &left[*place];
                    (self.function)(value.clone(), sum.clone(), &mut |delta| deltas.push(delta));
                    found[*place] = sum.clone();
                }
                for delta in deltas.drain(..) {
                    sum = Some(plus(sum, delta));
                }
            }
            writes.extend(sum.map(|sum| (key, Some(sum))));
        }
        Ok(Stepped {
            taken: left.len(),
            output: Some(Box::new(writes) as Box<dyn Any + Send>),
            work: Some(Box::new(joined(left, found, &self.outlet))),
        })
    }
}
