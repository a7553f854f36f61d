//! The engine's own promises: live jobs, panics, second writers, tails that do not fit together.

use std::sync::Arc;

use async_trait::async_trait;
use flow::{
    ErrorKind, JobOptions, JobState, Local, Producer, Result, Service, Sink, Slice, Source, Tail, Timestamp,
    VecSink, VecSource,
};
use store::{Commit, MemoryStore, Progress, Store};
use tokio::sync::watch;

use crate::kit::{Add, options, timed};

/// An unbounded source: numbers up to what the test has allowed so far.
struct Numbers(watch::Receiver<u64>);

#[async_trait]
impl Source<u64> for Numbers {
    async fn start(&self) -> Result<Progress> {
        Ok(Progress::default())
    }
    async fn read(
        &self,
        from: &Progress,
        until: Option<&Progress>,
        _: usize,
    ) -> Result<Option<Vec<Slice<u64>>>> {
        let start = from.of("p");
        let mut end = *self.0.clone().wait_for(|end| *end > start).await.unwrap();
        if let Some(until) = until {
            end = end.min(until.of("p"));
            if end <= start {
                return Ok(None);
            }
        }
        let items = (start..end).map(|n| (Timestamp(n as i64), n)).collect();
        Ok(Some(vec![Slice {
            part: "p".to_owned(),
            next: end,
            items,
            bytes: 8,
        }]))
    }
}

fn numbers(end: u64) -> (watch::Sender<u64>, Producer<Local, u64>) {
    let (sender, receiver) = watch::channel(end);
    (
        sender,
        Producer::source(Arc::new(Numbers(receiver)) as Arc<dyn Source<u64>>),
    )
}

/// Tells the test about each commit.
struct Watched<S>(S, watch::Sender<Progress>);

#[async_trait]
impl<T: flow::Element, S: Sink<T>> Sink<T> for Watched<S> {
    async fn progress(&self) -> Result<Option<Progress>> {
        self.0.progress().await
    }
    async fn write(&self, items: Vec<(Timestamp, T)>, progress: &Progress) -> Result<()> {
        self.0.write(items, progress).await?;
        self.1.send_replace(progress.clone());
        Ok(())
    }
}

fn parts(parts: &[(&str, u64)]) -> Progress {
    parts.iter().map(|(part, next)| (*part, *next)).collect()
}

#[tokio::test]
async fn a_live_job_goes_on_until_it_is_stopped() {
    let (more, source) = numbers(3);
    let (sink, (sender, mut seen)) = (VecSink::default(), watch::channel(Progress::default()));
    let tail = source.write(Arc::new(Watched(sink.clone(), sender)) as Arc<dyn Sink<u64>>);
    let mut job = Local::run("live", &tail, JobOptions::default()).unwrap();
    seen.wait_for(|progress| progress.of("p") == 3).await.unwrap();
    more.send_replace(5);
    seen.wait_for(|progress| progress.of("p") == 5).await.unwrap();
    job.stop();
    job.join().await.unwrap();
    let status = job.status();
    assert_eq!(
        (status.state, status.elements, status.progress),
        (JobState::Stopped, 5, parts(&[("p", 5)]))
    );
    assert_eq!(sink.items().len(), 5);
}

#[tokio::test]
async fn a_source_that_waits_does_not_hold_back_another() {
    let ((_more, waiting), (_other, ready)) = (numbers(0), numbers(2));
    let (sink, (sender, mut seen)) = (VecSink::default(), watch::channel(Progress::default()));
    let merged = waiting.name("waiting").merge(&ready.name("ready"));
    let tail = merged.write(Arc::new(Watched(sink, sender)) as Arc<dyn Sink<u64>>);
    let job = Local::run("two", &tail, JobOptions::default()).unwrap();
    seen.wait_for(|progress| *progress == parts(&[("ready/p", 2)]))
        .await
        .unwrap();
    drop((job, tail));
    seen.wait_for(|_| false).await.unwrap_err();
}

/// A source that never waits: so many reads of one element, or of none, each.
struct Ready(u64, usize);

#[async_trait]
impl Source<u64> for Ready {
    async fn start(&self) -> Result<Progress> {
        Ok(Progress::default())
    }
    async fn read(&self, from: &Progress, _: Option<&Progress>, _: usize) -> Result<Option<Vec<Slice<u64>>>> {
        let start = from.of("p");
        Ok((start < self.0).then(|| {
            vec![Slice {
                part: "p".to_owned(),
                next: start + 1,
                items: vec![(Timestamp(start as i64), start); self.1],
                bytes: 8,
            }]
        }))
    }
}

