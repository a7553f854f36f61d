//! One dataset's trouble is its own: functions that panic or never end, and many datasets at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use event::{Batch, DatasetName};
use flow::{Job, JobOptions, Local, Producer, Sink, Source, VecSink};
use jiff::Timestamp;
use processor::{Lag, Processor, ProcessorOptions, QueueSource, ScaleOptions, Scaler};
use queue::{MemoryQueue, Offset, Partition, Queue, Record};

use super::{numbers, warehouse};

/// All that is slow in a server, in milliseconds.
fn quick() -> ScaleOptions {
    ScaleOptions {
        cores: 2,
        every: Duration::from_millis(10),
        overdue_after: Duration::from_millis(20),
        stuck_after: Duration::from_millis(100),
        ..ScaleOptions::default()
    }
}

fn named(dataset: &str, batch: Batch) -> Batch {
    Batch {
        dataset: dataset.parse().unwrap(),
        ..batch
    }
}

/// A place where functions stay until they are let go.
#[derive(Default)]
struct Trap {
    caught: AtomicUsize,
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Trap {
    fn stay(&self) {
        self.caught.fetch_add(1, Ordering::SeqCst);
        let open = self.is_open.lock().unwrap();
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

/// Lets them go when the test ends, also when it fails: a runtime waits for its threads.
struct Opens(Arc<Trap>);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.open();
    }
}

async fn until(mut holds: impl FnMut() -> bool) {
    let reached = async {
        while !holds() {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reached)
        .await
        .unwrap();
}

/// A clock that a test can break, for the thread-bound functions that stamp tracers.
fn processor(
    queue: &Arc<dyn Queue>,
    warehouse: &Arc<warehouse::Warehouse>,
    clock: processor::Clock,
    scale: ScaleOptions,
) -> Processor {
    Processor::start(ProcessorOptions {
        queue: queue.clone(),
        warehouse: warehouse.clone(),
        settings: Arc::new(|_| event::DatasetSettings::default()),
        chains: Arc::new(|_| Ok(processor::Chain::default())),
        plain: None,
        job: JobOptions::default(),
        scale,
        clock,
    })
}

fn rows(warehouse: &warehouse::Warehouse, table: &str) -> usize {
    let Some(table) = warehouse.table(table) else {
        return 0;
    };
    let version = table.version();
    let in_files: u64 = version.files.iter().map(|file| file.rows).sum();
    let hot = version.hot.iter().map(arrow::array::RecordBatch::num_rows);
    in_files as usize + hot.sum::<usize>()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_functions_panic_is_named_and_hurts_no_other_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(1));
    let warehouse = warehouse(folder.path()).await;
    // Of this dataset the job's functions ask the clock. So does the sink, but only after them.
    let stands = Arc::new(AtomicBool::new(false));
    let clock = {
        let stands = stands.clone();
        move || {
            assert!(!stands.load(Ordering::SeqCst), "a clock that stands still");
            Timestamp::now()
        }
    };
    // So that the scaler does not ask it.
    let scale = ScaleOptions {
        every: Duration::from_secs(3_600),
        ..quick()
    };
    let processor = processor(&queue, &warehouse, Arc::new(clock), scale);
    let tracers = event::TRACERS;
    for sequence in 0..2 {
        queue
            .append(named(tracers, numbers(1, sequence, 0..1)))
            .await
            .unwrap();
    }
    until(|| rows(&warehouse, tracers) == 2).await;
    stands.store(true, Ordering::SeqCst);
    queue.append(named(tracers, numbers(1, 2, 0..1))).await.unwrap();
    let error = || {
        let status = processor.status();
        let tracers = status
            .iter()
            .find(|status| status.dataset.as_str() == event::TRACERS);
        tracers
            .and_then(|status| status.last_error.clone())
            .unwrap_or_default()
    };
    until(|| error().contains("partition=0 offset=2 times=2")).await;
    assert!(error().contains("a clock that stands still"), "{}", error());
    stands.store(false, Ordering::SeqCst);
    until(|| rows(&warehouse, tracers) == 3).await;
    processor.stop().await;
    warehouse.close().await.unwrap();
}

/// A job of a dataset whose functions call one of the test's for each batch.
fn job(
    scaler: &Scaler,
    queue: &Arc<dyn Queue>,
    dataset: &str,
    function: impl Fn(&Record) + Send + Sync + 'static,
) -> (Job, Arc<processor::JobScale>, VecSink<u64>) {
    let name: DatasetName = dataset.parse().unwrap();
    let lag = Arc::new(Lag::new(queue.clone(), name.clone()));
    let view = Arc::new(Mutex::new(None::<flow::JobView>));
    let (of, measured) = (view.clone(), lag.clone());
    let scale = scaler.join(dataset, event::Tier::Standard, move || {
        let view = of.lock().unwrap();
        let progress = view.as_ref().map(|view| view.progress().0).unwrap_or_default();
        measured.measured(&progress, Timestamp::now())
    });
    let source = Arc::new(QueueSource::new(queue.clone(), name).with_lag(lag));
    let sink = VecSink::default();
    let tail = Producer::source(source as Arc<dyn Source<Record>>)
        .map(move |record| {
            function(&record);
            record.offset.0
        })
        .write(Arc::new(sink.clone()) as Arc<dyn Sink<u64>>);
    let options = JobOptions {
        workers: Some(scale.clone()),
        ..JobOptions::default()
    };
    let job = Local::run(dataset, &tail, options).unwrap();
    *view.lock().unwrap() = Some(job.view());
    (job, scale, sink)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_that_never_end_stop_nobody_else() {
    let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(1));
    let (scaler, trap) = (Scaler::start(quick()), Arc::new(Trap::default()));
    let (_opens, mut jobs) = (Opens(trap.clone()), Vec::new());
    // More than there are cores, workers of computing functions, and threads of the runtime.
    for n in 0..20 {
        let (name, trap) = (format!("stuck{n}"), trap.clone());
        queue.append(named(&name, numbers(1, 0, 0..1))).await.unwrap();
        jobs.push(job(&scaler, &queue, &name, move |_| trap.stay()));
    }
    until(|| trap.caught.load(Ordering::SeqCst) == 20).await;
    until(|| jobs.iter().all(|(_, scale, _)| scale.status().is_stuck)).await;
    let status = jobs[0].1.status();
    assert_eq!((status.workers, status.reason.to_string().as_str()), (1, "stuck"));
    assert_eq!(
        status.lag_age,
        status.lag_age.max(Duration::from_secs(1)),
        "the batch is old"
    );

    for sequence in 0..50 {
        queue
            .append(named("well", numbers(1, sequence, 0..1)))
            .await
            .unwrap();
    }
    let (well, _scale, sink) = job(&scaler, &queue, "well", |_| ());
    until(|| sink.items().len() == 50).await;
    // A job that stops waits for its functions: the processor asks whether they are stuck.
    let (mut stuck, scale, _) = jobs.pop().unwrap();
    stuck.stop();
    scale.stuck().await;
    assert!(futures::FutureExt::now_or_never(stuck.join()).is_none());
    trap.open();
    stuck.join().await.unwrap();
    until(|| jobs.iter().all(|(_, scale, _)| !scale.status().is_stuck)).await;
    drop(well);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_slow_functions_gets_workers_and_gives_them_back() {
    let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(1));
    let scaler = Scaler::start(ScaleOptions {
        lag_objective: Duration::from_millis(20),
        job_workers_most: 4,
        patience: 2,
        stuck_after: Duration::from_secs(3_600),
        ..quick()
    });
    let trap = Arc::new(Trap::default());
    let _opens = Opens(trap.clone());
    let waits = trap.clone();
    let batch = |sequence: u64| {
        let mut batch = named("flood", numbers(1, sequence, 0..1));
        // As large as a chunk is at least, so that each may have a thread.
        batch.payload = vec![b' '; 4 << 10].into();
        batch.header.received_at = Timestamp::now();
        batch
    };
    // A job is of a dataset that there is.
    queue.append(batch(0)).await.unwrap();
    let (_job, scale, sink) = job(&scaler, &queue, "flood", move |_| waits.stay());
    // Nothing is known of functions that have not ended: no more workers than cores.
    until(|| scale.status().workers == 2).await;
    trap.open();
    until(|| sink.items().len() == 1).await;
    until(|| scale.status().wanted == 0).await;
    for sequence in 1..100 {
        queue.append(batch(sequence)).await.unwrap();
    }
    until(|| sink.items().len() == 100).await;
    let offsets: Vec<u64> = sink.items().into_iter().map(|(_, offset)| offset).collect();
    assert_eq!(offsets, (0..100).collect::<Vec<_>>());
    until(|| scale.status().workers == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_datasets_each_see_their_events() {
    let folder = tempfile::tempdir().unwrap();
    let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(1));
    let warehouse = warehouse(folder.path()).await;
    let processor = processor(&queue, &warehouse, Arc::new(Timestamp::now), quick());
    let names: Vec<String> = (0..100).map(|n| format!("d{n}")).collect();
    for name in &names {
        queue.append(named(name, numbers(1, 0, 0..3))).await.unwrap();
    }
    for name in &names {
        let dataset = name.parse().unwrap();
        let visible = processor.visible(&dataset, Partition(0), Offset(0));
        tokio::time::timeout(Duration::from_secs(120), visible)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(rows(&warehouse, name), 3);
    }
    // An epoch is over a little after its rows are visible.
    until(|| {
        let status = processor.status();
        assert_eq!(status.len(), names.len());
        assert!(status.iter().all(|status| status.last_error.is_none()));
        status.iter().all(|status| status.behind_batches == 0)
    })
    .await;
    processor.stop().await;
    warehouse.close().await.unwrap();
}
