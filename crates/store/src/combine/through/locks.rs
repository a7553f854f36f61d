//! Locks by key.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::OwnedMutexGuard;

use crate::Key;

/// A lock for each key that is held or waited for, and no other.
pub(super) struct KeyLocks<K>(Mutex<BTreeMap<K, Arc<tokio::sync::Mutex<()>>>>);

impl<K> Default for KeyLocks<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// Keys that are held until this is dropped.
pub(super) struct Locked<'a, K: Key> {
    locks: &'a KeyLocks<K>,
    held: Vec<(K, Option<OwnedMutexGuard<()>>)>,
}

impl<K: Key> KeyLocks<K> {
    /// Waits for all of the keys. They are taken in their order, so that two callers cannot wait for each other.
    pub(super) async fn lock(&self, keys: &[K]) -> Locked<'_, K> {
        let mut keys: Vec<&K> = keys.iter().collect();
        keys.sort_unstable();
        keys.dedup();
        let mut locked = Locked {
            locks: self,
            held: Vec::with_capacity(keys.len()),
        };
        for key in keys {
            let lock = self.map().entry(key.clone()).or_default().clone();
            // Noted before it is waited for, so that a call dropped while it waits tidies up too.
            locked.held.push((key.clone(), None));
            let guard = lock.lock_owned().await;
            if let Some((_, held)) = locked.held.last_mut() {
                *held = Some(guard);
            }
        }
        locked
    }

    fn map(&self) -> MutexGuard<'_, BTreeMap<K, Arc<tokio::sync::Mutex<()>>>> {
        self.0
            .lock()
            .expect("nothing but a key's own code can panic while it holds the lock")
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.map().is_empty()
    }
}

impl<K: Key> Drop for Locked<'_, K> {
    fn drop(&mut self) {
        let mut map = self.locks.map();
        for (key, guard) in self.held.drain(..) {
            drop(guard);
            // New handles are made under the lock of the map alone: so a single one is the map's own.
            if map.get(&key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
                map.remove(&key);
            }
        }
    }
}
