//! The meaning of a job: each node is the vector of all its elements.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::counter::counting;
use crate::platform::{DeltaFn, FlatMapFn, JoinedSum, KeyFn, Summed, Timed};
use crate::{Counts, Element, Joined, Key, NodeInfo, PlanOptions, Platform, Result, Tail, Value};

/// The platform that other platforms are compared with: one thread, plain vectors and maps, nothing clever.
///
/// A store keeps its values from run to run; a sink is appended to.
pub enum Memory {}

impl Memory {
    /// Runs a job over all of its sources; gives what its functions have counted. Panics if one of them does.
    pub fn run(tail: &impl Tail<Self>) -> Counts {
        Self::run_with(tail, &PlanOptions::default()).expect("a job without options can be planned")
    }

    /// As [`run`](Self::run). Options of nodes are checked; there is nothing here that they could change.
    ///
    /// # Errors
    /// `Invalid` as for [`Tail::lower`].
    pub fn run_with(tail: &impl Tail<Self>, options: &PlanOptions) -> Result<Counts> {
        let mut counts = Counts::new();
        counting(&mut counts, || tail.lower(&mut (), options))?;
        Ok(counts)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Platform for Memory {
    type Source<T: Element> = Vec<Timed<T>>;
    type Store<K: Key, V: Value> = Arc<Mutex<BTreeMap<K, V>>>;
    type Sink<T: Element> = Arc<Mutex<Vec<Timed<T>>>>;
    type Service<K: Key, V: Element> = BTreeMap<K, V>;
    type Stream<T: Element> = Arc<Vec<Timed<T>>>;
    type Plan = ();

    fn source<T: Element>(_: &mut (), _: &NodeInfo, source: &Vec<Timed<T>>) -> Arc<Vec<Timed<T>>> {
        Arc::new(source.clone())
    }

    fn flat_map<T: Element, U: Element>(
        _: &mut (),
        _: &NodeInfo,
        input: Self::Stream<T>,
        function: &FlatMapFn<T, U>,
    ) -> Self::Stream<U> {
        let mut output = Vec::new();
        for (time, item) in input.iter() {
            function(*time, item.clone(), &mut |out| output.push((*time, out)));
        }
        Arc::new(output)
    }

    fn merge<T: Element>(_: &mut (), _: &NodeInfo, sides: Vec<Self::Stream<T>>) -> Self::Stream<T> {
        Arc::new(sides.iter().flat_map(|side| side.iter().cloned()).collect())
    }

    fn lookup<T: Element, K: Key, V: Element>(
        _: &mut (),
        _: &NodeInfo,
        input: Self::Stream<T>,
        key: &KeyFn<T, K>,
        service: &BTreeMap<K, V>,
    ) -> Self::Stream<(T, Option<V>)> {
        let find = |item: &T| service.get(&key(item)).cloned();
        Arc::new(
            input
                .iter()
                .map(|(time, item)| (*time, (item.clone(), find(item))))
                .collect(),
        )
    }

    fn sum_by_key<K: Key, V: Value>(
        _: &mut (),
        _: &NodeInfo,
        input: Self::Stream<(K, V)>,
        store: &Self::Store<K, V>,
    ) -> Self::Stream<Summed<K, V>> {
        let mut store = lock(store);
        let mut output = Vec::new();
        for (time, (key, delta)) in input.iter().cloned() {
            let before = store.get(&key).cloned();
            let after = plus(before.clone(), delta.clone());
            store.insert(key.clone(), after);
            output.push((time, (key, (before, delta))));
        }
        Arc::new(output)
    }

    fn left_join_sum<K: Key, V: Element, J: Value>(
        _: &mut (),
        _: &NodeInfo,
        left: Self::Stream<(K, V)>,
        sum: JoinedSum<'_, Self, K, J>,
    ) -> Self::Stream<Joined<K, V, J>> {
        // The sum is done: what it began with is the first value before, or what is in the store still.
        let mut sums = BTreeMap::<&K, (Option<J>, Vec<Timed<J>>)>::new();
        for (time, (key, (before, delta))) in sum.changes.iter() {
            let (_, deltas) = sums.entry(key).or_insert_with(|| (before.clone(), Vec::new()));
            deltas.push((*time, delta.clone()));
        }
        sums.values_mut()
            .for_each(|(_, deltas)| deltas.sort_by_key(|(time, _)| *time));
        let store = lock(sum.store);
        let find = |until, key: &K| match sums.get(key) {
            None => store.get(key).cloned(),
            Some((start, deltas)) => deltas
                .iter()
                .take_while(|(time, _)| *time < until)
                .fold(start.clone(), |sum, (_, delta)| Some(plus(sum, delta.clone()))),
        };
        let pairs = left.iter().cloned();
        Arc::new(
            pairs
                .map(|(time, (key, value))| (time, (key.clone(), (value, find(time, &key)))))
                .collect(),
        )
    }

    fn left_join_and_sum<K: Key, V: Element, J: Value>(
        _: &mut (),
        _: &NodeInfo,
        input: Self::Stream<(K, V)>,
        store: &Self::Store<K, J>,
        function: &DeltaFn<V, J>,
    ) -> Self::Stream<Joined<K, V, J>> {
        let mut store = lock(store);
        let mut places: Vec<usize> = (0..input.len()).collect();
        places.sort_by_key(|place| input[*place].0);
        let mut found = vec![None; input.len()];
        for instant in places.chunk_by(|a, b| input[*a].0 == input[*b].0) {
            let mut deltas = Vec::new();
            for place in instant {
                let (_, (key, value)) = &input[*place];
                found[*place] = store.get(key).cloned();
                function(value.clone(), found[*place].clone(), &mut |delta| {
                    deltas.push((key.clone(), delta))
                });
            }
            for (key, delta) in deltas {
                let after = plus(store.get(&key).cloned(), delta);
                store.insert(key, after);
            }
        }
        let pairs = input.iter().cloned().zip(found);
        Arc::new(
            pairs
                .map(|((time, (key, value)), found)| (time, (key, (value, found))))
                .collect(),
        )
    }

    fn write<T: Element>(
        _: &mut (),
        _: &NodeInfo,
        input: Self::Stream<T>,
        sink: &Self::Sink<T>,
    ) -> Self::Stream<T> {
        lock(sink).extend(input.iter().cloned());
        input
    }
}

/// `before ⊕ delta`; the delta alone when there is nothing before.
pub(crate) fn plus<V: Value>(before: Option<V>, delta: V) -> V {
    match before {
        None => delta,
        Some(mut value) => {
            value.plus(delta);
            value
        }
    }
}
