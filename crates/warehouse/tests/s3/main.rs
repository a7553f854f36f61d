//! Tables on a server that speaks S3, at the endpoint that SANDERLING_S3_ENDPOINT names: `.ci/object-stores` starts
//! one.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type};
use async_trait::async_trait;
use event::DatasetSchema;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use store::Progress;
use warehouse::{ErrorKind, Location, Table, Warehouse, WarehouseOptions};

/// The bucket that the script makes.
const BUCKET: &str = "warehouse-tests";
/// Set in a process that is killed before its second commit: the prefix it writes to.
const VICTIM: &str = "SANDERLING_S3_VICTIM";

fn location(prefix: &str) -> Location {
    let endpoint = std::env::var("SANDERLING_S3_ENDPOINT").expect("start this by .ci/object-stores");
    let keys = [
        ("AWS_ACCESS_KEY_ID".to_owned(), "anybody".to_owned()),
        ("AWS_SECRET_ACCESS_KEY".to_owned(), "nothing".to_owned()),
    ];
    Location::parse(&format!("s3://{BUCKET}/{prefix}"))
        .and_then(|place| place.with("endpoint", endpoint))
        .and_then(|place| place.with("allow_http", "true"))
        .unwrap()
        .with_variables(keys)
}

fn options(prefix: &str) -> WarehouseOptions {
    WarehouseOptions {
        flush_age: Duration::from_secs(3_600),
        ..WarehouseOptions::new(location(prefix))
    }
}

fn dataset() -> Arc<DatasetSchema> {
    let schema = DatasetSchema::empty();
    schema.grow(|_| vec![Arc::new(Field::new("id", DataType::Int64, true))]);
    Arc::new(schema)
}

fn rows(ids: std::ops::Range<i64>) -> RecordBatch {
    let len = ids.clone().count();
    let time =
        |us| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from_value(us, len).with_timezone("UTC")) };
    let columns: Vec<ArrayRef> = vec![
        time(0),
        time(0),
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(ids.clone().map(|id| id * 60_000_000))
                .with_timezone("UTC"),
        ),
        Arc::new(StringViewArray::from(vec!["an emitter"; len])),
        Arc::new(Int64Array::from(vec![0; len])),
        Arc::new(StringViewArray::new_null(len)),
        Arc::new(Int64Array::from_iter_values(ids)),
    ];
    RecordBatch::try_new(dataset().table(), columns).unwrap()
}

fn progress(next: i64) -> Progress {
    Progress::from_iter([("0", next as u64)])
}

async fn append(table: &Table, ids: std::ops::Range<i64>) {
    let next = progress(ids.end);
    table.append(vec![rows(ids)], &next).await.unwrap();
}

/// The ids of all rows, in files and hot, in order.
async fn ids(table: &Table) -> Vec<i64> {
    let version = table.version();
    let mut batches = version.hot.to_vec();
    for file in version.files.iter() {
        batches.extend(table.read_row_group(file, 0, 1 << 20).await.unwrap().unwrap());
    }
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

async fn parquet_files(store: &dyn ObjectStore) -> usize {
    let all: Vec<ObjectMeta> = store.list(None).try_collect().await.unwrap();
    all.iter()
        .filter(|file| file.location.as_ref().ends_with(".parquet"))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_there_again_and_a_second_writer_is_refused() {
    let warehouse = Warehouse::open(options("again")).await.unwrap();
    let table = warehouse.create("clicks", dataset()).await.unwrap();
    let mut waits = Vec::new();
    for round in 0..20 {
        append(&table, round * 50..round * 50 + 50).await;
        let start = Instant::now();
        table.flush().await.unwrap();
        waits.push(start.elapsed());
    }
    waits.sort_unstable();
    println!("flushes of one file: p50 {:?}, most {:?}", waits[10], waits[19]);
    append(&table, 1_000..1_100).await;
    warehouse.close().await.unwrap();

    let one = Warehouse::open(options("again")).await.unwrap();
    let two = Warehouse::open(options("again")).await.unwrap();
    let (one, two) = (one.table("clicks").unwrap(), two.table("clicks").unwrap());
    assert_eq!(one.durable_progress(), Some(progress(1_100)));
    append(&one, 1_100..1_110).await;
    append(&two, 1_100..1_120).await;
    one.flush().await.unwrap();
    for _ in 0..2 {
        assert_eq!(two.flush().await.unwrap_err().kind(), ErrorKind::Conflict);
    }
    append(&one, 1_110..1_120).await;
    one.flush().await.unwrap();
    assert_eq!(ids(&one).await, (0..1_120).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_location_is_said() {
    let endpoint = std::env::var("SANDERLING_S3_ENDPOINT").expect("start this by .ci/object-stores");
    let nowhere = Location::parse("s3://there-is-none/x")
        .and_then(|place| place.with("endpoint", endpoint))
        .and_then(|place| place.with("allow_http", "true"))
        .and_then(|place| place.with("access_key_id", "anybody"))
        .and_then(|place| place.with("secret_access_key", "a secret"))
        .unwrap();
    let error = Warehouse::open(WarehouseOptions::new(nowhere)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
    let text = format!("{error} {error:?}");
    assert!(
        text.contains("s3://there-is-none/x") && text.contains("NoSuchBucket") && !text.contains("a secret"),
        "{text}"
    );
}

/// A process uploads the files of a second flush and is killed by SIGKILL when it is about to commit them.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_killed_before_its_commit_leaves_no_row_and_the_replay_writes_each_once() {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_victim", "--nocapture"])
        .env(VICTIM, "killed")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let told = lines.find(|line| {
        line.as_ref()
            .is_ok_and(|line| line.contains("is about to commit"))
    });
    victim.kill().unwrap();
    victim.wait().unwrap();
    told.expect("the victim came to its commit").unwrap();

    let warehouse = Warehouse::open(options("killed")).await.unwrap();
    assert_eq!(
        parquet_files(warehouse.store().as_ref()).await,
        2,
        "its file was uploaded"
    );
    let table = warehouse.table("clicks").unwrap();
    assert_eq!(table.durable_progress(), Some(progress(10)));
    assert_eq!(ids(&table).await, (0..10).collect::<Vec<_>>());
    append(&table, 10..30).await;
    table.flush().await.unwrap();
    assert_eq!(ids(&table).await, (0..30).collect::<Vec<_>>());
    drop((warehouse, table));
    let warehouse = Warehouse::open(options("killed")).await.unwrap();
    let table = warehouse.table("clicks").unwrap();
    assert_eq!(ids(&table).await, (0..30).collect::<Vec<_>>());
    assert_eq!(table.durable_progress(), Some(progress(30)));
}

/// What the process above runs; does nothing among the other tests.
#[tokio::test(flavor = "multi_thread")]
async fn the_victim() {
    let Ok(prefix) = std::env::var(VICTIM) else { return };
    let store = Arc::new(Halting(location(&prefix).open().unwrap()));
    let warehouse = Warehouse::open_in(store, &options(&prefix)).await.unwrap();
    let table = warehouse.create("clicks", dataset()).await.unwrap();
    append(&table, 0..10).await;
    table.flush().await.unwrap();
    append(&table, 10..25).await;
    table.flush().await.unwrap();
}

/// A store whose third commit (the first makes the table) tells of itself and never goes on.
#[derive(Debug)]
struct Halting(Arc<dyn ObjectStore>);

impl fmt::Display for Halting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Halting {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        if at.as_ref().ends_with("_delta_log/00000000000000000002.json") {
            println!("{at} is about to commit");
            std::future::pending::<()>().await;
        }
        self.0.put_opts(at, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.0.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}
