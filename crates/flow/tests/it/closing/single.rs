//! One thing at a time: idle parts, silence, closings below closings, stores as JSON, and what is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use flow::{
    BatchId, Batcher, ClientStore, Closing, ErrorKind, HybridJob, HybridSource, JobStatus, Live, Local,
    Memory, Open, Producer, Result, Sink, SnapshotOptions, Snapshots, Source, Tail, Tails, Ticks, Timestamp,
    VecSink, VecSource, Window,
};
use proptest::prelude::*;
use store::{Commit, ManualClock, MemoryStore, Progress, Store, Typed, Writable};
use tokio::sync::watch;

use super::world::{EpochSink, PartSource};
use super::{millis, run_to_the_end};
use crate::kit::{Add, Fault, Faulty, Pair, Script, Timed, options, runtime, timed};

pub(super) type Sums<W> = MemoryStore<(u8, W), Add>;
pub(super) type OpenKeys<W> = MemoryStore<Open<(u8, W)>, ()>;
pub(super) type Finals = EpochSink<((u8, BatchId), Add)>;

pub(super) fn tens() -> Batcher {
    Batcher::every(millis(10)).unwrap()
}

pub(super) fn one(time: i64, value: i64) -> Timed<Pair> {
    (Timestamp(time), (0, Add(value)))
}

fn source(parts: Vec<Vec<Timed<Pair>>>, pace: Vec<usize>) -> Producer<Local, Pair> {
    Producer::source(Arc::new(PartSource::new(parts, pace)) as Arc<dyn Source<Pair>>)
}

/// Sums by tens, and what is told when they are closed.
pub(super) fn tens_closed(
    pairs: &Producer<Local, Pair>,
    closing: &Closing<BatchId>,
    sums: Arc<dyn Store<(u8, BatchId), Add>>,
    open: Arc<dyn Store<Open<(u8, BatchId)>, ()>>,
    told: &Finals,
) -> Tails<Local> {
    let closed = pairs.batched(tens()).sum_by_key(sums).close(closing, open);
    closed.write(Arc::new(told.clone()) as Arc<dyn Sink<_>>).ends()
}

/// What is told before the input has ended.
fn before_the_end(told: &Finals) -> Vec<i64> {
    let epochs = told.epochs();
    let live = epochs
        .iter()
        .filter(|(progress, _)| !progress.0.contains_key("$end"));
    live.flat_map(|(_, items)| items.iter().map(|(time, _)| time.0))
        .collect()
}

/// A part that has stopped holds batches open until it is behind by the idleness; then it counts again.
#[test]
fn an_idle_part_does_not_hold_everything_for_ever() {
    let told_with = |idleness| {
        let steady = (0..20).map(|n| one(n * 10, 1)).collect();
        let told = Finals::default();
        let closing = Closing::batches(tens()).idleness(millis(idleness));
        let (sums, open) = (Sums::new(), OpenKeys::new());
        let pairs = source(vec![steady, vec![one(3, 1)]], vec![1]);
        let tails = tens_closed(&pairs, &closing, Arc::new(sums), Arc::new(open), &told);
        let status = runtime().block_on(run_to_the_end(&tails));
        assert_eq!((told.items().len(), status.closings[0].late), (20, 0));
        before_the_end(&told)
    };
    assert!(told_with(1000).is_empty());
    // The steady part ends at 190: less 100, batches up to 90 are closed before the end.
    assert_eq!(told_with(100), [9, 19, 29, 39, 49, 59, 69, 79, 89]);
    assert_eq!(told_with(0).len(), 19);
}

/// Tells the test about what arrives.
struct Watched(watch::Sender<usize>);

