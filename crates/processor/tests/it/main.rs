//! Jobs of datasets over a queue in memory and a warehouse on disk.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod chain;
mod isolation;
mod pace;
mod replay;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use event::wire::Position;
use event::{Batch, BatchHeader, BatchKey, DatasetName, EmitterId, Encoding, Epoch, Sequence};
use flow::{JobOptions, Source};
use jiff::Timestamp;
use processor::{Processor, ProcessorOptions, QueueSource, ScaleOptions};
use queue::{MemoryQueue, Offset, Partition, Queue};
use store::Progress;
use warehouse::{MaintenanceOptions, Vacuum, Warehouse, WarehouseOptions};

fn dataset() -> DatasetName {
    "d".parse().unwrap()
}

/// A batch with the numbers of a range, from one of several emitters.
fn numbers(emitter: u128, sequence: u64, range: std::ops::Range<i64>) -> Batch {
    let lines: Vec<String> = range.clone().map(|n| format!("{{\"n\":{n}}}")).collect();
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    Batch {
        dataset: dataset(),
        header: BatchHeader {
            key: BatchKey {
                emitter: EmitterId(uuid::Uuid::from_u128(emitter)),
                epoch: Epoch(0),
                sequence: Sequence(sequence),
            },
            events: range.count() as u32,
            encoding: Encoding::Ndjson,
            generated_at: now,
            received_at: now,
        },
        payload: lines.join("\n").into(),
    }
}

async fn warehouse(folder: &Path) -> Arc<Warehouse> {
    // Only the test flushes, merges and vacuums, and nothing is kept for its age.
    let options = WarehouseOptions {
        flush_age: Duration::from_secs(3600),
        maintenance: MaintenanceOptions {
            every: None,
            compact_files: 2,
            vacuum_after: Duration::ZERO,
            ..MaintenanceOptions::default()
        },
        ..WarehouseOptions::new(folder)
    };
    Arc::new(Warehouse::open(options).await.unwrap())
}

fn processor(queue: &Arc<dyn Queue>, warehouse: &Arc<Warehouse>) -> Processor {
    Processor::start(ProcessorOptions {
        queue: queue.clone(),
        warehouse: warehouse.clone(),
        settings: Arc::new(|_| event::DatasetSettings::default()),
        chains: Arc::new(|_| Ok(processor::Chain::default())),
        plain: None,
        job: JobOptions::default(),
        scale: ScaleOptions::default(),
        clock: Arc::new(Timestamp::now),
    })
}

fn n(rows: &[RecordBatch]) -> Vec<i64> {
    let column = |rows: &RecordBatch| {
        rows.column_by_name("n")
            .unwrap()
            .as_primitive::<Int64Type>()
            .values()
            .to_vec()
    };
    rows.iter().flat_map(column).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_gives_history_and_live_rows_once_from_wherever_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(3));
    let warehouse = warehouse(folder.path()).await;
    let processor = processor(&queue, &warehouse);
    let mut sent = 0;
    let mut sequences = [0u64; 4];
    // Readers that begin at different moments, each with where it stands and what it got.
    let mut readers: Vec<(Option<Position>, Vec<i64>)> = Vec::new();
    for round in 0..12usize {
        for (emitter, sequence) in sequences.iter_mut().enumerate() {
            queue
                .append(numbers(emitter as u128 + 1, *sequence, sent..sent + 5))
                .await
                .unwrap();
            *sequence += 1;
            sent += 5;
        }
        if round % 3 == 1 {
            processor.caught_up().await;
            warehouse.table("d").unwrap().flush().await.unwrap();
        }
        readers.push((None, Vec::new()));
        for (index, (position, got)) in readers.iter_mut().enumerate() {
            let mut stream = processor
                .stream(dataset(), position.take(), None, false)
                .await
                .unwrap();
            // Some stop in the middle and go on from their position in the next round.
            let slices_max = if (index + round) % 2 == 0 { 2 } else { usize::MAX };
            let mut slices = 0;
            while let Some((rows, next)) = if slices < slices_max {
                stream.next().await.unwrap()
            } else {
                None
            } {
                got.extend(n(&rows));
                *position = Some(next);
                slices += 1;
            }
        }
    }
    for (position, mut got) in readers {
        let mut stream = processor.stream(dataset(), position, None, false).await.unwrap();
        while let Some((rows, _)) = stream.next().await.unwrap() {
            got.extend(n(&rows));
        }
        got.sort_unstable();
        assert_eq!(got, (0..sent).collect::<Vec<_>>());
    }
    processor.stop().await;
    warehouse.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_reads_files_that_were_merged_since_and_one_that_comes_back_too_late_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(1));
    let warehouse = warehouse(folder.path()).await;
    let processor = processor(&queue, &warehouse);
    for sequence in 0..6 {
        let first = sequence as i64 * 5;
        queue
            .append(numbers(1, sequence, first..first + 5))
            .await
            .unwrap();
        processor.caught_up().await;
        warehouse.table("d").unwrap().flush().await.unwrap();
    }
    let table = warehouse.table("d").unwrap();
    let mut stream = processor.stream(dataset(), None, None, false).await.unwrap();
    let (rows, position) = stream.next().await.unwrap().unwrap();
    let mut got = n(&rows);
    assert_eq!(table.compact().await.unwrap(), 1);
    assert_eq!(table.vacuum(Vacuum::Now).await.unwrap().left, 6);
    while let Some((rows, _)) = stream.next().await.unwrap() {
        got.extend(n(&rows));
    }
    assert_eq!(got, (0..30).collect::<Vec<_>>());
    drop(stream);

    let mut again = processor.stream(dataset(), None, None, false).await.unwrap();
    let mut got = Vec::new();
    while let Some((rows, _)) = again.next().await.unwrap() {
        got.extend(n(&rows));
    }
    assert_eq!(got, (0..30).collect::<Vec<_>>(), "merged rows keep their order");
    assert_eq!(table.vacuum(Vacuum::Due).await.unwrap().files, 6);
    let mut late = processor
        .stream(dataset(), Some(position), None, false)
        .await
        .unwrap();
    let error = late.next().await.unwrap_err();
    assert_eq!(error.kind(), processor::ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("read the table again"), "{error}");
    processor.stop().await;
    warehouse.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_starts_again_stores_each_batch_once() {
    let folder = tempfile::tempdir().unwrap();
    let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(2));
    for life in 0..4 {
        let warehouse = warehouse(folder.path()).await;
        let processor = processor(&queue, &warehouse);
        for emitter in 1..4 {
            queue.append(numbers(emitter, life, 0..7)).await.unwrap();
        }
        processor.caught_up().await;
        let rows: u64 = {
            let version = warehouse.table("d").unwrap().version();
            version.files.iter().map(|file| file.rows).sum::<u64>()
                + version.hot.iter().map(|rows| rows.num_rows() as u64).sum::<u64>()
        };
        assert_eq!(rows, (life + 1) * 21);
        let status = processor.status();
        assert_eq!(status.len(), 1);
        assert_eq!(status[0].last_error, None);
        processor.stop().await;
        if life % 2 == 0 {
            warehouse.close().await.unwrap();
        } // else: dropped as by a crash, and the hot tail with it
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_visible_when_its_rows_and_its_rejects_are() {
    let folder = tempfile::tempdir().unwrap();
    let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(1));
    let warehouse = warehouse(folder.path()).await;
    let processor = processor(&queue, &warehouse);
    let visible = |offset| {
        let (processor, dataset) = (processor.clone(), dataset());
        async move { processor.visible(&dataset, Partition(0), Offset(offset)).await }
    };
    let unknown = visible(0).await.unwrap_err();
    assert_eq!(unknown.kind(), processor::ErrorKind::NotFound);
    let hot_rows = |table: &str| {
        let version = warehouse.table(table).unwrap().version();
        version.hot.iter().map(RecordBatch::num_rows).sum::<usize>()
    };
    for round in 0..20u64 {
        let mut batch = numbers(1, round, 0..2);
        batch.payload = [&batch.payload[..], b"\nnot JSON"].concat().into();
        batch.header.events = 3;
        let offset = queue.append(batch).await.unwrap().offset.unwrap();
        visible(offset.0).await.unwrap();
        assert_eq!(hot_rows("d"), 2 * (round as usize + 1));
        assert_eq!(hot_rows("d$failed"), round as usize + 1);
    }
    let next = tokio::time::timeout(Duration::from_millis(50), visible(20)).await;
    assert!(next.is_err(), "nobody has sent it");
    processor.stop().await;
}

