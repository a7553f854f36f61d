//! The small ports beside [`Store`]: what a caller needs of a store, one ability each, batch calls only.
//!
//! Each answers **key by key**: an answer for each key asked, in order, present, absent or failed. A call that
//! fails as a whole is that failure for each of its keys. The same key may come twice in one call.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{EmbeddedStore, Error, ErrorKind, MemoryStore, Result, Store, Typed};

/// The answers to a call, one for each key asked, in order.
pub type Answers<T> = Vec<Result<T>>;

/// What combinators ask of a key.
pub trait Key: Ord + Clone + Send + Sync + 'static {}
impl<T: Ord + Clone + Send + Sync + 'static> Key for T {}

/// What combinators ask of a value.
pub trait Value: Clone + Send + Sync + 'static {}
impl<T: Clone + Send + Sync + 'static> Value for T {}

/// Key → value, to read. Laws: [`laws::readable`](crate::laws::readable).
///
/// Every [`Store`] is one: as `dyn Store<K, V>`, and so as `Arc<dyn Store<K, V>>`. (Its `multi_get` answers
/// as a whole; this one key by key, hence another name.)
#[async_trait]
pub trait Readable<K, V>: Send + Sync {
    /// The value of each key, in the order of the keys: `Ok(Some(_))` present, `Ok(None)` absent, `Err(_)` failed,
    /// which says nothing about the others.
    async fn get_each(&self, keys: &[K]) -> Answers<Option<V>>;
}

/// Key → value, to write. Laws: [`laws::writable`](crate::laws::writable).
#[async_trait]
pub trait Writable<K, V>: Send + Sync {
    /// Sets each key to its value; `None` removes it. Of several writes to one key the last one counts.
    ///
    /// A write that failed may have happened: doing it again does no harm.
    async fn put_each(&self, writes: Vec<(K, Option<V>)>) -> Answers<()>;
}

/// Key → sum, to add to. Laws: [`laws::mergeable`](crate::laws::mergeable), also with concurrent callers.
#[async_trait]
pub trait Mergeable<K, V>: Send + Sync {
    /// `value ← value ⊕ delta` for each delta, atomic for each key; an absent key becomes the delta. Answers with
    /// the true value *before* each, so the merges of a key form a chain: each before is the last before ⊕ its
    /// delta. Deltas of one key in a call are merged in their order.
    ///
    /// A merge that failed did **not** happen, except with [`Doubt`](crate::ErrorKind::Doubt): then nobody knows.
    async fn merge_each(&self, deltas: Vec<(K, V)>) -> Answers<Option<V>>;
}

/// Key → value, to walk through. Laws: [`laws::iterable`](crate::laws::iterable).
#[async_trait]
pub trait Iterable<K, V>: Send + Sync {
    /// Up to `limit` pairs after the key `after` (from the start if `None`), in the store's key order; fewer only
    /// at the end.
    async fn page(&self, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>>;
}

/// Key → value that ends by itself. Laws: [`laws::expiring`](crate::laws::expiring).
#[async_trait]
pub trait Expiring<K, V>: Send + Sync {
    /// Sets each key to its value, which is absent again for readers once `ttl` has passed.
    async fn put_each_for(&self, writes: Vec<(K, V)>, ttl: Duration) -> Answers<()>;
}

/// Question → value: what is answered from more than one key, as [`Ranges`](crate::Ranges) does.
#[async_trait]
pub trait Queryable<Q, V>: Send + Sync {
    /// The answer to each question, in the order of the questions; each may fail by itself.
    async fn query_each(&self, questions: &[Q]) -> Answers<V>;
}

/// The failure of a whole call as the answer to each of its keys.
pub(crate) fn all_failed<T>(asked: usize, error: &Error) -> Answers<T> {
    (0..asked).map(|_| Err(error.clone())).collect()
}

/// The answers of a backend, made as many as were asked: one that gives another number than it was asked for
/// answered nothing.
pub(crate) fn complete<T>(asked: usize, answers: Answers<T>) -> Answers<T> {
    if answers.len() == asked {
        return answers;
    }
    let text = "a store gave another number of answers than it was asked for: mend its backend, which store::laws \
                shows";
    let error = Error::new(
        ErrorKind::Corrupt,
        format!("{text} asked={asked} answered={}", answers.len()),
    );
    all_failed(asked, &error)
}

/// Parts of a call of which some failed before they could be asked.
pub(crate) struct Parts(Vec<Option<Error>>);

impl Parts {
    /// What is to be asked, and how to answer the whole call.
    pub(crate) fn of<T>(parts: impl IntoIterator<Item = Result<T>>) -> (Vec<T>, Self) {
        let mut asked = Vec::new();
        let note = |part| match part {
            Ok(part) => {
                asked.push(part);
                None
            }
            Err(error) => Some(error),
        };
        let failed = parts.into_iter().map(note).collect();
        (asked, Self(failed))
    }