#[async_trait]
impl Sink<((u8, BatchId), Add)> for Watched {
    async fn progress(&self) -> Result<Option<Progress>> {
        Ok(None)
    }
    async fn write(&self, items: Vec<Timed<((u8, BatchId), Add)>>, _: &Progress) -> Result<()> {
        self.0.send_modify(|count| *count += items.len());
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ticks_close_batches_when_nothing_else_comes() {
    let clock = ManualClock::default();
    let ticks = Ticks::new(Arc::new(clock), Timestamp(1000), millis(10)).unwrap();
    let ticks = Producer::<Local, ()>::source(Arc::new(ticks) as _).name("ticks");
    let events = vec![one(1005, 1), one(1012, 2), one(1007, 4)];
    let events = Producer::source(Arc::new(VecSource::new(events)) as Arc<dyn Source<_>>).name("events");
    let pairs = events.merge(&ticks.flat_map(|()| None));
    let closing = Closing::batches(tens())
        .out_of_orderness(millis(10))
        .idleness(millis(50))
        .name("tens");
    let sums = pairs.batched(tens()).sum_by_key(Arc::new(Sums::new()) as _);
    let (sender, mut seen) = watch::channel(0);
    let closed = sums.close(&closing, Arc::new(OpenKeys::new()) as _);
    let mut job = Local::run(
        "ticks",
        &closed.write(Arc::new(Watched(sender)) as _),
        options(64, 1),
    )
    .unwrap();
    seen.wait_for(|count| *count == 2).await.unwrap();
    job.stop();
    job.join().await.unwrap();
    let status = job.status().closings;
    assert_eq!(
        (status[0].name.as_str(), status[0].open_batches, status[0].late),
        ("tens", 0, 0)
    );
    assert!(status[0].watermark >= Some(Timestamp(1020)), "{status:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// What a closing tells is on time for a closing below it, whatever their lateness is and however epochs fall.
    #[test]
    fn a_closing_below_a_closing(
        steps in prop::collection::vec((0i64..9, 0i64..15, 0u8..3, -9i64..10), 0..60),
        pace in prop::collection::vec(1usize..9, 1..4),
        lateness in (0u64..20, 0u64..20),
    ) {
        let mut now = 0;
        let elements = steps.into_iter().map(|(step, behind, key, value)| {
            now += step;
            (Timestamp(now - behind), (key, Add(value)))
        });
        let (two, three) = (Batcher::every(millis(20)).unwrap(), Batcher::every(millis(60)).unwrap());
        let first = VecSink::<((u8, BatchId), Add)>::default();
        let second = VecSink::<((u8, BatchId), Add)>::default();
        let pairs = source(vec![elements.collect()], pace);
        let sums = pairs.batched(two.clone()).sum_by_key(Arc::new(Sums::new()) as _);
        let closing = Closing::batches(two).lateness(millis(lateness.0));
        let closed = sums.close(&closing, Arc::new(OpenKeys::new()) as _);
        let again = closed.map_keys(|(key, _)| key).batched(three.clone());
        let again = again.sum_by_key(Arc::new(Sums::new()) as _);
        let closing = Closing::batches(three.clone()).lateness(millis(lateness.1));
        let closed_again = again.close(&closing, Arc::new(OpenKeys::new()) as _);
        let tails = closed.write(Arc::new(first.clone()) as _).also(closed_again.write(Arc::new(second.clone()) as _));
        let status = runtime().block_on(run_to_the_end(&tails));
        prop_assert_eq!(status.closings[1].late, 0);
        let mut sums = BTreeMap::new();
        for (time, ((key, _), sum)) in first.items() {
            let batch = three.batch_of(time);
            let total: &mut Add = sums.entry((three.start_of(batch.next()).0 - 1, (key, batch))).or_default();
            total.0 += sum.0;
        }
        let sums: Vec<_> = sums.into_iter().map(|((time, key), sum)| (Timestamp(time), (key, sum))).collect();
        prop_assert_eq!(second.items(), sums);
    }
}

fn crash_after(commits: usize, applied: bool) -> Script {
    let script = std::iter::repeat_n(Fault::None, commits).chain([Fault::Crash { applied }]);
    Arc::new(Mutex::new(script.collect()))
}

/// More keys than a page has, times on both sides of zero and of many lengths, kept as JSON, over a crash.
#[test]
fn open_keys_as_json() {
    let key_of = |n: i64| (format!("key {n}"), BatchId((n - 1500) * (1 << (n % 40)) / 10));
    let script = crash_after(7, false);
    let (sums, told) = (MemoryStore::<(String, BatchId), Add>::new(), VecSink::default());
    let open = Arc::new(Faulty {
        inner: Typed::<Open<(String, BatchId)>, ()>::new("open", Arc::new(MemoryStore::new())),
        script,
    });
    let closing = Closing::batches(tens()).lateness(Duration::MAX);
    let elements = timed((0..3000).map(|n| (key_of(n), Add(n))));
    let source = Producer::<Local, _>::source(Arc::new(VecSource::new(elements)) as Arc<dyn Source<_>>);
    let closed = source.sum_by_key(Arc::new(sums) as _).close(&closing, open as _);
    let tail = closed.write(Arc::new(told.clone()) as _).ends();
    let run = async {
        loop {
            let done = Local::run("json", &tail, options(20_000, 1))
                .unwrap()
                .join()
                .await;
            match done {
                Ok(()) => return,
                Err(error) => assert_eq!(error.to_string(), "crash job=json"),
            }
        }
    };
    runtime().block_on(run);
    assert!(told.items().is_sorted_by_key(|(time, _)| *time));
    let mut got: Vec<_> = told
        .items()
        .into_iter()
        .map(|(_, (key, sum))| (key, sum))
        .collect();
    let mut all: Vec<_> = (0..3000).map(|n| (key_of(n), Add(n))).collect();
    got.sort();
    all.sort();
    assert!(got == all, "told={} of {}", got.len(), all.len());
}

/// Notes how many keys it is asked for at once.
struct Counted(Sums<BatchId>, Mutex<Vec<usize>>);

#[async_trait]
impl Store<(u8, BatchId), Add> for Counted {
    async fn multi_get(&self, keys: &[(u8, BatchId)]) -> store::Result<Vec<Option<Add>>> {
        self.1.lock().unwrap().push(keys.len());
        self.0.multi_get(keys).await
    }
    async fn commit(&self, commit: Commit<(u8, BatchId), Add>) -> store::Result<()> {
        self.0.commit(commit).await
    }
    async fn progress(&self) -> store::Result<Option<Progress>> {
        self.0.progress().await
    }
    async fn scan(
        &self,
        after: Option<&(u8, BatchId)>,
        limit: usize,
    ) -> store::Result<Vec<((u8, BatchId), Add)>> {
        self.0.scan(after, limit).await
    }
}

/// A sum and its closing ask the sum's store for so many keys at once.
#[test]
fn a_closing_asks_for_so_many_keys_at_once() {
    let elements = (0..20).map(|key| (Timestamp(5), (key, Add(1)))).collect();
    let sums = Arc::new(Counted(Sums::new(), Mutex::default()));
    let told = Finals::default();
    let closing = Closing::batches(tens()).name("closed");
    let pairs = source(vec![elements], vec![20]);
    let tails = tens_closed(&pairs, &closing, sums.clone(), Arc::new(OpenKeys::new()), &told);
    let options = options(1 << 20, 1).set("closed.call_keys_max", "8").unwrap();
    runtime()
        .block_on(async { Local::run("asks", &tails, options).unwrap().join().await })
        .unwrap();
    assert_eq!(told.items().len(), 20);
    assert_eq!(*sums.1.lock().unwrap(), [8, 8, 4, 8, 8, 4]);
}

/// Other times for the next run: what is closed stays so, and what is open closes by the new ones.
#[test]
fn a_closing_may_be_given_other_times() {
    let elements: Vec<_> = (0..30).map(|n| one(n * 3, 1)).collect();
    let (told, sums, open) = (Finals::default(), Sums::new(), OpenKeys::new());
    let open = Arc::new(Faulty {
        inner: open,
        script: crash_after(6, true),
    });
    let tails = |lateness| {
        let pairs = source(vec![elements.clone()], vec![3]);
        let closing = Closing::batches(tens()).lateness(millis(lateness));
        tens_closed(&pairs, &closing, Arc::new(sums.clone()), open.clone(), &told)
    };
    let status = runtime().block_on(async {
        let mut first = Local::run("other", &tails(0), options(64, 1)).unwrap();
        first.join().await.unwrap_err();
        first.status()
    });
    let closed = told.items().len();
    assert!(closed > 0 && status.closings[0].open_batches == 1, "{status:?}");
    runtime().block_on(run_to_the_end(&tails(1_000)));
    assert_eq!(before_the_end(&told).len(), closed);
    let keys: BTreeSet<_> = told.items().into_iter().map(|(_, (key, _))| key).collect();
    assert_eq!((keys.len(), told.items().len()), (9, 9));
}

/// What happens to a job of two epochs that crashes between them, when `meanwhile` is done.
fn fails_after(meanwhile: impl AsyncFnOnce(&Sums<BatchId>, &OpenKeys<BatchId>)) -> (JobStatus, flow::Error) {
    let (sums, open, told) = (Sums::new(), OpenKeys::new(), Finals::default());
    let faulty = Arc::new(Faulty {
        inner: open.clone(),
        script: crash_after(2, false),
    });
    let pairs = source(vec![vec![one(1, 1), one(2, 2), one(25, 3)]], vec![2, 1]);
    let tails = tens_closed(
        &pairs,
        &Closing::batches(tens()),
        Arc::new(sums.clone()),
        faulty,
        &told,
    );
    runtime().block_on(async {
        let mut first = Local::run("first", &tails, options(64, 1)).unwrap();
        first.join().await.unwrap_err();
        meanwhile(&sums, &open).await;
        let mut second = Local::run("second", &tails, options(64, 1)).unwrap();
        let error = second.join().await.unwrap_err();
        (first.status(), error)
    })
}

#[test]
fn a_sum_that_is_gone_before_its_batch_is_closed() {
    let (status, error) = fails_after(async |sums, _| {
        sums.put_each(vec![((0, BatchId(0)), None)]).await;
    });
    assert_eq!(status.closings[0].open_batches, 1);
    assert_eq!(status.closings[0].watermark, Some(Timestamp(2)));
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        error
            .to_string()
            .contains("keep sums until their batch is closed end=10 ms"),
        "{error}"
    );
}

#[test]
fn a_store_that_another_job_has_written_to() {
    let (_, error) = fails_after(async |_, open| {
        let expected = open.progress().await.unwrap();
        let progress = Progress::from_iter([("0", 7)]);
        open.commit(Commit {
            writes: Vec::new(),
            expected,
            progress,
        })
        .await
        .unwrap();
    });
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("give an empty store"), "{error}");
}

/// A store that scans in the order of hashes, say.
struct Unordered(OpenKeys<BatchId>);

#[async_trait]
impl Store<Open<(u8, BatchId)>, ()> for Unordered {
    async fn multi_get(&self, keys: &[Open<(u8, BatchId)>]) -> store::Result<Vec<Option<()>>> {
        self.0.multi_get(keys).await
    }
    async fn commit(&self, commit: Commit<Open<(u8, BatchId)>, ()>) -> store::Result<()> {
        self.0.commit(commit).await
    }
    async fn progress(&self) -> store::Result<Option<Progress>> {
        self.0.progress().await
    }
    async fn scan(
        &self,
        after: Option<&Open<(u8, BatchId)>>,
        limit: usize,
    ) -> store::Result<Vec<(Open<(u8, BatchId)>, ())>> {
        let mut page = self.0.scan(after, limit).await?;
        page.reverse();
        Ok(page)
    }
}

#[test]
fn a_store_without_order_is_refused() {
    let pairs = source(vec![vec![one(1, 1), one(22, 1), one(3, 1)]], vec![9]);
    let closing = Closing::batches(tens()).lateness(Duration::MAX);
    let tails = tens_closed(
        &pairs,
        &closing,
        Arc::new(Sums::new()),
        Arc::new(Unordered(OpenKeys::new())),
        &Finals::default(),
    );
    let run = async { Local::run("order", &tails, options(64, 1)).unwrap().join().await };
    let error = runtime().block_on(run).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        error.to_string().contains("scan in the order of its keys"),
        "{error}"
    );
}