#[tokio::test]
async fn a_source_ends_where_it_is_told_and_waits_where_it_is_not() {
    let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(1));
    for sequence in 0..3 {
        queue.append(numbers(1, sequence, 0..1)).await.unwrap();
    }
    let source = QueueSource::new(queue.clone(), dataset());
    let until = Progress::from_iter([("0", 2)]);
    let slices = source
        .read(&Progress::default(), Some(&until), 1 << 20)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((slices[0].next, slices[0].items.len()), (2, 2));
    assert!(
        source
            .read(&until, Some(&until), 1 << 20)
            .await
            .unwrap()
            .is_none()
    );
    let end = source.end();
    assert_eq!(end, Progress::from_iter([("0", 3)]));
    let waiting = source.read(&end, None, 1 << 20);
    queue.append(numbers(1, 3, 0..1)).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap()[0].next, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_both_tables_have_in_files_is_committed_and_open_streams_say_where_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(1));
    let warehouse = warehouse(folder.path()).await;
    let processor = processor(&queue, &warehouse);
    assert_eq!(processor.committed(&dataset()), None);
    for sequence in 0..3 {
        queue.append(numbers(1, sequence, 0..5)).await.unwrap();
    }
    processor.caught_up().await;
    assert_eq!(processor.committed(&dataset()), Some(vec![Offset(0)]), "hot only");
    warehouse.table("d").unwrap().flush().await.unwrap();
    let committed = processor.committed(&dataset());
    assert_eq!(committed, Some(vec![Offset(0)]), "rejects are behind");
    // The table of rejects gets its progress after that of the rows.
    let mut failed = warehouse.table("d$failed").unwrap().changes();
    let end = Progress::from_iter([("0", 3)]);
    failed
        .wait_for(|version| version.progress.covers(&end))
        .await
        .unwrap();
    warehouse.table("d$failed").unwrap().flush().await.unwrap();
    assert_eq!(processor.committed(&dataset()), Some(vec![Offset(3)]));

    assert_eq!(processor.streamed(&dataset()), None);
    let from = Some(Position::from([("0".to_owned(), 1)]));
    let mut stream = processor.stream(dataset(), from, None, false).await.unwrap();
    assert_eq!(processor.streamed(&dataset()), Some(vec![Offset(1)]));
    while let Some((_, position)) = stream.next().await.unwrap() {
        let at = position["0"];
        let streamed = processor.streamed(&dataset()).unwrap();
        assert!(
            streamed[0] < Offset(at),
            "what was given last may not have arrived"
        );
    }
    assert_eq!(processor.streamed(&dataset()), Some(vec![Offset(3)]));
    drop(stream);
    assert_eq!(processor.streamed(&dataset()), None);
    processor.stop().await;
    warehouse.close().await.unwrap();
}
