//! Tables from end to end, with storage that fails on demand.

mod faults;
mod faulty;
mod insert;
mod maintenance;
mod model;
mod older;
mod plain;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Fields, Int64Type, SchemaRef};
use event::{DatasetSchema, SystemColumn};
use flow::Sink;
use futures::FutureExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use store::Progress;
use tempfile::TempDir;

use self::faulty::{Fault, Faulty};
use crate::table::Due;
use crate::{ErrorKind, MaintenanceOptions, Table, Version, Warehouse, WarehouseOptions};

const HOUR: i64 = 3_600_000_000;
/// 2015-09-12T00:00:00Z, µs.
const DAY: i64 = 1_442_016_000_000_000;

fn options(folder: &TempDir) -> WarehouseOptions {
    WarehouseOptions {
        flush_age: Duration::from_secs(3_600),
        maintenance: MaintenanceOptions {
            every: None,
            ..MaintenanceOptions::default()
        },
        ..WarehouseOptions::new(folder.path())
    }
}

fn dataset() -> Arc<DatasetSchema> {
    let schema = DatasetSchema::empty();
    schema.grow(|_| {
        vec![
            Arc::new(Field::new("id", DataType::Int64, true)),
            Arc::new(Field::new("text", DataType::Utf8View, true)),
        ]
    });
    Arc::new(schema)
}

/// A row per id, ten seconds of event time apart.
fn rows(ids: Range<i64>) -> RecordBatch {
    rows_at(ids.map(|id| (id, DAY + id * 10_000_000)))
}

fn rows_at(rows: impl Iterator<Item = (i64, i64)>) -> RecordBatch {
    let (ids, times): (Vec<i64>, Vec<i64>) = rows.unzip();
    let len = ids.len();
    let time = |times: Vec<i64>| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))
    };
    let text: StringViewArray = ids
        .iter()
        .map(|id| Some(format!("the text of the row {id}")))
        .collect();
    let columns: Vec<ArrayRef> = vec![
        time(vec![DAY; len]),
        time(vec![DAY; len]),
        time(times),
        Arc::new(StringViewArray::from(vec!["an emitter"; len])),
        Arc::new(Int64Array::from(vec![0; len])),
        Arc::new(StringViewArray::new_null(len)),
        Arc::new(Int64Array::from(ids)),
        Arc::new(text),
    ];
    RecordBatch::try_new(dataset().table(), columns).unwrap()
}

fn progress(next: u64) -> Progress {
    Progress::from_iter([("wiki/0", next)])
}

async fn append(table: &Table, ids: Range<i64>) {
    let next = ids.end as u64;
    table.append(vec![rows(ids)], &progress(next)).await.unwrap();
}

async fn read(store: &dyn ObjectStore, path: &Path) -> Vec<RecordBatch> {
    let body = store.get(path).await.unwrap().bytes().await.unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(body)
        .unwrap()
        .build()
        .unwrap();
    reader.map(Result::unwrap).collect()
}

/// All rows of a version with its columns: those of the files, then the hot ones.
async fn all(table: &Table, version: &Version) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    for file in version.files.iter() {
        let group = table.read_row_group(file, 0, 7).await.unwrap().unwrap();
        assert_eq!(
            group.iter().map(|batch| batch.num_rows() as u64).sum::<u64>(),
            file.rows
        );
        assert!(
            group
                .iter()
                .all(|batch| batch.num_rows() <= 7 && batch.schema() == table.schema())
        );
        assert_eq!(table.read_row_group(file, 1, 7).await.unwrap(), None);
        let rows = read(table.store().as_ref(), &file.path).await;
        assert_eq!(
            rows.iter().map(|batch| batch.num_rows() as u64).sum::<u64>(),
            file.rows
        );
        batches.extend(
            rows.iter()
                .map(|batch| event::conform(batch, &version.schema).unwrap()),
        );
    }
    batches.extend(version.hot.iter().cloned());
    assert!(batches.iter().all(|batch| batch.schema() == version.schema));
    batches
}

fn ids(batches: &[RecordBatch]) -> Vec<i64> {
    let id = |batch: &RecordBatch| {
        batch
            .column_by_name("id")
            .unwrap()
            .as_primitive::<Int64Type>()
            .values()
            .to_vec()
    };
    let mut ids: Vec<i64> = batches.iter().flat_map(id).collect();
    ids.sort_unstable();
    ids
}