/// On one thread, where nothing that the job asks for ever waits.
#[tokio::test]
async fn a_job_lets_other_tasks_run() {
    const READS: u64 = 1_000;
    for items in [0, 1] {
        let source = Producer::<Local, _>::source(Arc::new(Ready(READS, items)) as Arc<dyn Source<u64>>);
        let sink = VecSink::default();
        let tail = source.write(Arc::new(sink.clone()) as Arc<dyn Sink<u64>>);
        let mut job = Local::run("ready", &tail, options(64, 1)).unwrap();
        let mut ended = std::pin::pin!(job.join());
        // Each time that it lets others run, this test is one of them.
        let mut turns = 0;
        while futures::poll!(&mut ended).is_pending() {
            turns += 1;
            tokio::task::yield_now().await;
        }
        assert!(turns >= READS, "items={items} turns={turns}");
        assert_eq!(sink.items().len() as u64, READS * items as u64);
    }
}

#[tokio::test]
async fn a_panic_fails_its_job_alone() {
    for count in [1, 10_000] {
        let source = || Producer::<Local, i32>::source(Arc::new(VecSource::new(timed(0..count))));
        let (bad, good) = (VecSink::default(), VecSink::default());
        let broken = source().map(move |n| if n == count - 1 { panic!("no {n}") } else { n });
        let broken = broken.write(Arc::new(bad.clone()) as Arc<dyn Sink<i32>>);
        let mut broken = Local::run("broken", &broken, JobOptions::default()).unwrap();
        let whole = source().write(Arc::new(good.clone()) as Arc<dyn Sink<i32>>);
        let mut whole = Local::run("whole", &whole, JobOptions::default()).unwrap();
        let error = broken.join().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let text = error.to_string();
        assert!(
            text.contains("job=broken") && text.contains(&format!("no {}", count - 1)),
            "{text}"
        );
        assert_eq!(broken.status().state, JobState::Failed);
        assert!(bad.items().is_empty());
        whole.join().await.unwrap();
        assert_eq!(
            (whole.status().state, good.items().len()),
            (JobState::Ended, count as usize)
        );
    }
}

fn total(source: &Producer<Local, i64>, store: Arc<dyn Store<(), Add>>) -> impl Tail<Local> + use<> {
    source.map(|n| ((), Add(n))).sum_by_key(store)
}

fn source(items: std::ops::Range<i64>) -> Producer<Local, i64> {
    Producer::<Local, i64>::source(Arc::new(VecSource::new(timed(items))))
}

/// Two runs of one job: whoever is late is fenced, looks again, and goes on; nothing counts twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_runs_at_once_count_once() {
    for round in 0..20 {
        let (a, b) = (MemoryStore::<i64, Add>::new(), MemoryStore::new());
        let having = MemoryStore::<i64, Add>::new();
        let run = |epoch_bytes_max| {
            let source = source(0..300);
            let sum = source
                .map(|n| (n % 10, Add(n)))
                .sum_by_key(Arc::new(a.clone()) as Arc<dyn Store<i64, Add>>);
            let next = sum.map(|(_, (before, delta))| (before.map_or(0, |_| 1), delta));
            let tail = sum
                .also(next.sum_by_key(Arc::new(having.clone()) as Arc<dyn Store<i64, Add>>))
                .also(total(&source, Arc::new(b.clone())));
            let options = JobOptions {
                conflicts_max: 10_000,
                ..options(epoch_bytes_max, 1)
            };
            Local::run("twice", &tail, options).unwrap()
        };
        let (mut first, mut second) = (run(16 * (1 + round)), run(16 * 7));
        let (one, two) = tokio::join!(first.join(), second.join());
        one.and(two).unwrap();
        let sum: i64 = (0..300).sum();
        assert_eq!(b.entries(), [((), Add(sum))]);
        assert_eq!(a.entries().iter().map(|(_, n)| n.0).sum::<i64>(), sum);
        assert_eq!(having.entries().iter().map(|(_, n)| n.0).sum::<i64>(), sum);
    }
}

/// A store that another writer always reaches first.
struct Raced(MemoryStore<(), Add>);

#[async_trait]
impl Store<(), Add> for Raced {
    async fn multi_get(&self, keys: &[()]) -> store::Result<Vec<Option<Add>>> {
        self.0.multi_get(keys).await
    }
    async fn commit(&self, commit: Commit<(), Add>) -> store::Result<()> {
        let expected = self.0.progress().await?;
        let mut progress = expected.clone().unwrap_or_default();
        progress.advance("0", progress.of("0") + 1);
        self.0
            .commit(Commit {
                writes: Vec::new(),
                expected,
                progress,
            })
            .await?;
        self.0.commit(commit).await
    }
    async fn progress(&self) -> store::Result<Option<Progress>> {
        self.0.progress().await
    }
    async fn scan(&self, after: Option<&()>, limit: usize) -> store::Result<Vec<((), Add)>> {
        self.0.scan(after, limit).await
    }
}

