//! One bound over what all doors hold in memory, shared fairly among datasets.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use event::DatasetName;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Bytes that bodies and batches without an ack may take. Clones share everything.
///
/// A dataset gets room when it then holds no more than is left free for the others; one that holds nothing gets any
/// room that there is. So one dataset that floods gets half, two a third each, *n* get `1 / (n + 1)` each, and as
/// much stays free for those that are calm. The rule is that of dynamic thresholds (Choudhury and Hahne, "Dynamic
/// queue length thresholds for shared-memory packet switches", IEEE/ACM Transactions on Networking 6(2), 1998), with
/// α = 1.
#[derive(Clone)]
pub(crate) struct Memory {
    shared: Arc<Shared>,
}

struct Shared {
    bytes_max: usize,
    held: Mutex<Held>,
    freed: Notify,
}

#[derive(Default)]
struct Held {
    total: usize,
    by_dataset: HashMap<DatasetName, usize>,
}

/// Room that is taken; dropping it gives it back.
pub(crate) struct Room {
    memory: Memory,
    dataset: DatasetName,
    bytes: usize,
}

impl Memory {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let shared = Shared {
            bytes_max,
            held: Mutex::default(),
            freed: Notify::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Room now, or none.
    pub(crate) fn try_take(&self, dataset: &DatasetName, bytes: usize) -> Option<Room> {
        let mut held = self.held();
        let free = self.shared.bytes_max.saturating_sub(held.total);
        let own = held.by_dataset.get(dataset).copied().unwrap_or(0);
        let is_fair = own == 0 || own + bytes <= free.saturating_sub(bytes);
        if bytes > free || !is_fair {
            return None;
        }
        held.total += bytes;
        *held.by_dataset.entry(dataset.clone()).or_default() += bytes;
        Some(Room {
            memory: self.clone(),
            dataset: dataset.clone(),
            bytes,
        })
    }

    /// Room as soon as there is, or none when there was none for so long.
    pub(crate) async fn take(&self, dataset: &DatasetName, bytes: usize, patience: Duration) -> Option<Room> {
        let until = Instant::now() + patience;
        loop {
            let mut freed = std::pin::pin!(self.shared.freed.notified());
            // From here on, room that is given back wakes.
            freed.as_mut().enable();
            if let Some(room) = self.try_take(dataset, bytes) {
                return Some(room);
            }
            tokio::time::timeout_at(until, freed).await.ok()?;
        }
    }

    /// Bytes that are taken now.
    pub(crate) fn bytes(&self) -> usize {
        self.held().total
    }

    pub(crate) fn bytes_max(&self) -> usize {
        self.shared.bytes_max
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.shared.held.lock().expect("no holder of the lock panics")
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut held = self.memory.held();
        held.total -= self.bytes;
        if let Some(own) = held.by_dataset.get_mut(&self.dataset) {
            *own -= self.bytes;
            if *own == 0 {
                held.by_dataset.remove(&self.dataset);
            }
        }
        drop(held);
        self.memory.shared.freed.notify_waiters();
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room")
            .field("dataset", &self.dataset)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: usize) -> DatasetName {
        format!("d{n}").parse().unwrap()
    }

    /// Takes until there is no more.
    fn flood(memory: &Memory, dataset: usize, bytes: usize) -> Vec<Room> {
        std::iter::from_fn(|| memory.try_take(&name(dataset), bytes)).collect()
    }

    #[test]
    fn those_that_flood_get_equal_shares_and_as_much_stays_free() {
        for count in 1..10 {
            let memory = Memory::new(1_000_000);
            let mut rooms = Vec::new();
            // In turns, and first come, first served while there is plenty: the end is the same for each.
            for _ in 0..1_000 {
                for dataset in 0..count {
                    rooms.extend(memory.try_take(&name(dataset), 1_000));
                }
            }
            let share = 1_000_000 / (count + 1);
            for own in memory.held().by_dataset.values() {
                assert!(own.abs_diff(share) <= 2_000, "{count}: {own}");
            }
            let free = memory.bytes_max() - memory.bytes();
            assert!(free.abs_diff(share) <= 1_000 * (count + 1), "{count}: {free}");
            drop(rooms);
            assert_eq!(memory.bytes(), 0);
            assert!(memory.held().by_dataset.is_empty());
        }
    }

    #[test]
    fn a_calm_dataset_is_never_refused_beside_one_that_floods() {
        let memory = Memory::new(1 << 20);
        let mut flood = flood(&memory, 0, 1 << 10);
        for round in 0..10_000 {
            let calm = memory.try_take(&name(1), 100 << 10).expect("refused");
            drop(calm);
            // The flood takes all it can get again.
            flood.swap_remove(round % flood.len());
            flood.extend(std::iter::from_fn(|| memory.try_take(&name(0), 1 << 10)));
        }
    }

    #[test]
    fn whoever_holds_nothing_may_take_all_there_is_and_no_more() {
        let memory = Memory::new(100);
        assert!(memory.try_take(&name(0), 101).is_none());
        let all = memory.try_take(&name(0), 100).unwrap();
        assert!(memory.try_take(&name(1), 1).is_none());
        drop(all);
        assert!(memory.try_take(&name(1), 100).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_with_room_or_with_patience() {
        let memory = Memory::new(100);
        let all = memory.try_take(&name(0), 100).unwrap();
        let patience = Duration::from_secs(5);
        let begun = Instant::now();
        assert!(memory.take(&name(1), 10, patience).await.is_none());
        assert_eq!(begun.elapsed(), patience);
        let waiting = [1, 2].map(|dataset| {
            let memory = memory.clone();
            tokio::spawn(async move { memory.take(&name(dataset), 10, patience).await })
        });
        tokio::task::yield_now().await;
        drop(all);
        for waiting in waiting {
            assert!(waiting.await.unwrap().is_some());
        }
    }
}
