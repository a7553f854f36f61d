//! Plain files, with a store that fails at any one of its operations.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;
use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions,
    PutOptions, PutPayload, PutResult,
};

use super::*;
use crate::{PlainFiles, PlainFormat, PlainOptions};

/// Fails one operation by its number: before it is done, or after; once, or from then on, as in a crash.
#[derive(Debug)]
struct FailsAt {
    inner: Arc<InMemory>,
    left: AtomicUsize,
    done_first: bool,
    crashes: bool,
}

impl FailsAt {
    /// Whether this operation fails.
    fn fails(&self) -> bool {
        let before = self
            .left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        match before {
            Ok(1) => true,
            Ok(_) => false,
            Err(_) => self.crashes,
        }
    }

    fn has_failed(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }
}

fn failed<T>() -> object_store::Result<T> {
    Err(object_store::Error::Generic {
        store: "FailsAt",
        source: "it failed on demand".into(),
    })
}

impl fmt::Display for FailsAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FailsAt")
    }
}

#[async_trait]
impl ObjectStore for FailsAt {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        // After a crash nothing is done at all.
        let crashed = self.has_failed() && self.crashes;
        let fails = self.fails();
        if crashed || fails && !self.done_first {
            return failed();
        }
        let put = self.inner.put_opts(at, payload, opts).await;
        if fails { failed() } else { put }
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        if self.fails() {
            failed()
        } else {
            self.inner.get_opts(at, options).await
        }
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        if self.fails() {
            return stream::iter([failed()]).boxed();
        }
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        if self.fails() {
            return stream::iter([failed()]).boxed();
        }
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

const ROWS: i64 = 120;

/// A row every two minutes, received when it happened; each seventh is three hours late.
fn event_time(id: i64) -> i64 {
    received(id) - if id % 7 == 3 { 3 * HOUR } else { 0 }
}

fn received(id: i64) -> i64 {
    DAY + id * HOUR / 30
}

fn received_rows(ids: Range<i64>) -> RecordBatch {
    let batch = rows_at(ids.clone().map(|id| (id, event_time(id))));
    let times: TimestampMicrosecondArray = ids.map(|id| Some(received(id))).collect();
    let mut columns = batch.columns().to_vec();
    columns[0] = Arc::new(times.with_timezone("UTC"));
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

fn plain() -> PlainOptions {
    PlainOptions {
        window: Duration::from_secs(3_600),
        lateness: Duration::from_secs(600),
        ..PlainOptions::default()
    }
}

async fn names(store: &dyn ObjectStore) -> Vec<Path> {
    let listed: Vec<ObjectMeta> = store.list(None).try_collect().await.unwrap();
    listed.into_iter().map(|file| file.location).collect()
}

/// The ids that a reader of all files finds, by their folder.
async fn found(store: &dyn ObjectStore) -> BTreeMap<String, Vec<i64>> {
    let mut found: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for path in names(store).await {
        if path.as_ref().ends_with(".parquet") {
            let folder = path.as_ref().rsplit_once('/').unwrap().0.to_owned();
            found
                .entry(folder)
                .or_default()
                .extend(ids(&read(store, &path).await));
        }
    }
    found
}

fn folder_of(id: i64) -> String {
    let time = jiff::Timestamp::from_microsecond(event_time(id)).unwrap();
    time.strftime("wiki/%Y/%m/%d/%H").to_string()
}

/// No row is found twice; and those that are, in the folder of their hour.
async fn check_no_row_twice(store: &dyn ObjectStore) -> BTreeSet<i64> {
    let mut seen = BTreeSet::new();
    for (folder, ids) in found(store).await {
        for id in ids {
            assert_eq!(folder_of(id), folder);
            assert!(seen.insert(id), "the row {id} is there twice");
        }
    }
    seen
}

/// Appends what is missing in windows of some rows each.
async fn replay(files: &PlainFiles, window: i64) -> crate::Result<()> {
    let mut next = files
        .durable_progress()
        .map_or(0, |progress| progress.of("wiki/0") as i64);
    while next < ROWS {
        let until = ROWS.min(next + window);
        for id in next..until {
            files
                .append(vec![received_rows(id..id + 1)], &progress(id as u64 + 1))
                .await?;
        }
        next = until;
        files.flush().await?;
    }
    // The last one may have been committed and not have put its markers.
    files.flush().await
}

/// Every hour whose end is far enough behind the last row has a marker that tells of its last file.
async fn check_markers(store: &dyn ObjectStore) {
    let last = received(ROWS - 1);
    for (folder, ids) in found(store).await {
        let end = (event_time(ids[0]).div_euclid(HOUR) + 1) * HOUR;
        let marker = store.get(&Path::from(format!("{folder}/_SUCCESS"))).await;
        if end + 600_000_000 > last {
            assert!(marker.is_err(), "{folder} is open");
            continue;
        }
        let body: serde_json::Value =
            serde_json::from_slice(&marker.unwrap().bytes().await.unwrap()).unwrap();
        let until: jiff::Timestamp = body["until"].as_str().unwrap().parse().unwrap();
        assert!(
            ids.iter().all(|id| received(*id) <= until.as_microsecond()),
            "{folder}"
        );
    }
}

#[tokio::test]
async fn each_row_is_found_once_whatever_operation_fails() {
    for (done_first, crashes) in [(false, false), (true, false), (false, true), (true, true)] {
        for at in 1.. {
            let inner = Arc::new(InMemory::new());
            let store = Arc::new(FailsAt {
                inner: inner.clone(),
                left: AtomicUsize::new(at),
                done_first,
                crashes,
            });
            let mut failures = 0;
            let attempt = async {
                let files = PlainFiles::open(store.clone(), "wiki", plain()).await?;
                while let Err(error) = replay(&files, 31).await {
                    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
                    failures += 1;
                    if crashes {
                        return Err(error);
                    }
                    check_no_row_twice(inner.as_ref()).await;
                }
                crate::Result::Ok(())
            };
            let ended = attempt.await;
            check_no_row_twice(inner.as_ref()).await;
            if ended.is_err() {
                // Another process goes on, with other windows.
                let files = PlainFiles::open(inner.clone(), "wiki", plain()).await.unwrap();
                let committed = files
                    .durable_progress()
                    .map_or(0, |progress| progress.of("wiki/0") as i64);
                assert_eq!(check_no_row_twice(inner.as_ref()).await, (0..committed).collect());
                replay(&files, 17).await.unwrap();
            }
            assert_eq!(
                check_no_row_twice(inner.as_ref()).await,
                (0..ROWS).collect(),
                "at={at}"
            );
            check_markers(inner.as_ref()).await;
            if !store.has_failed() {
                assert!(at > 20, "all operations have failed once at={at}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_second_writer_is_refused_before_it_writes() {
    let store = Arc::new(InMemory::new());
    let one = PlainFiles::open(store.clone(), "wiki", plain()).await.unwrap();
    let two = PlainFiles::open(store.clone(), "wiki", plain()).await.unwrap();
    one.append(vec![received_rows(0..20)], &progress(20))
        .await
        .unwrap();
    one.flush().await.unwrap();
    two.append(vec![received_rows(0..30)], &progress(30))
        .await
        .unwrap();
    for _ in 0..2 {
        assert_eq!(two.flush().await.unwrap_err().kind(), ErrorKind::Conflict);
    }
    for end in 3..30 {
        one.append(
            vec![received_rows(end * 10 - 10..end * 10)],
            &progress(end as u64 * 10),
        )
        .await
        .unwrap();
        one.flush().await.unwrap();
    }
    assert_eq!(two.flush().await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(check_no_row_twice(store.as_ref()).await, (0..290).collect());
    let kept = names(store.as_ref()).await;
    let manifests = kept
        .iter()
        .filter(|path| path.as_ref().contains("_progress/"))
        .count();
    assert_eq!(manifests as u64, crate::limits::PLAIN_MANIFESTS_MAX);
    let gone_back = one
        .append(vec![], &Progress::from_iter([("wiki/1", 1)]))
        .await
        .unwrap_err();
    assert_eq!(gone_back.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn windows_are_committed_by_age_and_by_size_and_hours_that_end_with_the_rows_are_marked() {
    let store = Arc::new(InMemory::new());
    let options = PlainOptions {
        window: Duration::from_millis(20),
        ..plain()
    };
    let files = PlainFiles::open(store.clone(), "wiki", options).await.unwrap();
    files
        .append(vec![received_rows(0..3)], &progress(3))
        .await
        .unwrap();
    while files.durable_progress().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(check_no_row_twice(store.as_ref()).await, (0..3).collect());
    let marker = Path::from(format!("{}/_SUCCESS", folder_of(0)));
    assert!(store.get(&marker).await.is_err());
    files
        .passed(jiff::Timestamp::from_microsecond(DAY + 2 * HOUR).unwrap())
        .await
        .unwrap();
    let body = store.get(&marker).await.unwrap().bytes().await.unwrap();
    assert_eq!(body, "{\"until\":\"2015-09-12T02:00:00Z\"}\n");

    let small = PlainOptions {
        window_bytes: 1,
        ..plain()
    };
    let files = PlainFiles::open(Arc::new(InMemory::new()), "wiki", small)
        .await
        .unwrap();
    for id in 0..5u64 {
        files
            .append(vec![received_rows(id as i64..id as i64 + 1)], &progress(id + 1))
            .await
            .unwrap();
        assert_eq!(files.durable_progress(), (id > 0).then(|| progress(id)));
    }
    assert_eq!(Sink::progress(files.as_ref()).await.unwrap(), Some(progress(5)));
}

#[tokio::test]
async fn lines_are_what_other_tools_read() {
    for format in [PlainFormat::NdjsonGzip, PlainFormat::NdjsonZstd] {
        let store = Arc::new(InMemory::new());
        let options = PlainOptions { format, ..plain() };
        let files = PlainFiles::open(store.clone(), "wiki", options).await.unwrap();
        files
            .append(vec![received_rows(0..2), received_rows(2..3)], &progress(3))
            .await
            .unwrap();
        files.flush().await.unwrap();
        let path = names(store.as_ref())
            .await
            .into_iter()
            .find(|path| path.as_ref().contains("part-"));
        let path = path.unwrap();
        let body = store.get(&path).await.unwrap().bytes().await.unwrap();
        let mut text = String::new();
        let read = match format {
            PlainFormat::NdjsonGzip => flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text),
            _ => zstd::Decoder::new(&body[..]).unwrap().read_to_string(&mut text),
        };
        read.unwrap();
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(
            lines
                .iter()
                .map(|line| line["id"].as_i64().unwrap())
                .collect::<Vec<_>>(),
            [0, 1, 2]
        );
        assert_eq!(lines[1]["eventTime"], "2015-09-12T00:02:00Z");
        assert!(
            path.as_ref()
                .starts_with("wiki/2015/09/12/00/part-00000000000000000000-00000000000000000003.ndjson")
        );
    }
}
