//! What datasets cost that nothing comes for: start, memory and CPU of some thousand on one processor.
//!
//! `cargo run --release -p processor --example many_datasets [-- DATASETS [SECONDS]]`. The queue is in memory, the tables
//! are in a temporary folder; each dataset gets one batch of one event. Then nothing happens for some seconds. Linux.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event::{Batch, BatchHeader, BatchKey, DatasetName, EmitterId, Encoding, Epoch, Sequence};
use flow::JobOptions;
use processor::{Processor, ProcessorOptions, ScaleOptions};
use queue::{MemoryQueue, Queue};
use warehouse::{Warehouse, WarehouseOptions};

/// This process: MB in memory, and seconds of CPU.
fn used() -> (f64, f64) {
    let read = |path: &str| std::fs::read_to_string(Path::new("/proc/self").join(path)).unwrap_or_default();
    let status = read("status");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.and_then(|text| text.trim().trim_end_matches(" kB").trim().parse::<f64>().ok());
    // The 14th and 15th field (proc(5)); the second may hold blanks and ends with a bracket. Ticks are 10 ms.
    let stat = read("stat");
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = fields
        .split_ascii_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    (kib.unwrap_or(0.0) / 1024.0, ticks / 100.0)
}

fn event_of(dataset: &DatasetName) -> Batch {
    let now = jiff::Timestamp::now();
    Batch {
        dataset: dataset.clone(),
        header: BatchHeader {
            key: BatchKey {
                emitter: EmitterId(uuid::Uuid::from_u128(1)),
                epoch: Epoch(0),
                sequence: Sequence(0),
            },
            events: 1,
            encoding: Encoding::Ndjson,
            generated_at: now,
            received_at: now,
        },
        payload: r#"{"n":1}"#.into(),
    }
}

#[tokio::main]
async fn main() {
    let number = |place: usize, default: u64| {
        let given = std::env::args().nth(place).and_then(|text| text.parse().ok());
        given.unwrap_or(default)
    };
    let (datasets, seconds) = (number(1, 2_000), number(2, 20));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(1));
    let names: Vec<DatasetName> = (0..datasets)
        .map(|n| format!("d{n}").parse().expect("a name"))
        .collect();
    for name in &names {
        queue.append(event_of(name)).await.expect("the queue takes it");
    }
    let options = WarehouseOptions {
        flush_age: Duration::from_secs(3_600),
        ..WarehouseOptions::new(folder.path())
    };
    let warehouse = Arc::new(Warehouse::open(options).await.expect("a new warehouse"));
    let ((before, cpu), began) = (used(), Instant::now());
    let processor = Processor::start(ProcessorOptions {
        queue,
        warehouse: warehouse.clone(),
        settings: Arc::new(|_| event::DatasetSettings::default()),
        chains: Arc::new(|_| Ok(processor::Chain::default())),
        plain: None,
        job: JobOptions::default(),
        scale: ScaleOptions::default(),
        clock: Arc::new(jiff::Timestamp::now),
    });
    processor.caught_up().await;
    let (running, started) = (used(), began.elapsed());
    println!("datasets                  {datasets}");
    println!(
        "until all are visible     {:.1} s, {:.1} s CPU",
        started.as_secs_f64(),
        running.1 - cpu
    );
    println!(
        "memory a dataset          {:.1} KB",
        (running.0 - before) * 1024.0 / datasets as f64
    );
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let idle = used();
    println!(
        "CPU while nothing comes   {:.2} % of a core",
        (idle.1 - running.1) * 100.0 / seconds as f64
    );
    println!("memory more since then    {:.1} MB", idle.0 - running.0);
    let asked = Instant::now();
    let status = processor.status().len();
    println!(
        "status of {status}            {:.1} ms",
        asked.elapsed().as_secs_f64() * 1e3
    );
    let stopping = Instant::now();
    processor.stop().await;
    println!(
        "stop                      {:.1} s",
        stopping.elapsed().as_secs_f64()
    );
}
