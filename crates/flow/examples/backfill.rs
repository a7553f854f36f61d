//! What a backfill costs: two million events of a hundred thousand keys are counted anew while a reader reads, on memory
//! and on disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flow::{
    BatchId, Batcher, ClientStore, Generation, GenerationState, GenerationStore, Generations, Hybrid,
    HybridJob, HybridSource, Live, Producer, Result, SnapshotOptions, Snapshots, Source, Timestamp,
    VecSource, Versions,
};
use store::{Embedded, MemoryStore, Store, Typed};

const EVENTS: u64 = 2_000_000;
const KEYS: u64 = 100_000;
const BATCHES: i64 = 24;
/// Batches that are built; the rest is live.
const BUILT: i64 = 20;

type Event = (u64, u64);

fn key(n: u64) -> u64 {
    (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20) % KEYS
}

fn events() -> VecSource<Event> {
    let batch = EVENTS.div_ceil(BATCHES as u64);
    VecSource::new((0..EVENTS).map(|n| (Timestamp((n / batch) as i64), (key(n), 1))))
}

fn batcher() -> Result<Batcher> {
    Batcher::every(Duration::from_millis(1))
}

type Versioned = Arc<dyn Store<u64, Versions<u64>>>;
type ByBatch = Arc<dyn Store<(u64, BatchId), u64>>;

async fn measure(
    name: &str,
    pointer: Arc<dyn Store<String, GenerationState>>,
    open: impl Fn(Generation) -> Result<(Versioned, ByBatch)> + Send + Sync + 'static,
) -> Result<()> {
    let generations = Generations::new(pointer, "counts");
    let counts: GenerationStore<u64, u64> = generations.store(move |generation| {
        let (batch, live) = open(generation)?;
        let snapshots = Snapshots::new(batch, SnapshotOptions::default())?;
        Ok(ClientStore::new(snapshots, Live::new(live, BatchId(0))).with_batcher(&batcher()?))
    });
    let job = HybridJob::new("counts", batcher()?);
    let all: Arc<dyn Source<Event>> = Arc::new(events());
    let tail = |generation| {
        let source = HybridSource {
            history: all.clone(),
            live: all.clone(),
        };
        Ok(Producer::<Hybrid, _>::source(source).sum_by_key(counts.at(generation)?))
    };
    for definition in ["first", "second"] {
        let over = Arc::new(AtomicBool::new(false));
        let reader = (definition == "second").then(|| tokio::spawn(read(counts.clone(), over.clone())));
        let began = Instant::now();
        let batches = BatchId(0)..BatchId(BUILT);
        let mut live = job.backfill(&generations, definition, batches, &tail).await?;
        println!("{name}: {definition} generation in {:?}", began.elapsed());
        live.join().await?;
        over.store(true, Ordering::Relaxed);
        if let Some(reader) = reader {
            let mut took = reader.await.expect("the reader does not panic");
            took.sort_unstable();
            let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
            println!(
                "{name}: {} reads of 10 keys meanwhile, p50 {:?}, p99 {:?}, longest {:?}",
                took.len(),
                at(0.5),
                at(0.99),
                at(1.0)
            );
        }
    }
    Ok(())
}

/// How long each read took.
async fn read(counts: GenerationStore<u64, u64>, over: Arc<AtomicBool>) -> Vec<Duration> {
    let keys: Vec<u64> = (0..10).collect();
    let all = (0..EVENTS).filter(|n| keys.contains(&key(*n))).count() as u64;
    let mut took = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let read = counts.multi_get(&keys, Timestamp(BATCHES)).await;
        took.push(began.elapsed());
        let (_, answer) = read.expect("a reader gets an answer");
        assert_eq!(
            answer.values.iter().flatten().sum::<u64>(),
            all,
            "of either generation"
        );
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    took
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let memory = |_| {
        Ok((
            Arc::new(MemoryStore::new()) as _,
            Arc::new(MemoryStore::new()) as _,
        ))
    };
    measure("memory", Arc::new(MemoryStore::new()), memory).await?;
    let folder = std::env::temp_dir().join(format!("backfill-{}", std::process::id()));
    let stores = Arc::new(Embedded::open(&folder)?);
    let pointer = Typed::new("pointer", stores.store("pointer")?);
    let open = move |generation| {
        let (batch, live) = (
            format!("counts-{generation}"),
            format!("counts-{generation}-live"),
        );
        let (batch, live) = (
            Typed::new(&batch, stores.store(&batch)?),
            Typed::new(&live, stores.store(&live)?),
        );
        Ok((Arc::new(batch) as _, Arc::new(live) as _))
    };
    let measured = measure("disk", Arc::new(pointer), open).await;
    // What cannot be removed is in the folder for temporary files.
    let _ = std::fs::remove_dir_all(folder);
    measured
}