#[tokio::test]
async fn a_job_that_always_loses_fails() {
    let raced = MemoryStore::new();
    let tail = total(&source(0..100), Arc::new(Raced(raced.clone())));
    let error = Local::run("late", &tail, options(1 << 20, 1))
        .unwrap()
        .join()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("stop one of them"), "{error}");
    assert!(raced.entries().is_empty());
}

#[tokio::test]
async fn one_store_for_two_sums_is_refused() {
    let (source, store) = (
        source(0..3),
        Arc::new(MemoryStore::new()) as Arc<dyn Store<(), Add>>,
    );
    let tail = total(&source, store.clone()).also(total(&source, store));
    let error = Local::run("twice", &tail, JobOptions::default()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("tail=sum-4 job=twice"), "{error}");
}

async fn store_at(progress: Progress) -> Arc<dyn Store<(), Add>> {
    let store = MemoryStore::new();
    store
        .commit(Commit {
            writes: Vec::new(),
            expected: None,
            progress,
        })
        .await
        .unwrap();
    Arc::new(store)
}

#[tokio::test]
async fn tails_of_different_jobs_are_refused() {
    let both = source(0..3).name("a").merge(&source(0..3).name("b"));
    let one = store_at(parts(&[("a/0", 2), ("b/0", 1)])).await;
    let two = store_at(parts(&[("a/0", 1), ("b/0", 2)])).await;
    let tail = total(&both, one).also(total(&both, two));
    let error = Local::run("mixed", &tail, JobOptions::default())
        .unwrap()
        .join()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = error.to_string();
    assert!(
        text.contains("not of one job") && text.contains("tail=sum-") && text.contains("other=sum-"),
        "{text}"
    );

    let tail = total(&both, store_at(parts(&[("c/0", 2)])).await);
    let error = Local::run("renamed", &tail, JobOptions::default())
        .unwrap()
        .join()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("part=\"c/0\""), "{error}");
}

#[tokio::test]
async fn a_new_tail_below_an_old_sum_is_refused() {
    let sum = source(0..3)
        .map(|n| ((), Add(n)))
        .sum_by_key(store_at(parts(&[("0", 2)])).await);
    let tail = sum
        .name("old")
        .map(|(_, (_, delta))| delta)
        .write(Arc::new(VecSink::default()) as _)
        .name("new");
    let error = Local::run("grown", &tail, JobOptions::default())
        .unwrap()
        .join()
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("tail=new progress= other=old other_progress=0:2"),
        "{error}"
    );
}

#[tokio::test]
async fn sources_need_names_of_their_own() {
    let both = source(0..3).name("same").merge(&source(0..3).name("same"));
    let tail = both.write(Arc::new(VecSink::default()) as _);
    let error = Local::run("names", &tail, JobOptions::default()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// Starts where the test says; reads like a vector.
struct From(VecSource<i64>, watch::Receiver<u64>);

#[async_trait]
impl Source<i64> for From {
    async fn start(&self) -> Result<Progress> {
        Ok(parts(&[("0", *self.1.borrow())]))
    }
    async fn read(
        &self,
        from: &Progress,
        until: Option<&Progress>,
        max: usize,
    ) -> Result<Option<Vec<Slice<i64>>>> {
        self.0.read(from, until, max).await
    }
}

#[tokio::test]
async fn the_start_is_kept_with_the_first_run() {
    let (start, receiver) = watch::channel(4);
    let (store, sink) = (MemoryStore::new(), VecSink::default());
    let source = Producer::<Local, i64>::source(Arc::new(From(VecSource::new([]), receiver.clone())));
    let job = |source: &Producer<Local, i64>| {
        total(source, Arc::new(store.clone()))
            .also(source.write(Arc::new(sink.clone()) as Arc<dyn Sink<i64>>))
    };
    Local::run("empty", &job(&source), JobOptions::default())
        .unwrap()
        .join()
        .await
        .unwrap();
    start.send_replace(8);
    let source =
        Producer::source(Arc::new(From(VecSource::new(timed(0..10)), receiver)) as Arc<dyn Source<i64>>);
    Local::run("full", &job(&source), JobOptions::default())
        .unwrap()
        .join()
        .await
        .unwrap();
    assert_eq!(store.entries(), [((), Add(4 + 5 + 6 + 7 + 8 + 9))]);
    assert_eq!(sink.items().len(), 6);
}

/// A service whose answers are too few.
struct Short;

#[async_trait]
impl Service<i64, i64> for Short {
    async fn multi_get(&self, _: &[i64]) -> Result<Vec<Option<i64>>> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn a_broken_port_is_named() {
    let tail = source(0..3).lookup(Arc::new(Short) as Arc<dyn Service<i64, i64>>);
    let tail = tail.write(Arc::new(VecSink::default()) as _);
    let error = Local::run("short", &tail, JobOptions::default())
        .unwrap()
        .join()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}
