//! A table's life with a fault at every operation on storage.

use std::collections::BTreeSet;

use futures::StreamExt;
use object_store::memory::InMemory;

use super::faulty::Moment;
use super::maintenance::{MINUTE, at_once, quiet, rest};
use super::*;
use crate::{DeleteOptions, Result, Vacuum};

/// A table's life in steps; each may fail and is then done again, in the same process or after a crash.
struct Life {
    store: Arc<Faulty>,
    options: WarehouseOptions,
    crash: bool,
    warehouse: Warehouse,
    table: Arc<Table>,
    expected: BTreeSet<i64>,
    next: i64,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Append(i64),
    Flush,
    Compact,
    Delete(i64),
    Expire,
    Vacuum,
}

impl Life {
    async fn open(store: Arc<Faulty>, options: WarehouseOptions, crash: bool) -> Self {
        let warehouse = Warehouse::open_in(store.clone(), &options).await.unwrap();
        let table = warehouse.create("wiki", dataset()).await.unwrap();
        Self {
            store,
            options,
            crash,
            warehouse,
            table,
            expected: BTreeSet::new(),
            next: 0,
        }
    }

    fn rows(ids: Range<i64>) -> RecordBatch {
        rows_at(ids.map(|id| (id, DAY + id * MINUTE)))
    }

    /// The time that leaves only the first hour out.
    fn age() -> Duration {
        let now = jiff::Timestamp::now().as_microsecond();
        Duration::from_micros((now - (DAY + HOUR)) as u64)
    }

    async fn run(&mut self, step: Step) {
        let after = self.after(step);
        loop {
            let result: Result<()> = match step {
                Step::Append(count) => {
                    let ids = self.next..self.next + count;
                    self.next = ids.end;
                    let progress = progress(ids.end as u64);
                    self.table.append(vec![Self::rows(ids)], &progress).await
                }
                Step::Flush => self.table.flush().await,
                Step::Compact => self.table.compact().await.map(drop),
                Step::Delete(of) => {
                    let deleted = self.table.delete(DeleteOptions::new("step"), rest(7, of)).await;
                    deleted.map(drop)
                }
                Step::Expire => self.table.expire(Self::age()).await.map(drop),
                Step::Vacuum => self.table.vacuum(Vacuum::Now).await.map(drop),
            };
            let seen = self.seen().await;
            if result.is_ok() {
                assert_eq!(seen, after, "{step:?}");
                self.expected = after;
                return;
            }
            assert!(seen == self.expected || seen == after, "{step:?} is half done");
            if self.crash {
                self.reopen(&after).await;
            }
        }
    }

    /// What is there when a step is done.
    fn after(&self, step: Step) -> BTreeSet<i64> {
        let mut after = self.expected.clone();
        match step {
            Step::Append(count) => after.extend(self.next..self.next + count),
            Step::Delete(of) => after.retain(|id| id % 7 != of),
            Step::Expire => after.retain(|id| *id >= 60),
            Step::Flush | Step::Compact | Step::Vacuum => {}
        }
        after
    }

    /// Reads without the counting of operations.
    async fn seen(&self) -> BTreeSet<i64> {
        let version = self.table.version();
        let mut seen = ids(&version.hot);
        for file in version.files.iter() {
            seen.extend(ids(&read(self.store.behind().as_ref(), &file.path).await));
        }
        let unique: BTreeSet<i64> = seen.iter().copied().collect();
        assert_eq!(unique.len(), seen.len(), "a row twice");
        unique
    }

    /// Comes back from the disk; what was hot comes from the queue again.
    async fn reopen(&mut self, after: &BTreeSet<i64>) {
        self.warehouse = loop {
            if let Ok(warehouse) = Warehouse::open_in(self.store.clone(), &self.options).await {
                break warehouse;
            }
        };
        self.table = self.warehouse.table("wiki").unwrap();
        let from = self
            .table
            .durable_progress()
            .map_or(0, |durable| durable.of("wiki/0")) as i64;
        let again = Self::rows(from..self.next);
        let progress = progress(self.next as u64);
        self.table.append(vec![again], &progress).await.unwrap();
        let seen = self.seen().await;
        assert!(
            seen == self.expected || seen == *after,
            "a crash leaves half of it"
        );
    }
}

/// Runs a life with a fault, and then what makes it whole; gives the number of operations.
async fn live(options: WarehouseOptions, (operation, moment): (u64, Moment), crash: bool) -> u64 {
    use Step::{Append, Compact, Delete, Expire, Flush, Vacuum};
    let steps = [
        Append(50),
        Flush,
        Append(50),
        Flush,
        Append(5),
        Compact,
        Flush,
        Delete(3),
        Append(20),
        Compact,
        Expire,
        Vacuum,
        Append(5),
        Delete(4),
        Vacuum,
    ];
    let store = Arc::new(Faulty::over(Arc::new(InMemory::new())));
    let mut life = Life::open(store.clone(), options, crash).await;
    store.fail_at(operation, moment);
    for step in steps {
        life.run(step).await;
    }
    let operations = store.operations();
    store.fail_at(u64::MAX, Moment::Before);
    life.run(Flush).await;
    life.run(Vacuum).await;
    let expected = life.expected.clone();
    life.reopen(&expected).await;
    life.run(Vacuum).await;
    let stored = store.behind().list(None).filter_map(|object| async move {
        let path = object.unwrap().location;
        (!path.as_ref().contains("_delta_log")).then_some(path)
    });
    assert_eq!(
        stored.count().await,
        life.table.version().files.len(),
        "orphans are left"
    );
    operations
}

/// Every operation on storage fails, before it has happened or after (and then storage is away for a while), and the
/// process lives on or crashes.
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_at_any_operation_leaves_each_row_once() {
    let folder = tempfile::tempdir().unwrap();
    let options = quiet(at_once(), &folder);
    let operations = live(options.clone(), (u64::MAX, Moment::Before), false).await;
    assert!(operations > 50, "the steps are operations on storage");
    // Each way for every fourth operation, and every operation one way.
    let lives = (0..operations).map(|operation| {
        let moment = if operation % 2 == 0 {
            Moment::After
        } else {
            Moment::Before
        };
        tokio::spawn(live(options.clone(), (operation, moment), operation % 4 < 2))
    });
    futures::stream::iter(lives)
        .for_each_concurrent(4, |life| async {
            life.await.unwrap();
        })
        .await;
}
