//! `kill -9` of a process that runs a hybrid job on disk: live, builds, backfills and dropping at once. After it each store
//! holds what plain collections say for the progress it holds.
//!
//! The child is this test binary again, told by the environment where its stores are. `FLOW_KILL_ROUNDS` makes the test
//! longer.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use flow::{
    BatchId, Batcher, ClientStore, Generation, GenerationStore, Generations, Hybrid, HybridJob, HybridSource,
    Job, JobOptions, Live, Platform, Producer, Result, Slice, SnapshotOptions, Snapshots, Source, Tail,
    Tails, Timestamp,
};
use store::{Embedded, Progress, Store, Typed};

use crate::kit::{Add, Pair, Timed};

const FOLDER: &str = "FLOW_KILL_TEST_FOLDER";
const ROUND: &str = "FLOW_KILL_TEST_ROUND";
const ROUNDS: &str = "FLOW_KILL_ROUNDS";
const KEYS: u8 = 40;
/// Events that come in a round, a tenth of a millisecond apart, and up to so many milliseconds late.
const ROUND_EVENTS: u64 = 4_000;
const LATE_MS: i64 = 50;
const BATCH_MS: i64 = 200;

/// The `n`-th event.
fn event(n: u64) -> Timed<Pair> {
    let chance = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    let time = (n / 10) as i64 - (chance % LATE_MS as u64) as i64;
    (
        Timestamp(time.max(0)),
        ((chance % u64::from(KEYS)) as u8, Add(1 + (n % 7) as i64)),
    )
}

/// The offsets of all events with times before this one, and some more.
fn offset_of(time: i64) -> u64 {
    (time + LATE_MS) as u64 * 10
}

/// The events from one offset to another; it waits at the end, or ends.
struct Events {
    range: Range<u64>,
    waits: bool,
}

#[async_trait]
impl Source<Pair> for Events {
    async fn start(&self) -> Result<Progress> {
        Ok(Progress::from_iter([("0", self.range.start)]))
    }
    async fn read(
        &self,
        from: &Progress,
        until: Option<&Progress>,
        _: usize,
    ) -> Result<Option<Vec<Slice<Pair>>>> {
        let start = from.of("0");
        let end = until.map_or(self.range.end, |until| until.of("0").min(self.range.end));
        if start >= end {
            if self.waits && until.is_none() {
                std::future::pending::<()>().await;
            }
            return Ok(None);
        }
        // History is read in longer slices, or backfills would not come to their end in many rounds.
        let next = end.min(start + if self.waits { 1_000 } else { 20_000 });
        Ok(Some(vec![Slice {
            part: "0".to_owned(),
            next,
            items: (start..next).map(event).collect(),
            bytes: 24 * (next - start) as usize,
        }]))
    }
}

fn batcher() -> Batcher {
    Batcher::every(Duration::from_millis(BATCH_MS as u64)).unwrap()
}

struct World {
    generations: Generations,
    /// By key; and the sum of what it hands on, by fewer keys.
    sums: GenerationStore<u8, Add>,
    below: GenerationStore<u8, Add>,
}

fn open(folder: &Path) -> World {
    let stores = Arc::new(Embedded::open(folder).unwrap());
    let pointer = Typed::new("pointer", stores.store("pointer").unwrap());
    let generations = Generations::new(Arc::new(pointer), "sums");
    let client = |name: &'static str| {
        let stores = stores.clone();
        move |generation: Generation| {
            let (batch, live) = (
                format!("{name}-{generation}"),
                format!("{name}-{generation}-live"),
            );
            let batch = Typed::new(&batch, stores.store(&batch)?);
            let live = Typed::new(&live, stores.store(&live)?);
            let snapshots = Snapshots::new(Arc::new(batch), SnapshotOptions::default())?;
            Ok(ClientStore::new(snapshots, Live::new(Arc::new(live), BatchId(0))).with_batcher(&batcher()))
        }
    };
    World {
        sums: generations.store(client("sums")),
        below: generations.store(client("below")),
        generations,
    }
}

/// The definition of a name: its number is the factor.
fn factor(definition: &str) -> i64 {
    definition
        .strip_prefix('d')
        .map_or(1, |n| 1 + n.parse::<i64>().unwrap())
}

fn sums<P: Platform>(
    events: &Producer<P, Pair>,
    factor: i64,
    sums: P::Store<u8, Add>,
    below: P::Store<u8, Add>,
) -> Tails<P> {
    let sum = events.map_values(move |Add(n)| Add(n * factor)).sum_by_key(sums);
    let deltas = sum.map(|(key, (_, delta))| (key % 5, delta));
    sum.also(deltas.sum_by_key(below))
}

impl World {
    fn tail(&self, definition: &str, generation: Generation, built: u64, come: u64) -> Result<Tails<Hybrid>> {
        let source = HybridSource {
            history: Arc::new(Events {
                range: 0..built,
                waits: false,
            }) as Arc<dyn Source<Pair>>,
            live: Arc::new(Events {
                range: 0..come,
                waits: true,
            }),
        };
        let events = Producer::<Hybrid, Pair>::source(source);
        let (at, below) = (self.sums.at(generation)?, self.below.at(generation)?);
        Ok(sums(&events, factor(definition), at, below))
    }
}

fn job() -> HybridJob {
    let options = JobOptions {
        retry_wait_min: Duration::from_millis(1),
        ..JobOptions::default()
    };
    HybridJob::new("sums", batcher()).with_options(options)
}