async fn check_ids(table: &Table, expected: Range<i64>) {
    let version = table.version();
    assert_eq!(ids(&all(table, &version).await), expected.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_see_each_row_once_while_rows_become_files() {
    const ROWS_MIN: i64 = 8_000;
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(options(&folder)).await.unwrap();
    let table = warehouse.create("wiki", dataset()).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));

    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (table, done) = (table.clone(), done.clone());
            tokio::spawn(async move {
                let (mut seen, mut cached, mut turns) = (0, HashMap::new(), 0u64);
                loop {
                    let last_turn = done.load(Ordering::Acquire);
                    let version = table.version();
                    let mut in_version = ids(&version.hot);
                    for file in version.files.iter() {
                        if !cached.contains_key(&file.path) {
                            cached.insert(
                                file.path.clone(),
                                ids(&read(table.store().as_ref(), &file.path).await),
                            );
                        }
                        in_version.extend(&cached[&file.path]);
                    }
                    let count = in_version.len() as i64;
                    assert_eq!(version.progress.of("wiki/0"), count as u64);
                    assert_eq!(in_version.iter().sum::<i64>(), count * (count - 1) / 2);
                    assert!(count >= seen, "rows vanished");
                    (seen, turns) = (count, turns + 1);
                    if last_turn {
                        return (count, turns);
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let flusher = {
        let (table, done) = (table.clone(), done.clone());
        tokio::spawn(async move {
            while !done.load(Ordering::Acquire) {
                table.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
        })
    };
    let (mut next, mut step) = (0, 1);
    while next < ROWS_MIN || table.stats().flushes < 5 {
        let batch = rows_at((next..next + step).map(|id| (id, DAY + id * 1_000_000)));
        next += step;
        table.append(vec![batch], &progress(next as u64)).await.unwrap();
        tokio::task::yield_now().await;
        step = step % 97 + 1;
    }
    done.store(true, Ordering::Release);
    flusher.await.unwrap();
    for reader in readers {
        let (count, turns) = reader.await.unwrap();
        assert_eq!(count, next);
        assert!(turns > 1);
    }
    let stats = table.stats();
    assert_eq!(stats.hot_rows + stats.file_rows, next as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reopened_table_has_what_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    {
        let warehouse = Warehouse::open(options(&folder)).await.unwrap();
        let table = warehouse.create("wiki", dataset()).await.unwrap();
        assert_eq!(table.durable_progress(), None);
        append(&table, 0..500).await;
        table.flush().await.unwrap();
        append(&table, 500..700).await;
        assert_eq!(table.durable_progress(), Some(progress(500)));
        check_ids(&table, 0..700).await;
    }
    let warehouse = Warehouse::open(options(&folder)).await.unwrap();
    let table = warehouse.table("wiki").unwrap();
    assert_eq!(table.durable_progress(), Some(progress(500)));
    assert_eq!(table.version().progress, progress(500));
    check_ids(&table, 0..500).await;
    // Made again under its name it is the same table, with the columns of the log.
    let made = warehouse
        .create("wiki", Arc::new(DatasetSchema::empty()))
        .await
        .unwrap();
    assert!(Arc::ptr_eq(&made, &table));
    assert_eq!(table.dataset_schema().unwrap().table(), dataset().table());

    append(&table, 500..800).await;
    warehouse.close().await.unwrap();
    let refused = table.append(vec![], &progress(801)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    let warehouse = Warehouse::open(options(&folder)).await.unwrap();
    check_ids(&warehouse.table("wiki").unwrap(), 0..800).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_after_reopening_are_those_before() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(options(&folder)).await.unwrap();
    let table = warehouse.create("wiki", dataset()).await.unwrap();
    for start in 0..60 {
        append(&table, start * 10..start * 10 + 10).await;
        table.flush().await.unwrap();
    }
    let before = table.version();
    drop(warehouse);
    let checkpoint = folder.path().join("wiki/_delta_log/_last_checkpoint");
    assert!(checkpoint.exists(), "60 commits make a checkpoint");
    let warehouse = Warehouse::open(options(&folder)).await.unwrap();
    let after = warehouse.table("wiki").unwrap().version();
    assert_eq!(
        (&after.files, after.delta_version),
        (&before.files, before.delta_version)
    );
    assert_eq!(after.progress, before.progress);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_grow_in_hot_and_cold_rows() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(options(&folder)).await.unwrap();
    let schema = dataset();
    schema.grow(|own| {
        let payload = Field::new("payload", DataType::Struct(Fields::from(vec![number("a")])), true);
        own.iter().cloned().chain([Arc::new(payload)]).collect()
    });
    let table = warehouse.create("wiki", schema.clone()).await.unwrap();
    append(&table, 0..10).await;
    table.flush().await.unwrap();
    let id = table_id(&folder);
    append(&table, 10..20).await;

    // A new column, and a new field of a struct.
    let grown = schema.grow(|own| {
        let payload = DataType::Struct(Fields::from(vec![number("a"), number("b")]));
        let mut own = own.to_vec();
        *own.last_mut().unwrap() = Arc::new(Field::new("payload", payload, true));
        own.push(Arc::new(number("extra")));
        own
    });
    let inner: ArrayRef = Arc::new(Int64Array::from_iter_values(20..30));
    let payload = StructArray::from(vec![(Arc::new(number("b")), inner.clone())]);
    let old = rows(20..30);
    let fields: Vec<_> = old
        .schema()
        .fields()
        .iter()
        .cloned()
        .chain([
            Arc::new(Field::new("payload", payload.data_type().clone(), true)),
            Arc::new(number("extra")),
        ])
        .collect();
    let columns = old
        .columns()
        .iter()
        .cloned()
        .chain([Arc::new(payload) as ArrayRef, inner])
        .collect();
    let batch = RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns).unwrap();
    table.append(vec![batch], &progress(30)).await.unwrap();

    for _ in 0..2 {
        let version = table.version();
        assert_eq!(version.schema, grown);
        let batches = all(&table, &version).await;
        assert_eq!(ids(&batches), (0..30).collect::<Vec<_>>());
        let extra = batches
            .iter()
            .map(|batch| batch.column_by_name("extra").unwrap().null_count())
            .sum::<usize>();
        let b = |batch: &RecordBatch| {
            let payload = batch.column_by_name("payload").unwrap().as_struct();
            payload.column_by_name("b").unwrap().null_count()
        };
        assert_eq!((extra, batches.iter().map(b).sum::<usize>()), (20, 20));
        table.flush().await.unwrap();
    }
    assert_eq!(table_id(&folder), id, "the table is the same one");
    drop((warehouse, table));
    let warehouse = Warehouse::open(options(&folder)).await.unwrap();
    assert_eq!(warehouse.table("wiki").unwrap().schema(), grown);
    check_ids(&warehouse.table("wiki").unwrap(), 0..30).await;
}

fn number(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

/// All actions of the log, by commit.
fn log(folder: &TempDir, table: &str) -> Vec<Vec<serde_json::Value>> {
    let mut paths: Vec<_> = std::fs::read_dir(folder.path().join(table).join("_delta_log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    let read = |path| {
        std::fs::read_to_string(path)
            .unwrap()
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect()
    };
    paths.into_iter().map(read).collect()
}

fn table_id(folder: &TempDir) -> String {
    let log = log(folder, "wiki");
    let newest = log
        .iter()
        .flatten()
        .rev()
        .find_map(|action| action.get("metaData"))
        .unwrap();
    newest["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_cannot_be_stored_is_refused_and_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(options(&folder)).await.unwrap();
    let table = warehouse.create("wiki", dataset()).await.unwrap();
    append(&table, 0..10).await;
    table.dataset_schema().unwrap().grow(|own| {
        own.iter()
            .cloned()
            .chain([Arc::new(Field::new("bad", DataType::Null, true))])
            .collect()
    });
    let refused = table.append(vec![rows(10..20)], &progress(20)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    table.flush().await.unwrap();
    check_ids(&table, 0..10).await;
    assert_eq!(table.durable_progress(), Some(progress(10)));
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_of_many_parts_and_older_versions() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(options(&folder)).await.unwrap();
    let table = warehouse
        .create("wiki$failed", event::failed_schema())
        .await
        .unwrap();
    assert!(table.dataset_schema().is_none());
    let mut expected = vec![(table.version().delta_version, None, Vec::new())];
    let mut now = Progress::default();
    for round in 0..5u64 {
        for part in 0..=round {
            now.advance(&format!("wiki/{part} \"odd\" ü"), (round + 1) << 40);
        }
        table.append(vec![], &now).await.unwrap();
        table.append(vec![], &now).await.unwrap();
        table.flush().await.unwrap();
        table.flush().await.unwrap();
        let version = table.version();
        expected.push((version.delta_version, Some(now.clone()), version.files.to_vec()));
    }
    assert_eq!(
        expected.last().unwrap().0,
        5,
        "a flush without news commits nothing"
    );
    warehouse.close().await.unwrap();
    let warehouse = Warehouse::open(options(&folder)).await.unwrap();
    let table = warehouse.table("wiki$failed").unwrap();
    assert!(table.dataset_schema().is_none());
    assert_eq!(table.schema(), event::failed_schema());
    assert_eq!(table.durable_progress(), Some(now));
    for (version, progress, files) in expected {
        assert_eq!(table.files_at(version).await.unwrap(), (files.into(), progress));
    }
    assert_eq!(table.files_at(6).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn older_versions_have_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(options(&folder)).await.unwrap();
    let table = warehouse.create("wiki", dataset()).await.unwrap();
    let mut versions = vec![table.version()];
    for round in 0..4 {
        append(&table, round * 100..round * 100 + 100).await;
        table.flush().await.unwrap();
        versions.push(table.version());
    }
    for version in versions {
        let (files, progress) = table.files_at(version.delta_version).await.unwrap();
        assert_eq!((&files[..], &progress), (&version.files[..], &version.durable));
        assert!(files.is_sorted_by_key(|file| &file.path));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_in_the_file_of_their_hour() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(options(&folder)).await.unwrap();
    let table = warehouse.create("wiki", dataset()).await.unwrap();
    // Hours far away, the ends of time, and 250 hours of history, out of order.
    let year = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
    let mut times = vec![
        year("0001-01-01T00:00:00Z"),
        year("9999-12-30T21:59:59.999999Z"),
        i64::MIN,
        i64::MAX,
        -1,
    ];
    times.extend((0..1_000).map(|id| DAY + (id * 7_919 % 1_000) * HOUR / 4));
    let batch = rows_at(times.iter().enumerate().map(|(id, time)| (id as i64, *time)));
    table.append(vec![batch], &progress(1)).await.unwrap();
    table.flush().await.unwrap();
    let version = table.version();
    assert_eq!((version.files.len(), version.delta_version), (255, 1));
    drop((warehouse, table));

    let warehouse = Warehouse::open(options(&folder)).await.unwrap();
    let table = warehouse.table("wiki").unwrap();
    check_ids(&table, 0..times.len() as i64).await;
    for file in table.version().files.iter() {
        let batches = read(table.store().as_ref(), &file.path).await;
        let ids: Vec<i64> = batches[0]
            .column_by_name("id")
            .unwrap()
            .as_primitive::<Int64Type>()
            .values()
            .to_vec();
        assert!(ids.is_sorted(), "arrival order within the hour");
        let times: Vec<i64> = ids.iter().map(|id| times[*id as usize]).collect();
        let range = (*times.iter().min().unwrap(), *times.iter().max().unwrap());
        if file.hour.len() == 13 && !file.hour.starts_with('-') {
            assert_eq!(file.event_time, range);
            let label = jiff::Timestamp::from_microsecond(range.0)
                .unwrap()
                .strftime("%Y-%m-%d-%H")
                .to_string();
            assert_eq!(file.hour, label);
        } else {
            assert!(
                file.event_time.0 <= range.0 && file.event_time.1 >= range.1,
                "unknown is as wide as can be"
            );
        }
        assert_eq!(file.received_time, (DAY, DAY));
        assert!(
            file.path
                .as_ref()
                .starts_with(&format!("wiki/_hour={}/part-", file.hour))
        );
        assert!(batches[0].column_by_name("_hour").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_what_the_protocol_says() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(options(&folder)).await.unwrap();
    let table = warehouse.create("wiki", dataset()).await.unwrap();
    let minutes = rows_at((0..90).map(|id| (id, DAY + id * 60_000_000)));
    table.append(vec![minutes], &progress(90)).await.unwrap();
    table.flush().await.unwrap();
    let log = log(&folder, "wiki");
    let find = |commit: usize, name: &str| -> Vec<&serde_json::Value> {
        log[commit].iter().filter_map(|action| action.get(name)).collect()
    };
    assert_eq!(log.len(), 2);
    assert!(find(0, "protocol")[0]["minReaderVersion"].is_u64());
    let metadata = find(0, "metaData")[0];
    assert_eq!(metadata["partitionColumns"], serde_json::json!(["_hour"]));
    assert_eq!(metadata["format"]["provider"], "parquet");
    let schema: serde_json::Value = serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
    let names: Vec<&str> = schema["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["name"].as_str().unwrap())
        .collect();
    let system: Vec<&str> = SystemColumn::ALL.iter().map(|column| column.name()).collect();
    assert_eq!(names, [&system[..], &["id", "text", "_hour"]].concat());

    let txn = find(1, "txn");
    assert_eq!(
        (txn.len(), &txn[0]["appId"], &txn[0]["version"]),
        (1, &"sanderling/wiki/0".into(), &90.into())
    );
    let adds = find(1, "add");
    assert_eq!(adds.len(), 2);
    for (add, rows) in adds.iter().zip([60, 30]) {
        let path = add["path"].as_str().unwrap();
        let file = folder.path().join("wiki").join(path);
        assert_eq!(
            add["size"].as_u64().unwrap(),
            std::fs::metadata(file).unwrap().len()
        );
        assert!(path.starts_with(&format!(
            "_hour={}/",
            add["partitionValues"]["_hour"].as_str().unwrap()
        )));
        assert!(add["dataChange"].as_bool().unwrap() && add["modificationTime"].is_i64());
        let stats: serde_json::Value = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
        assert_eq!(stats["numRecords"], rows);
        assert!(
            stats["minValues"]["eventTime"]
                .as_str()
                .unwrap()
                .starts_with("2015-09-12T0")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_flush_keeps_rows_and_the_next_one_writes_them_once() {
    for fault in [
        Fault::Upload,
        Fault::CommitRefused,
        Fault::CommitAnswerLost,
        Fault::CommitAnswerLostThenNoReads,
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Faulty::new(folder.path()));
        let warehouse = Warehouse::open_in(store.clone(), &options(&folder))
            .await
            .unwrap();
        let table = warehouse.create("wiki", dataset()).await.unwrap();
        append(&table, 0..100).await;
        table.flush().await.unwrap();
        append(&table, 100..200).await;

        store.set(Some(fault));
        let flushed = table.flush().await;
        assert_eq!(flushed.is_ok(), fault == Fault::CommitAnswerLost, "{fault:?}");
        if let Err(error) = flushed {
            assert_eq!(error.kind(), ErrorKind::Retry);
            assert_eq!(table.stats().flush_error, Some(error.to_string()));
            assert_eq!(table.durable_progress(), Some(progress(100)));
        }
        let hot = ids(&table.version().hot);
        assert_eq!(hot.len() as u64 + table.stats().file_rows, 200, "{fault:?}");
        append(&table, 200..250).await;

        store.set(None);
        table.flush().await.unwrap();
        assert_eq!(table.stats().flush_error, None);
        check_ids(&table, 0..250).await;
        assert!(table.version().hot.is_empty());
        drop((warehouse, table));
        let warehouse = Warehouse::open(options(&folder)).await.unwrap();
        let table = warehouse.table("wiki").unwrap();
        check_ids(&table, 0..250).await;
        assert_eq!(table.durable_progress(), Some(progress(250)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_wait_while_the_tail_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Faulty::new(folder.path()));
    let options = WarehouseOptions {
        hot_bytes_max: 10_000,
        ..options(&folder)
    };
    let warehouse = Warehouse::open_in(store.clone(), &options).await.unwrap();
    let table = warehouse.create("wiki", dataset()).await.unwrap();
    let other = warehouse.create("other", dataset()).await.unwrap();
    store.set(Some(Fault::Upload));
    append(&table, 0..1_000).await;
    let mut waiting = Box::pin(append(&table, 1_000..1_100));
    assert!(waiting.as_mut().now_or_never().is_none(), "the tail is full");
    append(&other, 0..10).await;
    check_ids(&other, 0..10).await;
    store.set(None);
    table.flush().await.unwrap();
    waiting.await;
    check_ids(&table, 0..1_100).await;

    // Nobody but the loop makes room here.
    for start in 11..60 {
        append(&table, start * 100..start * 100 + 100).await;
    }
    check_ids(&table, 0..6_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_writer_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let first = Warehouse::open(options(&folder)).await.unwrap();
    let one = first.create("wiki", dataset()).await.unwrap();
    let second = Warehouse::open(options(&folder)).await.unwrap();
    let two = second.table("wiki").unwrap();
    append(&one, 0..10).await;
    one.flush().await.unwrap();
    append(&two, 0..20).await;
    for _ in 0..2 {
        assert_eq!(two.flush().await.unwrap_err().kind(), ErrorKind::Conflict);
    }
    append(&one, 10..20).await;
    one.flush().await.unwrap();
    check_ids(&one, 0..20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repetitions_change_nothing_and_progress_never_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(options(&folder)).await.unwrap();
    let table = warehouse.create("wiki", dataset()).await.unwrap();
    assert_eq!(table.progress().await.unwrap(), None);
    append(&table, 0..10).await;
    append(&table, 0..10).await;
    append(&table, 5..8).await;
    check_ids(&table, 0..10).await;
    let other_part = Progress::from_iter([("wiki/0", 5), ("wiki/1", 5)]);
    let refused = table.append(vec![rows(5..15)], &other_part).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    // A job that starts again in this process goes on after the hot tail.
    assert_eq!(table.progress().await.unwrap(), Some(progress(10)));
    let item = (flow::Timestamp(0), rows(10..12));
    table.write(vec![item], &progress(12)).await.unwrap();
    check_ids(&table, 0..12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_due_by_size_and_age() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Faulty::new(folder.path()));
    let age = Duration::from_secs(3_600);
    let options = WarehouseOptions {
        flush_bytes: 100_000,
        ..options(&folder)
    };
    let warehouse = Warehouse::open_in(store.clone(), &options).await.unwrap();
    let table = warehouse.create("wiki", dataset()).await.unwrap();
    let start = tokio::time::Instant::now();
    assert_eq!(table.due(start + 100 * age), Due::Never);
    table.append(vec![], &progress(1)).await.unwrap();
    assert!(
        matches!(table.due(start + 5 * age), Due::At(at) if at > start + 9 * age),
        "progress alone"
    );
    append(&table, 1..2).await;
    assert!(matches!(table.due(start), Due::At(at) if at > start && at <= tokio::time::Instant::now() + age));
    assert_eq!(table.due(start + 2 * age), Due::Now);
    table.flush().await.unwrap();
    assert_eq!(table.due(start + 100 * age), Due::Never);
    store.set(Some(Fault::Upload));
    append(&table, 2..3).await;
    table.flush().await.unwrap_err();
    assert!(
        matches!(table.due(start), Due::At(at) if at < start + age),
        "a failed flush is tried again soon"
    );

    // The loop flushes a table that is large.
    store.set(None);
    table.flush().await.unwrap();
    let mut changes = table.changes();
    append(&table, 3..3_000).await;
    let flushed = changes
        .wait_for(|version| version.durable == Some(progress(3_000)))
        .await;
    assert!(flushed.unwrap().hot.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_checked_and_foreign_folders_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("not a table")).unwrap();
    std::fs::create_dir_all(folder.path().join("empty")).unwrap();
    let warehouse = Warehouse::open(options(&folder)).await.unwrap();
    assert!(warehouse.tables().is_empty());
    for bad in ["", "../x", "a/b", "$failed", "x$failed$failed"] {
        assert_eq!(
            warehouse.create(bad, dataset()).await.unwrap_err().kind(),
            ErrorKind::Invalid
        );
    }
    for name in ["b", "a$failed", "a"] {
        warehouse.create(name, dataset()).await.unwrap();
    }
    let names: Vec<String> = warehouse
        .tables()
        .iter()
        .map(|table| table.name().to_owned())
        .collect();
    assert_eq!(names, ["a", "a$failed", "b"]);
    let _: SchemaRef = warehouse.table("a").unwrap().schema();
}
