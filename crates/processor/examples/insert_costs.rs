//! What the insert modes cost on this machine: CPU a row, and a commit; the numbers of `warehouse::Costs`. Linux.
//!
//! `cargo run --release -p processor --example insert_costs [seconds] [batches a second] [events a batch]`

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use event::{Batch, BatchHeader, BatchKey, EmitterId, Encoding, Epoch, Sequence};
use flow::JobOptions;
use jiff::Timestamp;
use processor::{Processor, ProcessorOptions};
use queue::{MemoryQueue, Queue};
use warehouse::{InsertMode, Warehouse, WarehouseOptions};

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Clone, Copy)]
struct Load {
    seconds: u64,
    batches_per_second: u64,
    events: u64,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let mut next = |default| numbers.next().unwrap_or(Ok(default));
    let load = Load {
        seconds: next(20)?.max(1),
        batches_per_second: next(500)?.clamp(1, 1_000),
        events: next(20)?.max(1),
    };
    let rows = (load.seconds * load.batches_per_second * load.events) as f64;
    println!("{rows} rows in {} s, batches of {}", load.seconds, load.events);
    // What sending costs is in all runs, and is taken off.
    let (sending, _) = run(load, None).await?;
    let window = Duration::from_secs((load.seconds / 4).max(1));
    for mode in [InsertMode::Streaming, InsertMode::MicroBatch { window }] {
        let text = format!("{mode:?}");
        let (cpu, commits) = run(load, Some(mode)).await?;
        println!(
            "{text}: {:.2} µs CPU a row, {commits} commits of rows",
            (cpu - sending) * 1e6 / rows
        );
    }
    commit_cost().await
}

/// CPU seconds of the process over a run, and commits.
async fn run(load: Load, mode: Option<InsertMode>) -> Outcome<(f64, u64)> {
    let folder = tempfile::tempdir()?;
    let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(1));
    let warehouse = Arc::new(Warehouse::open(WarehouseOptions::new(folder.path())).await?);
    let clock = Arc::new(Timestamp::now);
    let start = cpu_seconds()?;
    let mut processor = None;
    if let Some(mode) = &mode {
        let schema = Arc::new(event::DatasetSchema::empty());
        warehouse.create("d", schema).await?.set_insert_mode(mode.clone());
        processor = Some(Processor::start(ProcessorOptions {
            queue: queue.clone(),
            warehouse: warehouse.clone(),
            settings: Arc::new(|_| event::DatasetSettings::default()),
            chains: Arc::new(|_| Ok(processor::Chain::default())),
            plain: None,
            job: JobOptions::default(),
            scale: processor::ScaleOptions::default(),
            clock,
        }));
    }
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / load.batches_per_second as u32);
    for sequence in 0..load.seconds * load.batches_per_second {
        ticks.tick().await;
        queue.append(batch(sequence, load.events)?).await?;
    }
    if let Some(processor) = processor {
        processor.caught_up().await;
        processor.stop().await;
    }
    let commits = warehouse.table("d").map_or(0, |table| table.stats().flushes);
    warehouse.close().await?;
    Ok((cpu_seconds()? - start, commits))
}

/// CPU of commits of one row.
async fn commit_cost() -> Outcome<()> {
    const COMMITS: u64 = 100;
    let folder = tempfile::tempdir()?;
    let warehouse = Warehouse::open(WarehouseOptions::new(folder.path())).await?;
    let table = warehouse
        .create("d", Arc::new(event::DatasetSchema::empty()))
        .await?;
    let start = cpu_seconds()?;
    for n in 1..=COMMITS {
        table
            .append(Vec::new(), &store::Progress::from_iter([("0", n)]))
            .await?;
        table.flush().await?;
    }
    let cpu = cpu_seconds()? - start;
    println!("a commit without files: {:.2} ms CPU", cpu * 1e3 / COMMITS as f64);
    Ok(())
}

fn batch(sequence: u64, events: u64) -> Outcome<Batch> {
    let now = Timestamp::now();
    let line = |n: u64| {
        let (user, page) = (n * 7_919 % 10_007, n % 97);
        format!(
            "{{\"user\":{user},\"page\":\"/articles/{page}\",\"ms\":{}}}",
            n % 1_000
        )
    };
    let lines: Vec<String> = (0..events).map(|n| line(sequence * events + n)).collect();
    Ok(Batch {
        dataset: "d".parse()?,
        header: BatchHeader {
            key: BatchKey {
                emitter: EmitterId(uuid::Uuid::from_u128(1)),
                epoch: Epoch(0),
                sequence: Sequence(sequence),
            },
            events: u32::try_from(events)?,
            encoding: Encoding::Ndjson,
            generated_at: now,
            received_at: now,
        },
        payload: lines.join("\n").into(),
    })
}

/// User and system time of this process; the kernel counts in hundredths.
fn cpu_seconds() -> Outcome<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The fields behind the name, which may hold spaces; the 14th and 15th of all.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: Vec<f64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}
