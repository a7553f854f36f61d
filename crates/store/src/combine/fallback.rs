//! Two stores, of which the second one is asked for what the first one does not have or does not answer.

use async_trait::async_trait;

use crate::ports::complete;
use crate::{Answers, Key, Readable, Result, Value};

/// The value of the first store that has the key.
///
/// A key that fails in the first one fails: the second one's value might not be the right one. See [`OrElse`].
pub struct FirstPresent<A, B>(A, B);

impl<A, B> FirstPresent<A, B> {
    /// `first`, and `second` for the keys that are absent there.
    pub fn new(first: A, second: B) -> Self {
        Self(first, second)
    }
}

/// The first store's answer, or the second one's for keys that **failed** in the first: a copy for when the first one
/// cannot be reached. A key that is absent in the first one is absent.
pub struct OrElse<A, B>(A, B);

impl<A, B> OrElse<A, B> {
    /// `first`, and `second` for the keys that fail there.
    pub fn new(first: A, second: B) -> Self {
        Self(first, second)
    }
}

#[async_trait]
impl<K: Key, V: Value, A: Readable<K, V>, B: Readable<K, V>> Readable<K, V> for FirstPresent<A, B> {
    async fn get_each(&self, keys: &[K]) -> Answers<Option<V>> {
        let first = self.0.get_each(keys).await;
        second_for(&self.1, keys, first, |answer| matches!(answer, Ok(None))).await
    }
}

#[async_trait]
impl<K: Key, V: Value, A: Readable<K, V>, B: Readable<K, V>> Readable<K, V> for OrElse<A, B> {
    async fn get_each(&self, keys: &[K]) -> Answers<Option<V>> {
        let first = self.0.get_each(keys).await;
        second_for(&self.1, keys, first, Result::is_err).await
    }
}

/// The first answers, with the second store's in place of those that are `open`; it is asked for these alone.
async fn second_for<K: Key, V: Value>(
    second: &impl Readable<K, V>,
    keys: &[K],
    first: Answers<Option<V>>,
    open: fn(&Result<Option<V>>) -> bool,
) -> Answers<Option<V>> {
    let mut answers = complete(keys.len(), first);
    let places: Vec<usize> = (0..keys.len()).filter(|place| open(&answers[*place])).collect();
    if places.is_empty() {
        return answers;
    }
    let asked: Vec<K> = places.iter().map(|place| keys[*place].clone()).collect();
    let others = complete(asked.len(), second.get_each(&asked).await);
    for (place, other) in places.into_iter().zip(others) {
        answers[place] = other;
    }
    answers
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::laws::{self, Fault, Faulty};
    use crate::{ErrorKind, MemoryStore, StoreExt};

    type Memory = MemoryStore<u64, u64>;

    #[tokio::test]
    async fn laws() {
        laws::readable::<u64, u64, _>(async |pairs| {
            let (old, new): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(key, _)| key % 3 == 0);
            // What both have, the first one answers.
            let under = old.into_iter().chain(new.iter().map(|(key, _)| (*key, 7_777)));
            Arc::new(Memory::from_iter(new.clone()).first_present(Memory::from_iter(under)))
        })
        .await;
        laws::readable::<u64, u64, _>(async |pairs| {
            let dead = Faulty::new(Memory::new(), (0..100).map(|call| (call, Fault::Before)));
            Arc::new(dead.or_else(Memory::from_iter(pairs)))
        })
        .await;
    }

    #[tokio::test]
    async fn a_failure_is_not_taken_for_absence() {
        let old = || Memory::from_iter([(1, 10), (2, 20)]);
        let failing = || Faulty::new(Memory::from_iter([(1, 11)]), [(0, Fault::Before)]);
        let first = failing().first_present(old());
        assert_eq!(
            first.get_each(&[1]).await[0].as_ref().unwrap_err().kind(),
            ErrorKind::Retry
        );
        let both: Vec<_> = first
            .get_each(&[1, 2, 3])
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert_eq!(both, [Some(11), Some(20), None]);
        let or_else = failing().or_else(old());
        assert_eq!(or_else.get_each(&[1]).await[0].clone().unwrap(), Some(10));
        let first: Vec<_> = or_else
            .get_each(&[1, 2])
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert_eq!(first, [Some(11), None], "absence is an answer");
    }

    #[tokio::test]
    async fn the_second_is_asked_for_what_is_open_alone() {
        let second = Arc::new(Faulty::new(Memory::new(), []));
        let store = Memory::from_iter([(1, 10)]).first_present(second.clone());
        drop(store.get_each(&[1, 1]).await);
        assert_eq!(second.calls(), 0);
        drop(store.get_each(&[1, 2]).await);
        assert_eq!(second.calls(), 1);
    }
}
