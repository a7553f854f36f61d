//! A step of load, as in figure 5 of the Sparrow paper: 1× → 50× → 1×, and how workers, lag and latency follow. Synthetic.
//!
//! `cargo run --release -p processor --example load_step -- wait|compute [SECONDS [EVENTS]] > step.csv`. One dataset in
//! the queue in memory; its job's functions cost a fixed time for each event, in which they wait (as for an answer from
//! elsewhere) or compute. SECONDS is the length of the step, EVENTS the load at 1×, a second. A line for each second:
//! load, workers given and wanted, age of the oldest batch, and the 99th percentile of the latency of what was committed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use event::{Batch, BatchHeader, BatchKey, DatasetName, EmitterId, Encoding, Epoch, Sequence, Tier};
use flow::{JobOptions, JobView, Local, Producer, Sink, Source, Timestamp};
use processor::{Lag, QueueSource, ScaleOptions, Scaler, Visibility};
use queue::{MemoryQueue, Queue, Record};
use store::Progress;

const BATCH_EVENTS: u64 = 10;
const EVENT_BYTES: usize = 500;
/// What an event costs.
const WAIT: Duration = Duration::from_millis(4);
const COMPUTE: Duration = Duration::from_micros(400);

#[derive(Clone, Copy, PartialEq)]
enum Cost {
    Wait,
    Compute,
}

impl Cost {
    fn pay(self, events: u32) {
        match self {
            Self::Wait => std::thread::sleep(WAIT * events),
            Self::Compute => {
                let (began, mut n) = (Instant::now(), 0u64);
                while began.elapsed() < COMPUTE * events {
                    n = std::hint::black_box(n.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1));
                }
            }
        }
    }
}

/// Keeps nothing but how long batches took.
#[derive(Default)]
struct Latencies {
    held: Mutex<Option<Progress>>,
    latencies: Visibility,
    events: AtomicU64,
}

#[async_trait]
impl Sink<(i64, u32)> for Latencies {
    async fn progress(&self) -> flow::Result<Option<Progress>> {
        Ok(self.held.lock().expect("no panic").clone())
    }

    async fn write(&self, items: Vec<(Timestamp, (i64, u32))>, progress: &Progress) -> flow::Result<()> {
        let now = jiff::Timestamp::now().as_microsecond();
        for (_, (received_us, events)) in items {
            let took = u64::try_from(now - received_us).unwrap_or(0);
            self.latencies.record(took, u64::from(events));
            self.events.fetch_add(u64::from(events), Ordering::Relaxed);
        }
        *self.held.lock().expect("no panic") = Some(progress.clone());
        Ok(())
    }
}

fn batch(dataset: &DatasetName, sequence: u64) -> Batch {
    let now = jiff::Timestamp::now();
    Batch {
        dataset: dataset.clone(),
        header: BatchHeader {
            key: BatchKey {
                emitter: EmitterId(uuid::Uuid::from_u128(1)),
                epoch: Epoch(0),
                sequence: Sequence(sequence),
            },
            events: BATCH_EVENTS as u32,
            encoding: Encoding::Ndjson,
            generated_at: now,
            received_at: now,
        },
        payload: vec![b' '; EVENT_BYTES * BATCH_EVENTS as usize].into(),
    }
}

/// Sends at a rate that is read anew all the time: what was due by now, every 10 ms.
async fn send(queue: Arc<dyn Queue>, dataset: DatasetName, rate: Arc<AtomicU64>) {
    let (mut ticks, mut due, mut sequence) = (tokio::time::interval(Duration::from_millis(10)), 0.0, 0);
    let mut last = Instant::now();
    loop {
        ticks.tick().await;
        due += rate.load(Ordering::Relaxed) as f64 * last.elapsed().as_secs_f64();
        last = Instant::now();
        while due >= BATCH_EVENTS as f64 {
            due -= BATCH_EVENTS as f64;
            queue
                .append(batch(&dataset, sequence))
                .await
                .expect("the queue takes it");
            sequence += 1;
        }
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let cost = match arguments.first().map(String::as_str) {
        Some("wait") => Cost::Wait,
        Some("compute") => Cost::Compute,
        _ => return eprintln!("usage: load_step wait|compute [SECONDS [EVENTS]]"),
    };
    let number = |place: usize, default: u64| {
        let given = arguments.get(place).and_then(|text| text.parse().ok());
        given.unwrap_or(default)
    };
    let (step, once) = (number(1, 60), number(2, 60));
    let dataset: DatasetName = "step".parse().expect("a name");
    let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(1));
    queue.create(&dataset, 1).await.expect("a new queue");

    let (lag, sink) = (
        Arc::new(Lag::new(queue.clone(), dataset.clone())),
        Arc::new(Latencies::default()),
    );
    let view = Arc::new(Mutex::new(None::<JobView>));
    let (viewed, measured) = (view.clone(), lag.clone());
    let scale = Scaler::start(ScaleOptions::default());
    let workers = scale.join("step", Tier::Standard, move || {
        let view = viewed.lock().expect("no panic");
        let progress = view.as_ref().map(|view| view.progress().0).unwrap_or_default();
        measured.measured(&progress, jiff::Timestamp::now())
    });
    let source = QueueSource::new(queue.clone(), dataset.clone()).with_lag(lag);
    let tail = Producer::<Local, Record>::source(Arc::new(source) as Arc<dyn Source<Record>>)
        .map(move |record| {
            cost.pay(record.batch.header.events);
            (
                record.batch.header.received_at.as_microsecond(),
                record.batch.header.events,
            )
        })
        .write(sink.clone() as Arc<dyn Sink<(i64, u32)>>);
    let options = JobOptions {
        // Short epochs: how many threads an epoch has is decided when it begins.
        epoch_bytes_max: 1 << 20,
        workers: Some(workers.clone()),
        ..JobOptions::default()
    };
    let job = Local::run("step", &tail, options).expect("a job");
    *view.lock().expect("no panic") = Some(job.view());

    let rate = Arc::new(AtomicU64::new(once));
    tokio::spawn(send(queue, dataset, rate.clone()));
    println!("second,load,done,workers,wanted,reason,lag_s,p99_s");
    let (first, last) = (10, 120);
    let (mut ticks, mut done, mut seen) = (tokio::time::interval(Duration::from_secs(1)), 0, None);
    ticks.tick().await;
    for second in 1..=first + step + last {
        ticks.tick().await;
        let (status, all) = (workers.status(), sink.events.load(Ordering::Relaxed));
        let load = rate.load(Ordering::Relaxed);
        println!(
            "{second},{load},{},{},{},{},{:.3},{:.3}",
            all - done,
            status.workers,
            status.wanted,
            status.reason,
            status.lag_age.as_secs_f64(),
            sink.latencies.since(&mut seen).value_at_quantile(0.99) as f64 / 1e6,
        );
        done = all;
        let stepped = (first..first + step).contains(&second);
        rate.store(if stepped { 50 * once } else { once }, Ordering::Relaxed);
    }
}
