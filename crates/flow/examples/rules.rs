//! Runs jobs that the planner rewrites, with its rules and without them, in turns, and compares their times on one
//! thread: `cargo run --release -p flow --example rules`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flow::{JobOptions, Local, PlanOptions, Planner, Producer, Source, Tail, Tails, Timestamp, VecSource};
use store::{MemoryStore, Store};

const ELEMENTS: u64 = 4_000_000;
const TURNS: usize = 9;

type Numbers = Producer<Local, u64>;
type Functions = fn(&Numbers) -> Numbers;

fn sum(numbers: &Numbers) -> (Tails<Local>, MemoryStore<u64, u64>) {
    let store = MemoryStore::new();
    let shared: Arc<dyn Store<u64, u64>> = Arc::new(store.clone());
    (numbers.map(|n| (n % 8, n)).sum_by_key(shared).ends(), store)
}

fn filters(numbers: &Numbers) -> Numbers {
    (2..8).fold(numbers.clone(), |numbers, n| {
        numbers.filter(move |m| m % (n * 10) != 0)
    })
}

fn other_types(numbers: &Numbers) -> Numbers {
    (0..4).fold(numbers.clone(), |numbers, _| {
        numbers.map(|n| (n, 1)).map(|(n, one)| n + one)
    })
}

fn diamond(numbers: &Numbers) -> Numbers {
    let sides = (1..5).map(|n| numbers.map(move |m| m + n));
    sides
        .reduce(|left, right| left.merge(&right))
        .expect("there are sides")
}

async fn timed(job: Functions, source: &Numbers, planner: Planner) -> flow::Result<Duration> {
    let (tail, store) = sum(&job(source));
    let options = JobOptions {
        parallelism: 1,
        plan: PlanOptions {
            planner,
            ..PlanOptions::default()
        },
        ..JobOptions::default()
    };
    let began = Instant::now();
    Local::run("rules", &tail, options)?.join().await?;
    let took = began.elapsed();
    assert!(!store.entries().is_empty());
    Ok(took)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> flow::Result<()> {
    let items = VecSource::new((0..ELEMENTS).map(|n| (Timestamp(n as i64), n)));
    let source = Numbers::source(Arc::new(items) as Arc<dyn Source<u64>>);
    let jobs: [(&str, Functions); 4] = [
        ("no functions", Numbers::clone),
        ("six filters", filters),
        ("eight maps of other types", other_types),
        ("a diamond of four maps", diamond),
    ];
    for (name, job) in jobs {
        let mut turns = Vec::new();
        for _ in 0..TURNS {
            let without = timed(job, &source, Planner::none()).await?;
            let with = timed(job, &source, Planner::default()).await?;
            turns.push((without.as_secs_f64() / with.as_secs_f64(), without, with));
        }
        turns.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (ratio, without, with) = turns[TURNS / 2];
        println!("{name}: without={without:.0?} with={with:.0?} without/with={ratio:.2}");
    }
    Ok(())
}
