//! The laws of [`Store`] as a suite that each backend runs:
//!
//! ```
//! # tokio::runtime::Builder::new_multi_thread().build().unwrap().block_on(async {
//! use std::sync::Arc;
//! store::laws::check::<u64, String, _>(async || Arc::new(store::MemoryStore::new())).await;
//! # });
//! ```
//!
//! The small ports have theirs: [`readable`], [`writable`], [`mergeable`], [`iterable`], [`expiring`]; and
//! [`crash_points`] loses each call to a store in turn under a [`Mergeable`](crate::Mergeable) that stands on it.
//!
//! What it cannot check in one process, survival of a crash, each durable backend tests by itself.

mod adding;
mod atomic;
mod crash;
mod faulty;
mod iterable;
mod mergeable;
mod readable;
mod values;
mod writable;

pub use adding::adding;
pub use crash::crash_points;
pub use faulty::{Fault, Faulty};
pub use iterable::iterable;
pub use mergeable::mergeable;
pub use readable::readable;
pub use writable::{expiring, writable};

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Commit, ErrorKind, Progress, Readable, Result, Store};

/// A type of keys or values that the suite can make.
pub trait Sample: Clone + Debug + PartialEq + Send + Sync + 'static {
    /// The `n`-th value; different numbers give different values.
    fn sample(n: u64) -> Self;
}

impl Sample for u64 {
    fn sample(n: u64) -> Self {
        n
    }
}

impl Sample for i64 {
    fn sample(n: u64) -> Self {
        -(n as i64)
    }
}

impl Sample for String {
    fn sample(n: u64) -> Self {
        format!("\"n\"/ä {n}")
    }
}

/// The number's bytes without leading zeros, so that 0 is the empty key and value.
impl Sample for Bytes {
    fn sample(n: u64) -> Self {
        n.to_be_bytes()
            .into_iter()
            .skip_while(|byte| *byte == 0)
            .collect()
    }
}

/// Checks every law on stores that `make` opens: each call must give a new, empty one.
///
/// # Panics
/// When a law does not hold; the text names it. Run it in a multi-threaded runtime: some laws are about races.
pub async fn check<K: Sample, V: Sample, S: Store<K, V> + ?Sized + 'static>(make: impl AsyncFn() -> Arc<S>) {
    values::empty(&*make().await).await;
    values::read_your_commit(&*make().await).await;
    values::order_of_multi_get(&*make().await).await;
    values::last_write_wins(&*make().await).await;
    values::removal(&*make().await).await;
    atomic::fenced(&*make().await).await;
    atomic::progress_alone(&*make().await).await;
    values::scan(&*make().await).await;
    values::like_its_twin(&*make().await).await;
    atomic::one_of_two_writers(make().await).await;
    atomic::all_or_nothing(make().await).await;
}

fn at(offset: u64) -> Progress {
    Progress::from_iter([("0", offset), ("part/1", offset * 2)])
}

/// Writes by number, from progress number `from` (0 is none) to `to`.
fn step<K: Sample, V: Sample>(writes: &[(u64, Option<u64>)], from: u64, to: u64) -> Commit<K, V> {
    let write = |(key, value): &(u64, Option<u64>)| (K::sample(*key), value.map(V::sample));
    let expected = (from > 0).then(|| at(from));
    Commit {
        writes: writes.iter().map(write).collect(),
        expected,
        progress: at(to),
    }
}

/// Chance without a dependency, the same at each run: xorshift (Marsaglia, 2003).
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        Self(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) % end
    }
}

/// The values of keys by number, from a port that answers key by key.
async fn read<K: Sample, V: Sample>(store: &(impl Readable<K, V> + ?Sized), keys: &[u64]) -> Vec<Option<V>> {
    let keys: Vec<K> = keys.iter().map(|key| K::sample(*key)).collect();
    let answers = store.get_each(&keys).await;
    assert_eq!(answers.len(), keys.len(), "an answer for each key asked");
    answers
        .into_iter()
        .map(|answer| answer.expect("get_each answers"))
        .collect()
}

async fn get<K: Sample, V: Sample>(store: &(impl Store<K, V> + ?Sized), keys: &[u64]) -> Vec<Option<V>> {
    let keys: Vec<K> = keys.iter().map(|key| K::sample(*key)).collect();
    store.multi_get(&keys).await.expect("multi_get answers")
}

fn values<V: Sample>(values: &[Option<u64>]) -> Vec<Option<V>> {
    values.iter().map(|value| value.map(V::sample)).collect()
}

async fn progress<K, V>(store: &(impl Store<K, V> + ?Sized)) -> Option<Progress> {
    store.progress().await.expect("progress answers")
}

fn is_conflict(result: Result<()>) -> bool {
    result.is_err_and(|error| error.kind() == ErrorKind::Conflict)
}

#[cfg(test)]
mod tests;
