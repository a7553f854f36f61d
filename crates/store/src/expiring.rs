//! A store in memory whose values end by themselves: the meaning of [`Expiring`].

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;

use crate::{Answers, Cache, Clock, Expiring, Key, Readable, Ttl, Value};

/// A map whose values end by `clock`: checked at each read. What has ended takes memory until the next write.
pub struct ExpiringMemory<K, V, C>(Mutex<Ttl<K, V, C>>);

impl<K: Key, V: Value, C: Clock> ExpiringMemory<K, V, C> {
    /// An empty store.
    pub fn new(clock: C) -> Self {
        Self(Mutex::new(Ttl::new(usize::MAX, Duration::MAX, clock)))
    }

    fn kept(&self) -> MutexGuard<'_, Ttl<K, V, C>> {
        self.0
            .lock()
            .expect("nothing but a key's or value's own code can panic while it holds the lock")
    }
}

#[async_trait]
impl<K: Key, V: Value, C: Clock> Readable<K, V> for ExpiringMemory<K, V, C> {
    async fn get_each(&self, keys: &[K]) -> Answers<Option<V>> {
        let mut kept = self.kept();
        keys.iter().map(|key| Ok(kept.get(key))).collect()
    }
}

#[async_trait]
impl<K: Key, V: Value, C: Clock> Expiring<K, V> for ExpiringMemory<K, V, C> {
    async fn put_each_for(&self, writes: Vec<(K, V)>, ttl: Duration) -> Answers<()> {
        let mut kept = self.kept();
        let put = |(key, value)| {
            kept.put_for(key, value, ttl);
            Ok(())
        };
        writes.into_iter().map(put).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn laws() {
        crate::laws::expiring::<u64, String, _>(async |clock| Arc::new(ExpiringMemory::new(clock))).await;
    }
}
