//! Micro-batches of a dataset's job.

use warehouse::{AutoOptions, Costs, InsertMode};

use super::*;

const HOUR: InsertMode = InsertMode::MicroBatch {
    window: Duration::from_secs(3_600),
};

async fn gathering(folder: &Path, window: InsertMode) -> Arc<Warehouse> {
    let options = WarehouseOptions {
        flush_age: Duration::from_secs(3_600),
        insert_mode: window,
        ..WarehouseOptions::new(folder)
    };
    Arc::new(Warehouse::open(options).await.unwrap())
}

fn rows_of(warehouse: &Warehouse, table: &str) -> (u64, u64) {
    let version = warehouse.table(table).unwrap().version();
    let hot = version.hot.iter().map(|rows| rows.num_rows() as u64).sum();
    (version.files.iter().map(|file| file.rows).sum(), hot)
}

/// Five numbers and a line that is none.
fn mixed(sequence: u64) -> Batch {
    let mut batch = numbers(1, sequence, 0..5);
    batch.payload = [&batch.payload[..], b"\nnot JSON"].concat().into();
    batch.header.events = 6;
    batch
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_a_window_wait_in_the_queue_and_are_one_commit() {
    let folder = tempfile::tempdir().unwrap();
    let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(1));
    let warehouse = gathering(folder.path(), HOUR).await;
    let processor = processor(&queue, &warehouse);
    // The first batch after a quiet time does not wait.
    queue.append(mixed(0)).await.unwrap();
    processor
        .visible(&dataset(), Partition(0), Offset(0))
        .await
        .unwrap();
    let commits = |table: &str| warehouse.table(table).unwrap().stats().flushes;
    assert_eq!(
        (rows_of(&warehouse, "d"), rows_of(&warehouse, "d$failed")),
        ((5, 0), (1, 0))
    );
    assert_eq!((commits("d"), commits("d$failed")), (1, 1));
    for sequence in 1..40 {
        queue.append(mixed(sequence)).await.unwrap();
    }
    let name = dataset();
    let waits = processor.visible(&name, Partition(0), Offset(39));
    assert!(
        tokio::time::timeout(Duration::from_millis(50), waits)
            .await
            .is_err()
    );
    assert_eq!(
        warehouse.table("d").unwrap().stats().rows_taken,
        5,
        "nothing was read"
    );

    processor.caught_up().await;
    processor
        .visible(&dataset(), Partition(0), Offset(39))
        .await
        .unwrap();
    assert_eq!(
        (rows_of(&warehouse, "d"), rows_of(&warehouse, "d$failed")),
        ((200, 0), (40, 0))
    );
    assert_eq!((commits("d"), commits("d$failed")), (2, 2));
    assert_eq!(processor.committed(&dataset()), Some(vec![Offset(40)]));

    // While a window is open the mode changes: what waits is read at once.
    queue.append(mixed(40)).await.unwrap();
    warehouse
        .table("d")
        .unwrap()
        .set_insert_mode(InsertMode::Streaming);
    let mut rejects = warehouse.table("d$failed").unwrap().insert_window();
    rejects.wait_for(Option::is_none).await.unwrap();
    processor
        .visible(&dataset(), Partition(0), Offset(40))
        .await
        .unwrap();
    assert_eq!(rows_of(&warehouse, "d"), (200, 5));
    let status = processor.status().remove(0);
    assert_eq!(status.insert.unwrap().window, None);
    processor.stop().await;
    warehouse.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_end_by_themselves_and_each_batch_is_stored_once_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(1));
    let window = InsertMode::MicroBatch {
        window: Duration::from_millis(40),
    };
    for life in 0..4 {
        let warehouse = gathering(folder.path(), window.clone()).await;
        let processor = processor(&queue, &warehouse);
        let mut ends = Vec::new();
        for round in 0..5 {
            for emitter in 1..4 {
                let kept = queue
                    .append(numbers(emitter, life * 5 + round, 0..7))
                    .await
                    .unwrap();
                ends.push(kept.offset.unwrap());
            }
        }
        for offset in ends {
            processor.visible(&dataset(), Partition(0), offset).await.unwrap();
        }
        assert_eq!(rows_of(&warehouse, "d"), ((life + 1) * 105, 0));
        assert_eq!(processor.status()[0].last_error, None);
        // Else dropped, as by a crash.
        processor.stop().await;
        if life % 2 == 0 {
            warehouse.close().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_is_decided_by_what_the_job_sees() {
    let folder = tempfile::tempdir().unwrap();
    let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(1));
    // Commits are all that costs something here, so a window is cheaper.
    let auto = AutoOptions {
        hold: Duration::ZERO,
        ..AutoOptions::new(Costs {
            streaming_row: Duration::ZERO,
            micro_batch_row: Duration::ZERO,
            commit: Duration::from_millis(10),
            streaming_commit_age: Duration::from_secs(1),
        })
    };
    let warehouse = gathering(folder.path(), InsertMode::Auto(auto)).await;
    let processor = processor(&queue, &warehouse);
    queue.append(mixed(0)).await.unwrap();
    let name = dataset();
    processor.visible(&name, Partition(0), Offset(0)).await.unwrap();
    for table in ["d", "d$failed"] {
        let mut window = warehouse.table(table).unwrap().insert_window();
        window.wait_for(Option::is_some).await.unwrap();
    }
    let insert = processor.status().remove(0).insert.unwrap();
    assert_eq!(insert.changes, 1);
    assert_eq!(insert.window, Some(Duration::from_secs(60)));
    // The batch was received long ago, so streaming seems late; or that has not been seen yet.
    let reasons = ["streaming does not keep up", "micro-batches are cheaper"];
    assert!(
        reasons.iter().any(|reason| insert.reason.starts_with(reason)),
        "{insert:?}"
    );
    // One for the window that begins, one that waits in it.
    for sequence in 1..3 {
        queue.append(mixed(sequence)).await.unwrap();
    }
    processor.caught_up().await;
    processor.visible(&name, Partition(0), Offset(2)).await.unwrap();
    let (files, hot) = rows_of(&warehouse, "d");
    assert_eq!(files + hot, 15);
    processor.stop().await;
    warehouse.close().await.unwrap();
}
