//! Tables over their life: compaction, deletion, retention and vacuum, with readers beside them.

use std::collections::BTreeSet;

use arrow::array::BooleanArray;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, RowSelector};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};

use super::*;
use crate::{DataFile, DeleteOptions, Result, Vacuum};

pub(super) const MINUTE: i64 = HOUR / 60;

pub(super) fn quiet(maintenance: MaintenanceOptions, folder: &TempDir) -> WarehouseOptions {
    WarehouseOptions {
        maintenance: MaintenanceOptions {
            every: None,
            ..maintenance
        },
        ..options(folder)
    }
}

/// Nothing is kept for its age.
pub(super) fn at_once() -> MaintenanceOptions {
    MaintenanceOptions {
        compact_files: 2,
        vacuum_after: Duration::ZERO,
        log_retention: Duration::ZERO,
        ..MaintenanceOptions::default()
    }
}

async fn flushed(table: &Table, ids: Range<i64>) {
    append(table, ids).await;
    table.flush().await.unwrap();
}

/// Matches ids that leave a rest.
pub(super) fn rest(
    by: i64,
    rest: i64,
) -> impl Fn(&RecordBatch) -> Result<BooleanArray> + Send + Sync + 'static {
    move |batch| {
        let ids = batch.column_by_name("id").unwrap().as_primitive::<Int64Type>();
        Ok(ids.iter().map(|id| id.map(|id| id % by == rest)).collect())
    }
}

