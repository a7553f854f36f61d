//! Producers of pairs: what changes keys or values only, projections, joins, and the stream of sums.

use super::{Producer, SumByKey, Written};
use crate::graph::NodeKind;
use crate::memory::plus;
use crate::platform::Platform;
use crate::{BatchId, Batcher, Element, Hopping, Key, Timestamp, Value};

impl<P: Platform, T: Element> Producer<P, T> {
    /// Each element under its key.
    pub fn key_by<K: Element>(&self, key: impl Fn(&T) -> K + Send + Sync + 'static) -> Producer<P, (K, T)> {
        self.map(move |item| (key(&item), item))
    }
}

impl<P: Platform, K: Element, V: Element> Producer<P, (K, V)> {
    /// The keys alone.
    pub fn keys(&self) -> Producer<P, K> {
        self.map(|(key, _)| key)
    }

    /// The values alone.
    pub fn values(&self) -> Producer<P, V> {
        self.map(|(_, value)| value)
    }

    /// The value as the key, and the key as the value.
    pub fn swap(&self) -> Producer<P, (V, K)> {
        self.map(|(key, value)| (value, key))
    }

    /// Each key becomes one; the value stays.
    pub fn map_keys<L: Element>(&self, f: impl Fn(K) -> L + Send + Sync + 'static) -> Producer<P, (L, V)> {
        self.flat_map_keys(move |key| Some(f(key)))
    }

    /// Each key becomes any number, each with the value.
    pub fn flat_map_keys<L: Element, I: IntoIterator<Item = L>>(
        &self,
        f: impl Fn(K) -> I + Send + Sync + 'static,
    ) -> Producer<P, (L, V)> {
        self.then(
            NodeKind::FlatMapKeys,
            move |_, (key, value), emit: &mut dyn FnMut((L, V))| {
                f(key).into_iter().for_each(|key| emit((key, value.clone())));
            },
        )
    }

    /// Each value becomes one; the key stays, and a planner knows it.
    pub fn map_values<W: Element>(&self, f: impl Fn(V) -> W + Send + Sync + 'static) -> Producer<P, (K, W)> {
        self.then(
            NodeKind::FlatMapValues,
            move |_, (key, value), emit: &mut dyn FnMut((K, W))| emit((key, f(value))),
        )
    }

    /// Each value becomes any number, each with the key, and a planner knows that the key stays.
    pub fn flat_map_values<W: Element, I: IntoIterator<Item = W>>(
        &self,
        f: impl Fn(V) -> I + Send + Sync + 'static,
    ) -> Producer<P, (K, W)> {
        self.then(
            NodeKind::FlatMapValues,
            move |_, (key, value), emit: &mut dyn FnMut((K, W))| {
                f(value).into_iter().for_each(|value| emit((key.clone(), value)));
            },
        )
    }

    /// Each key with the batch of its element's event time: sums by it are sums by key and batch.
    pub fn batched(&self, batcher: Batcher) -> Producer<P, ((K, BatchId), V)> {
        self.then(NodeKind::FlatMapKeys, move |time, (key, value), emit| {
            emit(((key, batcher.batch_of(time)), value));
        })
    }

    /// Each key with the start of each window that its element's event time is in: sums by it are sums by key and window.
    pub fn windowed(&self, windows: Hopping) -> Producer<P, ((K, Timestamp), V)> {
        self.then(NodeKind::FlatMapKeys, move |time, (key, value): (K, V), emit| {
            for start in windows.starts_of(time) {
                emit(((key.clone(), start), value.clone()));
            }
        })
    }

    /// Keeps the pairs for whose key `f` holds.
    pub fn filter_keys(&self, f: impl Fn(&K) -> bool + Send + Sync + 'static) -> Self {
        self.filter(move |(key, _)| f(key))
    }

    /// Keeps the pairs for whose value `f` holds.
    pub fn filter_values(&self, f: impl Fn(&V) -> bool + Send + Sync + 'static) -> Self {
        self.filter(move |(_, value)| f(value))
    }
}

impl<P: Platform, K: Key, V: Element> Producer<P, (K, V)> {
    /// Each pair with the value that `service` has for its key, if it has one: `(key, (value, joined))`.
    ///
    /// A service that changes is asked once an epoch and key, and, after a crash, again.
    pub fn left_join<J: Element>(&self, service: P::Service<K, J>) -> Producer<P, (K, (V, Option<J>))> {
        self.lookup_by(|(key, _)| key.clone(), service)
            .map(|((key, value), joined)| (key, (value, joined)))
    }
}

impl<P: Platform, K: Key, V: Value> Producer<P, (K, V)> {
    /// Adds each value to its key's value in `store`, in order; emits `(key, (true value before, delta))`.
    /// A platform may join successive values of a key to one delta.
    pub fn sum_by_key(&self, store: P::Store<K, V>) -> SumByKey<P, K, V> {
        SumByKey::new(self, store)
    }

    /// As [`sum_by_key`](Self::sum_by_key), and emits each key's updated sum: `(key, before ⊕ delta)`.
    pub fn scan_by_key(&self, store: P::Store<K, V>) -> Written<P, (K, V)> {
        Written(
            self.sum_by_key(store)
                .map(|(key, (before, delta))| (key, plus(before, delta))),
        )
    }
}
