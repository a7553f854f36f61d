//! Closed batches: what plain loops give over the epochs that there were, and what holds however epochs fall.

mod grown;
mod single;
mod world;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flow::{
    BatchId, Batcher, CalendarUnit, Closing, ErrorKind, Hopping, JobOptions, JobStatus, Local, Memory, Open,
    PlanOptions, Platform, Producer, Tail, Tails, Timestamp, Window,
};
use proptest::prelude::*;
use store::{MemoryStore, Progress};

use self::world::{EpochSink, Named, PartSource, Times, Told, Twin, part_name};
use crate::crash::script;
use crate::kit::{Add, Fault, Faulty, Pair, Script, Timed, options, runtime};
use crate::rules::{planned_by, planners};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Policy {
    Count,
    Aside,
    Correct,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    Fixed(u64),
    /// Hours where the clock changes by less than an hour.
    Calendar,
    Hopping(u64, u64),
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn batcher(cut: Cut) -> Batcher {
    match cut {
        Cut::Fixed(length) => Batcher::every(millis(length)).unwrap(),
        Cut::Calendar => {
            let zone = jiff::tz::TimeZone::get("Australia/Lord_Howe").unwrap();
            Batcher::calendar(CalendarUnit::Hour, zone)
        }
        Cut::Hopping(..) => unreachable!("windows are no batches"),
    }
}

/// How the generated elements' times are scaled, so that they fall into a handful of batches.
fn scale(cut: Cut) -> i64 {
    if cut == Cut::Calendar { 240_000 } else { 1 }
}

/// The windows of a time, by number and end.
fn windows_of(cut: Cut, time: Timestamp) -> Vec<(i64, Timestamp)> {
    match cut {
        Cut::Hopping(length, step) => {
            let (length, step) = (length as i64, step as i64);
            let last = time.0.div_euclid(step) * step;
            let starts = (0..).map(|hop| last - hop * step);
            let mut starts: Vec<i64> = starts.take_while(|start| time.0 < start + length).collect();
            starts.reverse();
            starts
                .into_iter()
                .map(|start| (start, Timestamp(start + length)))
                .collect()
        }
        _ => {
            let batch = batcher(cut).batch_of(time);
            vec![(batch.0, batcher(cut).start_of(batch.next()))]
        }
    }
}

/// The two kinds of windows.
trait TestWindow: Window + std::fmt::Debug {
    fn closing(cut: Cut) -> Closing<Self>;
    fn cut<P: Platform>(cut: Cut, pairs: &Producer<P, Pair>) -> Producer<P, ((u8, Self), Add)>;
}

impl TestWindow for BatchId {
    fn closing(cut: Cut) -> Closing<Self> {
        Closing::batches(batcher(cut))
    }
    fn cut<P: Platform>(cut: Cut, pairs: &Producer<P, Pair>) -> Producer<P, ((u8, Self), Add)> {
        pairs.batched(batcher(cut))
    }
}

fn hopping(cut: Cut) -> Hopping {
    match cut {
        Cut::Hopping(length, step) => Hopping::new(millis(length), millis(step)).unwrap(),
        _ => unreachable!("batches do not overlap"),
    }
}

impl TestWindow for Timestamp {
    fn closing(cut: Cut) -> Closing<Self> {
        Closing::windows(hopping(cut))
    }
    fn cut<P: Platform>(cut: Cut, pairs: &Producer<P, Pair>) -> Producer<P, ((u8, Self), Add)> {
        pairs.windowed(hopping(cut))
    }
}

/// Where a job reads and writes, on one platform.
struct Places<P: Platform, W: Window> {
    sources: [P::Source<Pair>; 2],
    raw: P::Sink<Pair>,
    sums: P::Store<(u8, W), Add>,
    open: P::Store<Open<(u8, W)>, ()>,
    told: P::Sink<Told<(u8, W)>>,
    late: P::Sink<((u8, W), Add)>,
    totals: P::Store<u8, Add>,
}

/// Both sources as one, by way of functions that change nothing but give rules something to do.
fn both<P: Platform, W: Window>(places: &Places<P, W>) -> Producer<P, Pair> {
    let [one, two] = places.sources.clone();
    let both = Producer::source(one)
        .name("one")
        .merge(&Producer::source(two).name("two"));
    let (even, odd) = (
        both.filter(|(key, _)| key % 2 == 0),
        both.filter(|(key, _)| key % 2 != 0),
    );
    let again = even.map(|pair| pair).merge(&odd.map(|pair| pair));
    again.filter(|_| true).map(|pair| pair)
}

/// Sinks before and after the closing, a sum below it, and the late elements where there are some.
fn job<P: Platform, W: TestWindow>(places: &Places<P, W>, run: &Run) -> Tails<P> {
    let both = both(places);
    let raw = both.write(places.raw.clone());
    let (_, closed) = closed(places, run, &both);
    match run.policy {
        Policy::Aside => raw.also(closed),
        _ => closed.also(raw),
    }
}

type ToldBy<P, W> = Producer<P, Told<(u8, W)>>;

/// What a closing tells, and the tails at it and below it.
fn closed<P: Platform, W: TestWindow>(
    places: &Places<P, W>,
    run: &Run,
    pairs: &Producer<P, Pair>,
) -> (ToldBy<P, W>, Tails<P>) {
    let closing = &W::closing(run.cut)
        .out_of_orderness(millis(run.times.out_of_orderness as u64))
        .lateness(millis(run.times.lateness as u64))
        .idleness(millis(run.times.idleness as u64))
        .name("closing");
    let sums = W::cut(run.cut, pairs).sum_by_key(places.sums.clone());
    let open = places.open.clone();
    let mut late = None;
    let told = match run.policy {
        Policy::Count => sums.close(closing, open).map_values(|sum| (None, sum)),
        Policy::Correct => Producer::clone(&sums.close_with_corrections(closing, open)),
        Policy::Aside => {
            let closed = sums.close_with_late(closing, open);
            late = Some(closed.late.write(places.late.clone()));
            closed.closed.map_values(|sum| (None, sum))
        }
    };
    let told = told.filter(|_| true);
    let totals = told
        .map(|((key, _), (_, sum))| (key, sum))
        .sum_by_key(places.totals.clone());
    let written = told.write(places.told.clone());
    let tails = match late {
        None => totals.also(written),
        Some(late) => written.also(totals).also(late),
    };
    (told, tails)
}

#[derive(Clone, Debug)]
struct Run {
    cut: Cut,
    policy: Policy,
    times: Times,
    /// For each source, its parts; and what comes to the parts of the first one after the end.
    input: [Vec<Vec<Timed<Pair>>>; 2],
    more: Vec<Timed<Pair>>,
    script: Vec<Fault>,
    pace: Vec<usize>,
    names_parts: bool,
    /// By which of the planners it runs.
    planner: usize,
}

impl Run {
    fn plan(&self) -> PlanOptions {
        planned_by(planners().swap_remove(self.planner))
    }
}

struct LocalWorld<W: Window> {
    sources: [PartSource; 2],
    raw: EpochSink<Pair>,
    sums: MemoryStore<(u8, W), Add>,
    open: MemoryStore<Open<(u8, W)>, ()>,
    told: EpochSink<Told<(u8, W)>>,
    late: EpochSink<((u8, W), Add)>,
    totals: MemoryStore<u8, Add>,
}

impl<W: TestWindow> LocalWorld<W> {
    fn new(run: &Run) -> Self {
        let sources = run.input.clone();
        Self {
            sources: sources.map(|parts| PartSource {
                names_parts: run.names_parts,
                ..PartSource::new(parts, run.pace.clone())
            }),
            raw: EpochSink::default(),
            sums: MemoryStore::new(),
            open: MemoryStore::new(),
            told: EpochSink::default(),
            late: EpochSink::default(),
            totals: MemoryStore::new(),
        }
    }

    fn places(&self, script: &Script) -> Places<Local, W> {
        Places {
            sources: self.sources.clone().map(|source| Arc::new(source) as _),
            raw: faulty(&self.raw, script),
            sums: faulty(&self.sums, script),
            open: faulty(&self.open, script),
            told: faulty(&self.told, script),
            late: faulty(&self.late, script),
            totals: faulty(&self.totals, script),
        }
    }

    /// What a source has between two progresses, each element with its part.
    fn between(&self, from: &Progress, to: &Progress) -> Vec<(String, Timed<Pair>)> {
        let mut elements = Vec::new();
        for (source, name) in self.sources.iter().zip(SOURCES) {
            for (n, items) in source.parts.lock().unwrap().iter().enumerate() {
                let part = format!("{name}{}", part_name(n));
                let items = &items[from.of(&part) as usize..to.of(&part) as usize];
                elements.extend(items.iter().map(|item| (part.clone(), *item)));
            }
        }
        elements
    }

    /// What plain loops make of the epochs that there were below the closing.
    fn twin<'a>(&self, run: &Run, windows: &'a dyn Fn(Timestamp) -> Vec<(i64, Timestamp)>) -> Twin<'a> {
        let (mut twin, mut from) = (Twin::new(run.times, windows), Progress::default());
        for (to, _) in self.told.epochs() {
            let named = to.0.keys().filter(|part| *part != "$end").cloned().collect();
            let ended = from.of("$end") < to.of("$end");
            twin.epoch(&self.between(&from, &to), &named, &SOURCES, ended);
            from = to;
        }
        twin
    }
}