/// Parquet files on the disk.
fn on_disk(folder: &TempDir) -> usize {
    let hours = std::fs::read_dir(folder.path().join("wiki")).unwrap();
    let hours = hours.map(|entry| entry.unwrap().path());
    let hours = hours.filter(|path| !path.ends_with("_delta_log"));
    hours.map(|hour| std::fs::read_dir(hour).unwrap().count()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_become_one_with_the_same_rows_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(options(&folder)).await.unwrap();
    let table = warehouse.create("wiki", dataset()).await.unwrap();
    for start in 0..20 {
        flushed(&table, start * 30..start * 30 + 30).await;
    }
    // Two hours, one file across the border in each.
    assert_eq!(table.version().files.len(), 12 + 8);
    let before = table.version();
    assert_eq!(table.compact().await.unwrap(), 2);
    let version = table.version();
    assert_eq!(version.files.len(), 2);
    assert_eq!((version.delta_version, &version.progress), (22, &before.progress));
    assert_eq!(table.durable_progress(), before.durable);
    for file in version.files.iter() {
        let ids: Vec<i64> = read(table.store().as_ref(), &file.path)
            .await
            .iter()
            .flat_map(|batch| {
                batch
                    .column_by_name("id")
                    .unwrap()
                    .as_primitive::<Int64Type>()
                    .values()
                    .to_vec()
            })
            .collect();
        assert!(ids.is_sorted());
        let (first, last) = (ids[0], ids[ids.len() - 1]);
        assert_eq!(
            file.event_time,
            (DAY + first * 10_000_000, DAY + last * 10_000_000)
        );
    }
    check_ids(&table, 0..600).await;
    let stats = table.stats();
    assert_eq!((stats.file_rows, stats.flushes), (600, 20));
    assert_eq!(
        (stats.maintenance.compactions, stats.maintenance.files_removed),
        (2, 20)
    );
    assert_eq!(stats.maintenance.bytes_rewritten, stats.file_bytes);

    // The commit says that no row has changed, and nothing of progress.
    let log = log(&folder, "wiki");
    let commit = log.last().unwrap();
    let find = |name: &str| {
        commit
            .iter()
            .filter_map(|action| action.get(name))
            .collect::<Vec<_>>()
    };
    assert_eq!((find("txn").len(), find("metaData").len()), (0, 0));
    assert_eq!(find("add").len(), 1);
    assert!(find("remove").len() >= 8);
    for action in find("add").iter().chain(&find("remove")) {
        assert_eq!(action["dataChange"], false);
        assert!(action["path"].as_str().unwrap().starts_with("_hour=2015-09-12-0"));
    }
    assert_eq!(find("commitInfo")[0]["operation"], "OPTIMIZE");
    // Late rows come to their hour, beside the merged file.
    flushed(&table, 0..1).await;
    append(&table, 600..601).await;
    assert_eq!(table.compact().await.unwrap(), 0);
    drop((warehouse, table));
    let warehouse = Warehouse::open(options(&folder)).await.unwrap();
    let table = warehouse.table("wiki").unwrap();
    check_ids(&table, 0..600).await;
    assert_eq!(table.version().files, version.files);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_came_later_are_null_in_merged_files() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(quiet(at_once(), &folder)).await.unwrap();
    let schema = dataset();
    let table = warehouse.create("wiki", schema.clone()).await.unwrap();
    flushed(&table, 0..10).await;
    schema.grow(|own| own.iter().cloned().chain([Arc::new(number("extra"))]).collect());
    let grown = |ids: Range<i64>| {
        let batch = event::conform(&rows(ids.clone()), &schema.table()).unwrap();
        let mut columns = batch.columns().to_vec();
        *columns.last_mut().unwrap() = Arc::new(Int64Array::from_iter_values(ids));
        RecordBatch::try_new(batch.schema(), columns).unwrap()
    };
    table.append(vec![grown(10..20)], &progress(20)).await.unwrap();
    table.flush().await.unwrap();
    // A column that no file has yet.
    schema.grow(|own| own.iter().cloned().chain([Arc::new(number("later"))]).collect());
    append(&table, 20..21).await;
    assert_eq!(table.compact().await.unwrap(), 1);
    let extra = |batch: &RecordBatch| batch.column_by_name("extra").unwrap().null_count();
    let batches = all(&table, &table.version()).await;
    assert_eq!(batches.iter().map(extra).sum::<usize>(), 10 + 1);
    // A predicate sees the columns of now, in files that have them not.
    let deleted = table
        .delete(DeleteOptions::new("later"), |batch| {
            let (extra, later) = (
                batch.column_by_name("extra").unwrap(),
                batch.column_by_name("later"),
            );
            assert!(later.is_some());
            let extra = extra.as_primitive::<Int64Type>();
            Ok(extra.iter().map(|extra| extra.map(|extra| extra < 15)).collect())
        })
        .await
        .unwrap();
    assert_eq!((deleted.rows, deleted.files), (5, 1));
    let left: Vec<i64> = (0..10).chain(15..21).collect();
    assert_eq!(ids(&all(&table, &table.version()).await), left);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_rows_are_gone_hot_and_cold_and_from_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(options(&folder)).await.unwrap();
    let table = warehouse.create("wiki", dataset()).await.unwrap();
    flushed(&table, 0..100).await;
    // The second hour begins with 360.
    flushed(&table, 360..370).await;
    append(&table, 370..380).await;
    let reader = table.version();
    let before = ids(&all(&table, &reader).await);
    let deleted = table
        .delete(DeleteOptions::new("every tenth"), rest(10, 3))
        .await
        .unwrap();
    assert_eq!((deleted.rows, deleted.files), (12, 3));
    assert_eq!(deleted.progress, Some(progress(380)));
    assert!(deleted.bytes_rewritten > 0);
    let left: Vec<i64> = before.iter().copied().filter(|id| id % 10 != 3).collect();
    assert_eq!(ids(&all(&table, &table.version()).await), left);
    assert_eq!(table.stats().maintenance.rows_deleted, 12);
    assert_eq!(table.stats().file_rows, left.len() as u64);

    // Only files of the range are looked at; what is there no more needs no commit.
    let version = table.version().delta_version;
    let outside = DeleteOptions {
        event_time: DAY + 2 * HOUR..=i64::MAX,
        ..DeleteOptions::new("outside")
    };
    let none = table.delete(outside, rest(1, 0)).await.unwrap();
    assert_eq!((none.rows, none.files), (0, 0));
    assert_eq!(
        table
            .delete(DeleteOptions::new("again"), rest(10, 3))
            .await
            .unwrap()
            .rows,
        0
    );
    assert_eq!(table.version().delta_version, version);

    // A reader that holds the version before still reads all of it, and then the files go.
    let held = table.vacuum(Vacuum::Now).await.unwrap();
    assert_eq!(
        (held.files, held.left),
        (1, 2),
        "the flushed rows were in no held file"
    );
    assert_eq!(ids(&all(&table, &reader).await), before);
    let file = reader.files[0].clone();
    // A plan of a query keeps the store alone.
    let plan = reader.holding(table.store());
    drop(reader);
    assert_eq!(table.vacuum(Vacuum::Now).await.unwrap().left, 2);
    read(plan.as_ref(), &file.path).await;
    drop(plan);
    assert_eq!(table.vacuum(Vacuum::Due).await.unwrap().left, 2, "it is not time");
    let gone = table.vacuum(Vacuum::Now).await.unwrap();
    assert_eq!((gone.files, gone.left), (2, 0));
    assert!(gone.bytes > 0);
    assert_eq!(on_disk(&folder), 3);
    let error = table.read_row_group(&file, 0, 7).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(table.stats().maintenance.files_vacuumed, 3);

    // All rows of an hour.
    let hour = DeleteOptions {
        event_time: DAY + HOUR..=i64::MAX,
        ..DeleteOptions::new("an hour")
    };
    assert_eq!(table.delete(hour, rest(1, 0)).await.unwrap().rows, 18);
    let left: Vec<i64> = left.into_iter().filter(|id| *id < 360).collect();
    drop((warehouse, table));
    let warehouse = Warehouse::open(options(&folder)).await.unwrap();
    let table = warehouse.table("wiki").unwrap();
    assert_eq!(ids(&all(&table, &table.version()).await), left);
    assert_eq!(table.durable_progress(), Some(progress(380)));
}

#[tokio::test(flavor = "multi_thread")]
async fn predicates_that_are_wrong_delete_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(options(&folder)).await.unwrap();
    let table = warehouse.create("wiki", dataset()).await.unwrap();
    flushed(&table, 0..100).await;
    let short = |_: &RecordBatch| Ok(BooleanArray::from(vec![true]));
    let null = |batch: &RecordBatch| Ok(BooleanArray::new_null(batch.num_rows()));
    let calls = AtomicBool::new(false);
    let unsteady = move |batch: &RecordBatch| {
        let first = !calls.swap(true, Ordering::Relaxed);
        Ok((0..batch.num_rows())
            .map(|row| Some(row == 0 || first && row == 1))
            .collect())
    };
    let error = table
        .delete(DeleteOptions::new("short"), short)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let error = table
        .delete(DeleteOptions::new("unsteady"), unsteady)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(
        table.delete(DeleteOptions::new("null"), null).await.unwrap().rows,
        0
    );
    check_ids(&table, 0..100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_that_are_too_old_are_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(options(&folder)).await.unwrap();
    let table = warehouse.create("wiki", dataset()).await.unwrap();
    let now = jiff::Timestamp::now().as_microsecond();
    let old = (0..10).map(|id| (id, now - 30 * HOUR + id));
    let young = (10..20).map(|id| (id, now - 20 * HOUR + id));
    table
        .append(vec![rows_at(old), rows_at(young)], &progress(20))
        .await
        .unwrap();
    table.flush().await.unwrap();
    // Late, and still hot: it is dropped after it was flushed.
    let late = rows_at((20..21).map(|id| (id, now - 30 * HOUR)));
    table.append(vec![late], &progress(21)).await.unwrap();
    let day = Duration::from_secs(24 * 3_600);
    let expired = table.expire(day).await.unwrap();
    assert_eq!(expired.rows, 10);
    check_ids(&table, 10..21).await;
    assert_eq!(table.expire(day).await.unwrap().rows, 0);
    table.flush().await.unwrap();
    assert_eq!(table.expire(day).await.unwrap().rows, 1);
    check_ids(&table, 10..20).await;
    assert_eq!(table.stats().maintenance.rows_deleted, 11);
    assert_eq!(table.durable_progress(), Some(progress(21)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_behind_a_checkpoint_expires_and_positions_before_it_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(quiet(at_once(), &folder)).await.unwrap();
    let table = warehouse.create("wiki", dataset()).await.unwrap();
    for id in 0..105 {
        flushed(&table, id..id + 1).await;
    }
    let (files, _) = table.files_at(10).await.unwrap();
    assert_eq!(table.compact().await.unwrap(), 1);
    let vacuumed = table.vacuum(Vacuum::Due).await.unwrap();
    assert_eq!((vacuumed.files, vacuumed.left), (95, 10), "a reader holds ten");
    // Commits 0 to 99 and the checkpoint of 50.
    assert_eq!(vacuumed.log_entries, 101);
    assert_eq!(table.files_at(10).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(table.files_at(101).await.unwrap().0.len(), 101);
    drop(files);
    assert_eq!(table.vacuum(Vacuum::Due).await.unwrap().files, 10);
    assert_eq!(on_disk(&folder), 1);
    flushed(&table, 105..106).await;
    drop((warehouse, table));
    let warehouse = Warehouse::open(quiet(at_once(), &folder)).await.unwrap();
    let table = warehouse.table("wiki").unwrap();
    check_ids(&table, 0..106).await;
    assert_eq!(table.durable_progress(), Some(progress(106)));
    assert_eq!(
        table.vacuum(Vacuum::Due).await.unwrap(),
        crate::Vacuumed::default()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loop_merges_drops_and_vacuums() {
    let folder = tempfile::tempdir().unwrap();
    let options = WarehouseOptions {
        maintenance: MaintenanceOptions {
            every: Some(Duration::from_millis(20)),
            compact_files: 4,
            ..at_once()
        },
        ..options(&folder)
    };
    let warehouse = Warehouse::open(options).await.unwrap();
    let table = warehouse.create("wiki", dataset()).await.unwrap();
    for id in 0..40 {
        flushed(&table, id..id + 1).await;
    }
    let mut changes = table.changes();
    changes.wait_for(|version| version.files.len() < 4).await.unwrap();
    check_ids(&table, 0..40).await;
    while table.stats().maintenance.files_vacuumed == 0 {
        tokio::task::yield_now().await;
    }
    table.set_retention(Some(Duration::from_secs(3_600)));
    changes
        .wait_for(|version| version.files.is_empty())
        .await
        .unwrap();
    warehouse.close().await.unwrap();
    let stats = table.stats().maintenance;
    assert!(stats.compactions > 0);
    assert_eq!((stats.rows_deleted, stats.error), (40, None));
}

/// Rows whose texts do not compress.
fn wide_rows(ids: Range<i64>) -> RecordBatch {
    let batch = rows(ids.clone());
    let mut state = 0x9e37_79b9_7f4a_7c15u64 ^ ids.start as u64;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        format!("{state:016x}")
    };
    let text: StringViewArray = ids
        .map(|_| Some((0..64).map(|_| noise()).collect::<String>()))
        .collect();
    let mut columns = batch.columns().to_vec();
    *columns.last_mut().unwrap() = Arc::new(text);
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

/// Merges six files of so many rows each; gives the row groups of the merged file, and of each source their bytes.
async fn merged_of_wide(rows: i64) -> (Vec<RowGroupMetaData>, Vec<i64>) {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(quiet(at_once(), &folder)).await.unwrap();
    let table = warehouse.create("wiki", dataset()).await.unwrap();
    for start in 0..6 {
        let batch = wide_rows(start * rows..start * rows + rows);
        let times = TimestampMicrosecondArray::from(vec![DAY + start; rows as usize]).with_timezone("UTC");
        let mut columns = batch.columns().to_vec();
        columns[batch.schema().index_of(SystemColumn::EventTime.name()).unwrap()] = Arc::new(times);
        let batch = RecordBatch::try_new(batch.schema(), columns).unwrap();
        let next = ((start + 1) * rows) as u64;
        table.append(vec![batch], &progress(next)).await.unwrap();
        table.flush().await.unwrap();
    }
    let mut sources = Vec::new();
    for file in table.version().files.iter() {
        let groups = metadata(&table, file).await.row_groups().to_vec();
        sources.extend(groups.iter().map(|group| group.compressed_size()));
    }
    assert_eq!(table.compact().await.unwrap(), 1);
    let version = table.version();
    let [file] = &version.files[..] else {
        panic!("one file is left")
    };
    assert!(
        file.bytes as usize > 2 * crate::limits::REWRITE_PART_BYTES,
        "{}",
        file.bytes
    );
    assert_eq!((file.rows, file.event_time), (6 * rows as u64, (DAY, DAY + 5)));
    let batches = read(table.store().as_ref(), &file.path).await;
    assert_eq!(ids(&batches), (0..6 * rows).collect::<Vec<_>>());
    let texts = |batch: &RecordBatch| {
        let texts = batch.column_by_name("text").unwrap().as_string_view();
        texts.iter().map(|text| text.unwrap().len()).sum::<usize>()
    };
    assert_eq!(
        batches.iter().map(texts).sum::<usize>(),
        6 * 1_024 * rows as usize
    );
    // The index of pages finds the rows of one group among the others.
    let metadata = metadata(&table, file).await;
    let offsets = metadata.offset_index().unwrap();
    assert_eq!(metadata.column_index().unwrap().len(), offsets.len());
    let last = metadata.num_row_groups() - 1;
    let body = body(&table, file).await;
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(body, options).unwrap();
    let in_last = metadata.row_group(last).num_rows() as usize;
    let selection = vec![RowSelector::skip(in_last - 1), RowSelector::select(1)];
    let reader = reader
        .with_row_groups(vec![last])
        .with_row_selection(selection.into());
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    assert_eq!(ids(&batches), [6 * rows - 1]);
    (metadata.row_groups().to_vec(), sources)
}

async fn body(table: &Table, file: &DataFile) -> bytes::Bytes {
    let found = table.store().get(&file.path).await.unwrap();
    found.bytes().await.unwrap()
}

async fn metadata(table: &Table, file: &DataFile) -> ParquetMetaData {
    let body = body(table, file).await;
    let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
    reader.parse_and_finish(&body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merged_file_of_many_parts_has_its_rows() {
    let (groups, sources) = merged_of_wide(6_000).await;
    assert!(groups.len() < sources.len(), "{} groups", groups.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn large_row_groups_are_merged_as_they_are() {
    let (groups, sources) = merged_of_wide(12_000).await;
    let groups: Vec<i64> = groups.iter().map(|group| group.compressed_size()).collect();
    assert_eq!(groups, sources);
}

/// A table with work left does not keep another one from its turn.
#[tokio::test(flavor = "multi_thread")]
async fn the_loop_goes_round_the_tables() {
    let folder = tempfile::tempdir().unwrap();
    let options = WarehouseOptions {
        maintenance: MaintenanceOptions {
            // Every look at a table finds a round due.
            every: Some(Duration::from_nanos(1)),
            ..at_once()
        },
        ..options(&folder)
    };
    let warehouse = Warehouse::open(options).await.unwrap();
    let mut tables = Vec::new();
    for name in ["a", "b", "c"] {
        let table = warehouse.create(name, dataset()).await.unwrap();
        flushed(&table, 0..10).await;
        flushed(&table, 10..20).await;
        tables.push(table);
    }
    for table in &tables {
        let mut changes = table.changes();
        changes
            .wait_for(|version| version.files.len() == 1)
            .await
            .unwrap();
    }
    warehouse.close().await.unwrap();
}

/// What a reader finds wrong. Ids with a rest of 3 are deleted now and then, all that there are at a time.
fn check_seen(seen: &[i64], next: i64) {
    let unique: BTreeSet<i64> = seen.iter().copied().collect();
    assert_eq!(unique.len(), seen.len(), "a row twice");
    assert!(
        unique.last().is_none_or(|last| *last < next),
        "a row that is not yet told of"
    );
    let missing: Vec<i64> = (0..next).filter(|id| !unique.contains(id)).collect();
    let deleted: Vec<i64> = (0..next).filter(|id| id % 10 == 3).take(missing.len()).collect();
    assert_eq!(missing, deleted, "rows are missing, or half a deletion is seen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_see_each_row_once_through_all_of_it() {
    const ROWS: i64 = 2_000;
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(quiet(at_once(), &folder)).await.unwrap();
    let table = warehouse.create("wiki", dataset()).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (table, done) = (table.clone(), done.clone());
        tokio::spawn(async move {
            let mut progress_seen = 0;
            loop {
                let last = done.load(Ordering::Acquire);
                let version = table.version();
                let mut seen = ids(&version.hot);
                for file in version.files.iter() {
                    seen.extend(ids(&read(table.store().as_ref(), &file.path).await));
                }
                let next = version.progress.of("wiki/0");
                assert!(next >= progress_seen);
                progress_seen = next;
                check_seen(&seen, next as i64);
                if last {
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
    };
    let keeper = {
        let (table, done) = (table.clone(), done.clone());
        tokio::spawn(async move {
            let mut round = 0;
            while !done.load(Ordering::Acquire) || round < 20 {
                match round % 4 {
                    0 => table.flush().await.unwrap(),
                    1 => {
                        table.compact().await.unwrap();
                    }
                    2 => {
                        table.vacuum(Vacuum::Now).await.unwrap();
                    }
                    _ => drop(table.delete(DeleteOptions::new("3"), rest(10, 3)).await.unwrap()),
                }
                round += 1;
            }
        })
    };
    let (mut next, mut step) = (0, 1);
    while next < ROWS {
        let batch = rows_at((next..next + step).map(|id| (id, DAY + id * MINUTE / 20)));
        next += step;
        table.append(vec![batch], &progress(next as u64)).await.unwrap();
        table.flush().await.unwrap();
        step = step % 29 + 1;
    }
    done.store(true, Ordering::Release);
    keeper.await.unwrap();
    reader.await.unwrap();
    table.vacuum(Vacuum::Now).await.unwrap();
    assert_eq!(on_disk(&folder), table.version().files.len());
    assert!(table.stats().maintenance.compactions > 0);
}