#[test]
fn a_part_with_the_name_of_the_end_is_refused() {
    struct Ends;
    #[async_trait]
    impl Source<Pair> for Ends {
        async fn start(&self) -> Result<Progress> {
            Ok(Progress::default())
        }
        async fn read(
            &self,
            _: &Progress,
            _: Option<&Progress>,
            _: usize,
        ) -> Result<Option<Vec<flow::Slice<Pair>>>> {
            let items = vec![one(1, 1)];
            Ok(Some(vec![flow::Slice {
                part: "$end".to_owned(),
                next: 1,
                items,
                bytes: 24,
            }]))
        }
    }
    let source = Producer::<Local, _>::source(Arc::new(Ends) as Arc<dyn Source<Pair>>);
    let tail = source.write(Arc::new(VecSink::default()) as _);
    let run = async { Local::run("end", &tail, options(64, 1)).unwrap().join().await };
    let error = runtime().block_on(run).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("`$end`"), "{error}");
}

#[test]
fn hybrid_refuses_to_close() {
    let source = HybridSource {
        history: Arc::new(VecSource::new(timed([(0u8, Add(1))]))) as Arc<dyn Source<Pair>>,
        live: Arc::new(VecSource::new(timed([]))),
    };
    let snapshots = || Snapshots::new(Arc::new(MemoryStore::new()), SnapshotOptions::default()).unwrap();
    let sums = ClientStore::new(snapshots(), Live::new(Arc::new(MemoryStore::new()), BatchId(0)));
    let snapshots = Snapshots::new(Arc::new(MemoryStore::new()), SnapshotOptions::default()).unwrap();
    let open = ClientStore::new(snapshots, Live::new(Arc::new(MemoryStore::new()), BatchId(0)));
    let sums = Producer::source(source).batched(tens()).sum_by_key(sums);
    let closed = sums.close(&Closing::batches(tens()), open);
    let error = HybridJob::new("hybrid", tens()).run(&closed).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        error.to_string().contains("run it on `Local` node=close"),
        "{error}"
    );
}

/// Windows of one's own: numbers that only their closing knows the ends of.
#[test]
fn windows_of_ones_own() {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    enum Half {
        First,
        Second,
    }
    impl Window for Half {
        fn number(self) -> i64 {
            self as i64
        }
        fn numbered(number: i64) -> Self {
            if number == 0 { Self::First } else { Self::Second }
        }
    }
    let half = |(time, value): (Timestamp, i64)| {
        let half = if time.0 < 50 { Half::First } else { Half::Second };
        ((0u8, half), Add(value))
    };
    let items = vec![(Timestamp(60), 1), (Timestamp(20), 2), (Timestamp(70), 4)];
    let sums = Producer::<Memory, _>::source(items)
        .with_time()
        .map(half)
        .sum_by_key(Arc::default());
    let closing = Closing::new(|half| Timestamp(if half == Half::First { 50 } else { 100 }));
    let told = Arc::<Mutex<Vec<_>>>::default();
    Memory::run(&sums.close(&closing, Arc::default()).write(told.clone()));
    let expected = [
        (Timestamp(49), ((0, Half::First), Add(2))),
        (Timestamp(99), ((0, Half::Second), Add(5))),
    ];
    assert_eq!(*told.lock().unwrap(), expected);
}