fn faulty<S: Clone>(inner: &S, script: &Script) -> Arc<Faulty<S>> {
    let (inner, script) = (inner.clone(), script.clone());
    Arc::new(Faulty { inner, script })
}

const SOURCES: [&str; 2] = ["one/", "two/"];

/// Runs until the input has ended, again after each crash.
async fn run_to_the_end(tails: &Tails<Local>) -> JobStatus {
    run_planned(tails, PlanOptions::default()).await
}

async fn run_planned(tails: &Tails<Local>, plan: PlanOptions) -> JobStatus {
    let options = JobOptions {
        plan,
        ..options(1 << 20, 2)
    };
    loop {
        let mut job = Local::run("closing", tails, options.clone()).unwrap();
        match job.join().await {
            Ok(()) => return job.status(),
            Err(error) if error.kind() == ErrorKind::Corrupt => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn named<W: TestWindow, T: Clone>(items: &[Timed<((u8, W), T)>]) -> Vec<Timed<(Named, T)>> {
    let named = |(time, ((key, window), value)): &Timed<((u8, W), T)>| {
        (*time, ((*key, window.number()), value.clone()))
    };
    items.iter().map(named).collect()
}

/// What `Memory` tells of the same elements.
fn on_memory<W: TestWindow>(run: &Run, input: [Vec<Timed<Pair>>; 2]) -> Vec<Timed<Told<Named>>> {
    let places = Places::<Memory, W> {
        sources: input,
        raw: Arc::default(),
        sums: Arc::default(),
        open: Arc::default(),
        told: Arc::default(),
        late: Arc::default(),
        totals: Arc::default(),
    };
    Memory::run(&job(&places, run));
    assert_eq!(*places.late.lock().unwrap(), []);
    named(&places.told.lock().unwrap())
}

/// Whether all faults of the script have happened.
fn check<W: TestWindow>(run: &Run) -> bool {
    let world = LocalWorld::<W>::new(run);
    let script: Script = Arc::new(Mutex::new(run.script.clone().into()));
    let tails = job(&world.places(&script), run);
    let (runtime, plan) = (runtime(), run.plan());
    runtime.block_on(run_planned(&tails, plan.clone()));
    check_against_twin(run, &world, None);
    let epochs = world.told.epochs().len();
    runtime.block_on(run_planned(&tails, plan.clone()));
    assert_eq!(
        world.told.epochs().len(),
        epochs,
        "a job that has ended does nothing more"
    );
    // What comes after the end is late for what was closed then, and on time for later batches.
    world.sources[0].parts.lock().unwrap()[0].extend(run.more.clone());
    let status = runtime.block_on(run_planned(&tails, plan));
    check_against_twin(run, &world, Some(&status));
    check_laws(run, &world);
    script.lock().unwrap().is_empty()
}

/// Everything is what plain loops give over the same epochs.
fn check_against_twin<W: TestWindow>(run: &Run, world: &LocalWorld<W>, status: Option<&JobStatus>) {
    let windows = |time| windows_of(run.cut, time);
    let twin = world.twin(run, &windows);
    let told = world.told.epochs();
    for (n, (progress, items)) in told.iter().enumerate() {
        let mut expected = twin.finals[n].clone();
        if run.policy == Policy::Correct {
            expected.splice(0..0, twin.corrections[n].clone());
        }
        assert_eq!(named(items), expected, "epoch={n} progress={progress}");
    }
    if run.policy == Policy::Aside {
        let late = world.late.epochs();
        assert_eq!(late.len(), told.len(), "the sinks have other epochs");
        for (n, (progress, items)) in late.iter().enumerate() {
            assert_eq!(named(items), twin.late[n], "epoch={n} progress={progress}");
        }
    }
    let sums = world.sums.entries().into_iter();
    let sums: BTreeMap<Named, Add> = sums
        .map(|((key, window), sum)| ((key, window.number()), sum))
        .collect();
    assert_eq!(sums, twin.sums, "late elements are in the sums too");
    let mut totals = BTreeMap::<u8, Add>::new();
    for (_, ((key, _), (_, sum))) in world.told.items() {
        totals.entry(key).or_default().0 += sum.0;
    }
    assert_eq!(world.totals.entries(), totals.into_iter().collect::<Vec<_>>());
    assert_eq!(world.open.entries(), [], "the end closes everything");
    if let Some(status) = status {
        let [closing] = &status.closings[..] else {
            panic!("{:?}", status.closings)
        };
        assert_eq!((closing.name.as_str(), closing.open_batches), ("closing", 0));
        assert_eq!(closing.late, twin.late_elements() as u64);
    }
}

/// Whatever the epochs were.
fn check_laws<W: TestWindow>(run: &Run, world: &LocalWorld<W>) {
    let mut left: BTreeMap<Named, Add> = BTreeMap::new();
    let mut last: BTreeMap<Named, Add> = BTreeMap::new();
    for (_, (key, (before, sum))) in named(&world.told.items()) {
        assert_eq!(
            before,
            last.get(&key).copied(),
            "handed on again without what was before key={key:?}"
        );
        last.insert(key, sum);
    }
    for ((key, window), sum) in world.sums.entries() {
        left.insert((key, window.number()), sum);
    }
    if run.policy == Policy::Correct {
        assert_eq!(last, left, "the last correction is the sum");
    }
    if run.policy == Policy::Aside {
        for (_, (key, late)) in named(&world.late.items()) {
            last.entry(key).or_default().0 += late.0;
        }
        assert_eq!(last, left, "closed and late elements are the sum");
    }
    let input = world
        .sources
        .each_ref()
        .map(|source| source.parts.lock().unwrap().concat());
    let memory = on_memory::<W>(run, input);
    let sums: BTreeMap<Named, Add> = memory.iter().map(|(_, (key, (_, sum)))| (*key, *sum)).collect();
    assert_eq!(sums, left, "`Memory` has no late elements");
    let windows = |time| windows_of(run.cut, time);
    if world.twin(run, &windows).late_elements() == 0 {
        assert_eq!(
            named(&world.told.items()),
            memory,
            "without late elements both tell the same, in one order"
        );
    }
}

fn cuts() -> impl Strategy<Value = Cut> {
    prop_oneof![
        (1u64..30).prop_map(Cut::Fixed),
        Just(Cut::Calendar),
        (1u64..20, 1u64..4).prop_map(|(step, times)| Cut::Hopping(step * times + step / 2, step)),
    ]
}

/// Parts that drift on, with elements up to some bound behind or before.
fn runs() -> impl Strategy<Value = Run> {
    let element = (-3i64..6, 0i64..25, 0u8..3, -9i64..10);
    let part = prop::collection::vec(element, 0..30);
    let source = prop::collection::vec(part.clone(), 0..3);
    let policy = prop_oneof![Just(Policy::Count), Just(Policy::Aside), Just(Policy::Correct)];
    let times = (0i64..30, 0i64..30, prop_oneof![0i64..40, Just(1_000_000)]);
    (
        cuts(),
        policy,
        times,
        source.clone(),
        source,
        part,
        script(),
        (prop::collection::vec(0usize..7, 1..5), any::<bool>(), 0usize..8),
    )
        .prop_map(
            |(cut, policy, times, one, two, more, script, (mut pace, names_parts, planner))| {
                let mut one = one;
                one.push(Vec::new());
                pace.push(1);
                let by = scale(cut);
                let timed = |part: Vec<(i64, i64, u8, i64)>, start: i64| {
                    let mut now = start;
                    let timed = part.into_iter().map(|(step, behind, key, value)| {
                        now += step;
                        (Timestamp((now - behind) * by), (key, Add(value)))
                    });
                    timed.collect::<Vec<_>>()
                };
                let source = |parts: Vec<_>| parts.into_iter().map(|part| timed(part, 0)).collect();
                Run {
                    cut,
                    policy,
                    times: Times {
                        out_of_orderness: times.0 * by,
                        lateness: times.1 * by,
                        idleness: times.2 * by,
                    },
                    input: [source(one), source(two)],
                    more: timed(more, 40),
                    script,
                    pace,
                    names_parts,
                    planner,
                }
            },
        )
}

fn check_any(run: &Run) -> bool {
    match run.cut {
        Cut::Hopping(..) => check::<Timestamp>(run),
        _ => check::<BatchId>(run),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_plain_loops_give(run in runs()) {
        check_any(&run);
    }
}

/// Three parts that drift apart, with late elements, closed in several epochs.
fn drifting(policy: Policy, script: Vec<Fault>) -> Run {
    let part = |n: i64| {
        let times = (0..12i64).map(move |i| i * 5 + n * 3 - if i % 4 == 3 { 30 } else { 0 });
        times
            .map(move |time| (Timestamp(time), ((time % 3).unsigned_abs() as u8, Add(time + n))))
            .collect::<Vec<_>>()
    };
    Run {
        cut: Cut::Fixed(10),
        policy,
        times: Times {
            out_of_orderness: 2,
            lateness: 3,
            idleness: 1000,
        },
        input: [vec![part(0), part(1)], vec![part(2)]],
        more: vec![(Timestamp(11), (0, Add(1000))), (Timestamp(111), (0, Add(2000)))],
        script,
        pace: vec![3, 2, 4],
        names_parts: false,
        planner: 1,
    }
}

#[test]
fn a_crash_at_each_commit() {
    for policy in [Policy::Count, Policy::Aside, Policy::Correct] {
        let crashes = |commit: &usize| {
            let mut crashes = [false, true].into_iter().map(|applied| {
                let mut script = vec![Fault::None; *commit];
                script.push(Fault::Crash { applied });
                check_any(&drifting(policy, script))
            });
            crashes.all(|crashed| crashed)
        };
        let commits = (0..).take_while(crashes).count();
        // At least four epochs and two ends, of five tails each.
        assert!(commits >= 30, "policy={policy:?} commits={commits}");
    }
}