/// What the child does, until it is killed. Outside of the test below, nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let world = open(Path::new(&folder));
    let come = (round + 1) * ROUND_EVENTS;
    tokio::spawn(async {
        let mut ticks = tokio::time::interval(Duration::from_millis(3));
        loop {
            ticks.tick().await;
            writeln!(std::io::stdout(), "\ntick").unwrap();
        }
    });
    // The current definition goes on while the next one is filled.
    let state = world.generations.state().await.unwrap();
    let old = world.tail(&state.definition, state.current, 0, come).unwrap();
    let mut old: Option<Job> = Some(job().run(&old).unwrap());
    // Another definition each three rounds; what was begun goes on, but for some rounds that take it back.
    let definition = match &state.filling {
        Some(filling) if round % 7 != 6 => filling.definition.clone(),
        _ => format!("d{}", round / 3),
    };
    if state
        .filling
        .as_ref()
        .is_some_and(|filling| filling.definition != definition)
    {
        world.generations.abandon().await.unwrap();
    }
    if state.definition == definition {
        old = None;
    }
    let cut = BatchId((come as i64 / 10 - LATE_MS) / BATCH_MS - 1).max(BatchId(1));
    let filling = state.filling.filter(|filling| filling.definition == definition);
    let cut = filling.map_or(cut, |filling| filling.batches.end);
    let built = |end: BatchId| offset_of(batcher().start_of(end).0);
    let tail = |generation| world.tail(&definition, generation, built(cut), come);
    let begun = job()
        .backfill(&world.generations, &definition, BatchId(0)..cut, tail)
        .await;
    let _live = begun.unwrap();
    drop(old);
    // Builds go on, a batch each, and what they cover is dropped.
    let current = world.generations.state().await.unwrap().current;
    loop {
        let bound = bounds(&world, current).await;
        let next = bound.next();
        if batcher().start_of(next).0 + LATE_MS > come as i64 / 10 {
            std::future::pending::<()>().await;
        }
        let tail = world.tail(&definition, current, built(next), come).unwrap();
        job().build(&tail, bound..next).await.unwrap();
        world.sums.at(current).unwrap().drop_covered().await.unwrap();
        world.below.at(current).unwrap().drop_covered().await.unwrap();
    }
}

/// Where the build goes on: the lesser bound of the two stores.
async fn bounds(world: &World, generation: Generation) -> BatchId {
    let mut least = BatchId(i64::MAX);
    for store in [&world.sums, &world.below] {
        let bounds = store.at(generation).unwrap().snapshots().bounds().await.unwrap();
        least = least.min(*bounds.last().unwrap());
    }
    least
}

/// Runs the child and kills it after so many lines.
fn run_and_kill(folder: &Path, round: u64, lines: u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--nocapture"])
        .env(FOLDER, folder)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let printed = BufReader::new(child.stdout.take().unwrap()).lines();
    let ticks = printed
        .map_while(std::io::Result::ok)
        .filter(|line| line == "tick");
    let seen = ticks.take(lines as usize).count() as u64;
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    assert_eq!(seen, lines, "the child has ended by itself");
}

/// What a store has to hold: the batches before `bound` whole, and the others up to an offset.
fn oracle(definition: &str, keys: u8, bound: BatchId, come: u64) -> Vec<Option<Add>> {
    let mut sums = BTreeMap::<u8, i64>::new();
    let end = batcher().start_of(bound).0;
    for n in 0..come.max(offset_of(end)) {
        let (time, (key, Add(value))) = event(n);
        if time.0 < end || n < come {
            *sums.entry(key % keys).or_default() += value * factor(definition);
        }
    }
    (0..keys).map(|key| sums.get(&key).copied().map(Add)).collect()
}

/// How far the current generation is: definition, bound and live offset of the first store.
async fn check(folder: &Path, round: u64) -> (String, BatchId, u64) {
    let world = open(folder);
    let state = world.generations.state().await.unwrap();
    let last = Timestamp(((round + 1) * ROUND_EVENTS / 10) as i64);
    let mut found = (state.definition.clone(), BatchId(i64::MIN), 0);
    for (store, keys) in [(&world.below, 5), (&world.sums, KEYS)] {
        let client = store.at(state.current).unwrap();
        let come = client
            .live()
            .progress()
            .await
            .unwrap()
            .unwrap_or_default()
            .of("0");
        if client.snapshots().bounds().await.unwrap().is_empty() {
            assert_eq!(state.definition, "", "only the first generation has no snapshot");
            continue;
        }
        let asked: Vec<u8> = (0..keys).collect();
        let (generation, answer) = store.multi_get(&asked, last).await.unwrap();
        assert_eq!(generation, state.current);
        let bound = answer.coverage.bound;
        assert!(answer.coverage.is_complete(), "{:?}", answer.coverage);
        assert_eq!(
            answer.values,
            oracle(&state.definition, keys, bound, come),
            "{state:?} bound={bound} come={come}"
        );
        found = (state.definition.clone(), bound, come);
    }
    found
}

#[tokio::test]
async fn each_store_holds_its_progress_after_kill_9() {
    let rounds = std::env::var(ROUNDS).map_or(10, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (mut chance, mut swaps, mut last) = (
        0x2545_F491_4F6C_DD1D_u64 ^ u64::from(std::process::id()),
        0,
        String::new(),
    );
    for round in 0..rounds {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        let lines = 1 + chance % 120;
        let path = folder.path().to_owned();
        tokio::task::spawn_blocking(move || run_and_kill(&path, round, lines))
            .await
            .unwrap();
        let (definition, bound, come) = check(folder.path(), round).await;
        println!(
            "round={round} lines={lines} definition={definition:?} bound={} come={come}",
            bound.0
        );
        swaps += u64::from(definition != last);
        last = definition;
    }
    assert!(swaps > 0, "no backfill came to its end");
}