    /// The answers in their places.
    pub(crate) fn answers<T>(self, answers: Answers<T>) -> Answers<T> {
        let asked = self.0.iter().filter(|failed| failed.is_none()).count();
        let mut answers = complete(asked, answers).into_iter();
        let answer = |failed: Option<Error>| match failed {
            Some(error) => Err(error),
            None => answers.next().expect("as many as were asked, see above"),
        };
        self.0.into_iter().map(answer).collect()
    }
}

fn each_key<T>(asked: usize, whole: Result<Vec<T>>) -> Answers<T> {
    match whole {
        Ok(values) => complete(asked, values.into_iter().map(Ok).collect()),
        Err(error) => all_failed(asked, &error),
    }
}

/// A store, read key by key and walked through.
macro_rules! reads_of_a_store {
    ([$($params:tt)*] $key:ty, $value:ty, $store:ty) => {
        #[async_trait]
        impl<$($params)*> Readable<$key, $value> for $store {
            async fn get_each(&self, keys: &[$key]) -> Answers<Option<$value>> {
                each_key(keys.len(), Store::multi_get(self, keys).await)
            }
        }

        #[async_trait]
        impl<$($params)*> Iterable<$key, $value> for $store {
            async fn page(&self, after: Option<&$key>, limit: usize) -> Result<Vec<($key, $value)>> {
                Store::scan(self, after, limit).await
            }
        }
    };
}

reads_of_a_store!([K: Send + Sync, V: Send + Sync] K, V, dyn Store<K, V> + '_);
reads_of_a_store!([K: Ord + Hash + Clone + Send + Sync + 'static, V: Clone + Send + Sync + 'static]
    K, V, MemoryStore<K, V>);
reads_of_a_store!([K: Serialize + DeserializeOwned + Send + Sync, V: Serialize + DeserializeOwned + Send + Sync]
    K, V, Typed<K, V>);
reads_of_a_store!([] Bytes, Bytes, EmbeddedStore);

#[async_trait]
impl<K: Send + Sync + 'static, V: Send + 'static, S: Readable<K, V> + ?Sized> Readable<K, V> for Arc<S> {
    async fn get_each(&self, keys: &[K]) -> Answers<Option<V>> {
        (**self).get_each(keys).await
    }
}

#[async_trait]
impl<K: Send + Sync + 'static, V: Send + 'static, S: Iterable<K, V> + ?Sized> Iterable<K, V> for Arc<S> {
    async fn page(&self, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>> {
        (**self).page(after, limit).await
    }
}

#[async_trait]
impl<K: Send + Sync + 'static, V: Send + 'static, S: Writable<K, V> + ?Sized> Writable<K, V> for Arc<S> {
    async fn put_each(&self, writes: Vec<(K, Option<V>)>) -> Answers<()> {
        (**self).put_each(writes).await
    }
}

#[async_trait]
impl<K: Send + Sync + 'static, V: Send + 'static, S: Mergeable<K, V> + ?Sized> Mergeable<K, V> for Arc<S> {
    async fn merge_each(&self, deltas: Vec<(K, V)>) -> Answers<Option<V>> {
        (**self).merge_each(deltas).await
    }
}

#[async_trait]
impl<Q: Send + Sync + 'static, V: Send + 'static, S: Queryable<Q, V> + ?Sized> Queryable<Q, V> for Arc<S> {
    async fn query_each(&self, questions: &[Q]) -> Answers<V> {
        (**self).query_each(questions).await
    }
}

#[async_trait]
impl<K: Send + Sync + 'static, V: Send + 'static, S: Expiring<K, V> + ?Sized> Expiring<K, V> for Arc<S> {
    async fn put_each_for(&self, writes: Vec<(K, V)>, ttl: Duration) -> Answers<()> {
        (**self).put_each_for(writes, ttl).await
    }
}
