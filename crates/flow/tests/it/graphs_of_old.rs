//! The graphs that write-once systems have always been tested with, each beside its twin in plain loops: on `Memory`,
//! and on `Local` with epochs of any size and faults at any commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flow::{Memory, Producer, Tail, Tails, Timestamp};
use proptest::prelude::*;

use crate::crash::script;
use crate::graphs::{Compare, normal};
use crate::kit::{
    Add, Fault, Kit, LocalKit, MemoryKit, Pair, Timed, World, options, runtime, service, timed,
};

type Sums = BTreeMap<u8, Add>;

/// A job over up to four sources, which uses stores and sinks by number.
pub(crate) trait Graph {
    /// How its sinks are compared.
    const SINKS: &'static [(usize, Compare)] = &[];
    fn job<K: Kit>(kit: &K) -> Tails<K::P>;
    /// What the stores and sinks hold after `inputs`.
    fn twin(inputs: &[Vec<Timed<Pair>>], world: &mut World);
}

pub(crate) const TARGETS: usize = 3;

/// How a job runs: the size of its epochs, and what fails.
pub(crate) type Run = (usize, Vec<Fault>);

pub(crate) fn run() -> impl Strategy<Value = Run> {
    (24usize..1500, script())
}

/// Four sources, in no order of time.
fn inputs() -> impl Strategy<Value = Vec<Vec<Timed<Pair>>>> {
    let element = (0i64..20, 0u8..16, -5i64..6);
    let element = element.prop_map(|(time, key, value)| (Timestamp(time), (key, Add(value))));
    prop::collection::vec(prop::collection::vec(element, 0..40), 4)
}

pub(crate) fn check<G: Graph>(inputs: Vec<Vec<Timed<Pair>>>, (epoch_bytes_max, script): Run) {
    let empty = MemoryKit::new(Vec::new(), TARGETS).world();
    let mut twin = empty;
    G::twin(&inputs, &mut twin);
    let twin = normal(twin, G::SINKS);
    let memory = MemoryKit::new(inputs.clone(), TARGETS);
    Memory::run(&G::job(&memory));
    assert_eq!(normal(memory.world(), G::SINKS), twin, "memory is not its twin");
    let local = LocalKit::new(inputs, TARGETS, script, |_| 1).ragged(vec![1, 3]);
    runtime().block_on(local.run(&G::job(&local), &options(epoch_bytes_max, 2)));
    assert_eq!(normal(local.world(), G::SINKS), twin, "local is not its twin");
}

fn source<K: Kit>(kit: &K, n: usize) -> Producer<K::P, Pair> {
    Producer::source(kit.source(n))
}

fn add(sums: &mut Sums, (key, Add(delta)): Pair) {
    sums.entry(key).or_default().0 += delta;
}

/// Some elements become none, some two.
fn spread((key, Add(n)): Pair) -> Vec<Pair> {
    (0..n.rem_euclid(3))
        .map(|i| (key / 2 + i as u8, Add(n + i)))
        .collect()
}

fn mirrored((key, Add(n)): Pair) -> Vec<Pair> {
    vec![(15 - key, Add(-n)), (key, Add(7))]
}

fn odd((key, n): Pair) -> Option<Pair> {
    (n.0 % 2 != 0).then_some((key, n))
}

fn joined((n, found): (Add, Option<Add>)) -> Add {
    Add(n.0 + 100 * found.map_or(-1, |found| found.0))
}

fn found(key: u8) -> Option<Add> {
    service().get(&key).copied()
}

struct SingleStep;
impl Graph for SingleStep {
    fn job<K: Kit>(kit: &K) -> Tails<K::P> {
        source(kit, 0).flat_map(spread).sum_by_key(kit.store(0)).ends()
    }
    fn twin(inputs: &[Vec<Timed<Pair>>], world: &mut World) {
        for (_, pair) in &inputs[0] {
            spread(*pair)
                .into_iter()
                .for_each(|pair| add(&mut world.stores[0], pair));
        }
    }
}

/// The two steps that one element may take to none, one or many.
struct TwinStep;
impl Graph for TwinStep {
    fn job<K: Kit>(kit: &K) -> Tails<K::P> {
        source(kit, 0)
            .filter_map(odd)
            .flat_map(mirrored)
            .sum_by_key(kit.store(0))
            .ends()
    }
    fn twin(inputs: &[Vec<Timed<Pair>>], world: &mut World) {
        for pair in inputs[0].iter().filter_map(|(_, pair)| odd(*pair)) {
            mirrored(pair)
                .into_iter()
                .for_each(|pair| add(&mut world.stores[0], pair));
        }
    }
}

struct Diamond;
impl Graph for Diamond {
    fn job<K: Kit>(kit: &K) -> Tails<K::P> {
        let pairs = source(kit, 0);
        let (left, right) = (pairs.flat_map(spread), pairs.flat_map(mirrored));
        left.merge(&right).sum_by_key(kit.store(0)).ends()
    }
    fn twin(inputs: &[Vec<Timed<Pair>>], world: &mut World) {
        for (_, pair) in &inputs[0] {
            spread(*pair)
                .into_iter()
                .for_each(|pair| add(&mut world.stores[0], pair));
            mirrored(*pair)
                .into_iter()
                .for_each(|pair| add(&mut world.stores[0], pair));
        }
    }
}

struct MapKeys;
impl Graph for MapKeys {
    fn job<K: Kit>(kit: &K) -> Tails<K::P> {
        let keys = |key: u8| (0..key % 3).map(move |i| key / 4 + i);
        let pairs = source(kit, 0).flat_map(spread);
        pairs
            .flat_map_keys(keys)
            .map_keys(|key| key ^ 1)
            .sum_by_key(kit.store(0))
            .ends()
    }
    fn twin(inputs: &[Vec<Timed<Pair>>], world: &mut World) {
        for (key, n) in inputs[0].iter().flat_map(|(_, pair)| spread(*pair)) {
            for i in 0..key % 3 {
                add(&mut world.stores[0], ((key / 4 + i) ^ 1, n));
            }
        }
    }
}

struct LeftJoin;
impl Graph for LeftJoin {
    fn job<K: Kit>(kit: &K) -> Tails<K::P> {
        let both = source(kit, 0).flat_map(spread).left_join(kit.service());
        both.flat_map(|(key, both)| mirrored((key, joined(both))))
            .sum_by_key(kit.store(0))
            .ends()
    }
    fn twin(inputs: &[Vec<Timed<Pair>>], world: &mut World) {
        for (key, n) in inputs[0].iter().flat_map(|(_, pair)| spread(*pair)) {
            for pair in mirrored((key, joined((n, found(key))))) {
                add(&mut world.stores[0], pair);
            }
        }
    }
}

/// Equal pairs at equal times are joined each for itself.
struct RepeatedTupleLeftJoin;
impl Graph for RepeatedTupleLeftJoin {
    fn job<K: Kit>(kit: &K) -> Tails<K::P> {
        let thrice = source(kit, 0).flat_map(|pair| [pair; 3]);
        thrice
            .left_join(kit.service())
            .map_values(joined)
            .write(kit.sink(0))
            .ends()
    }
    fn twin(inputs: &[Vec<Timed<Pair>>], world: &mut World) {
        for (time, (key, n)) in &inputs[0] {
            world.sinks[0].extend([(*time, (*key, joined((*n, found(*key))))); 3]);
        }
    }
}

struct LeftJoinWithFlatMapValues;
impl Graph for LeftJoinWithFlatMapValues {
    fn job<K: Kit>(kit: &K) -> Tails<K::P> {
        let both = source(kit, 0).left_join(kit.service());
        both.flat_map_values(|(n, found)| found.into_iter().chain([n]))
            .sum_by_key(kit.store(0))
            .ends()
    }
    fn twin(inputs: &[Vec<Timed<Pair>>], world: &mut World) {
        for (_, (key, n)) in &inputs[0] {
            for value in found(*key).into_iter().chain([*n]) {
                add(&mut world.stores[0], (*key, value));
            }
        }
    }
}

/// Three sources that meet before a join and a fourth after it.
struct RealJoin;
impl Graph for RealJoin {
    fn job<K: Kit>(kit: &K) -> Tails<K::P> {
        let three = source(kit, 0)
            .flat_map(spread)
            .merge(&source(kit, 1).flat_map(mirrored));
        let three = three.merge(&source(kit, 2).filter_map(odd).name("three"));
        let both = three.left_join(kit.service()).map_values(joined).name("both");
        let fourth = source(kit, 3).name("fourth").map_keys(|key| key / 2);
        both.merge(&fourth).sum_by_key(kit.store(0)).ends()
    }
    fn twin(inputs: &[Vec<Timed<Pair>>], world: &mut World) {
        let of = |n: usize| inputs[n].iter().map(|(_, pair)| *pair);
        let three = of(0)
            .flat_map(spread)
            .chain(of(1).flat_map(mirrored))
            .chain(of(2).filter_map(odd));
        let both = three.map(|(key, n)| (key, joined((n, found(key)))));
        for pair in both.chain(of(3).map(|(key, n)| (key / 2, n))) {
            add(&mut world.stores[0], pair);
        }
    }
}

/// What a sum emits goes to a sink: the deltas of a key add up to its sum.
struct WrittenPostSum;
impl Graph for WrittenPostSum {
    const SINKS: &'static [(usize, Compare)] = &[(0, Compare::Sums)];
    fn job<K: Kit>(kit: &K) -> Tails<K::P> {
        let sum = source(kit, 0).flat_map(spread).sum_by_key(kit.store(0));
        sum.map_values(|(_, delta)| delta).write(kit.sink(0)).ends()
    }
    fn twin(inputs: &[Vec<Timed<Pair>>], world: &mut World) {
        SingleStep::twin(inputs, world);
        world.sinks[0] = timed(world.stores[0].clone());
    }
}

struct SeveralSummers;
impl Graph for SeveralSummers {
    fn job<K: Kit>(kit: &K) -> Tails<K::P> {
        let pairs = source(kit, 0).flat_map(spread);
        let by_value = pairs
            .swap()
            .map(|(n, key)| (n.0.rem_euclid(8) as u8, Add(key.into())));
        let two = pairs
            .sum_by_key(kit.store(0))
            .also(by_value.sum_by_key(kit.store(1)));
        two.also(pairs.flat_map(mirrored).sum_by_key(kit.store(2)))
    }
    fn twin(inputs: &[Vec<Timed<Pair>>], world: &mut World) {
        for pair in inputs[0].iter().flat_map(|(_, pair)| spread(*pair)) {
            add(&mut world.stores[0], pair);
            add(
                &mut world.stores[1],
                (pair.1.0.rem_euclid(8) as u8, Add(pair.0.into())),
            );
            mirrored(pair)
                .into_iter()
                .for_each(|pair| add(&mut world.stores[2], pair));
        }
    }
}

struct MapOnly;
impl Graph for MapOnly {
    const SINKS: &'static [(usize, Compare)] = &[(0, Compare::Exact)];
    fn job<K: Kit>(kit: &K) -> Tails<K::P> {
        source(kit, 0).flat_map(spread).write(kit.sink(0)).ends()
    }
    fn twin(inputs: &[Vec<Timed<Pair>>], world: &mut World) {
        for (time, pair) in &inputs[0] {
            world.sinks[0].extend(spread(*pair).into_iter().map(|pair| (*time, pair)));
        }
    }
}

struct LookUp;
impl Graph for LookUp {
    const SINKS: &'static [(usize, Compare)] = &[(0, Compare::Exact)];
    fn job<K: Kit>(kit: &K) -> Tails<K::P> {
        let keys = source(kit, 0).keys().lookup(kit.service());
        keys.map(|(key, found)| (key, found.unwrap_or(Add(-1))))
            .write(kit.sink(0))
            .ends()
    }
    fn twin(inputs: &[Vec<Timed<Pair>>], world: &mut World) {
        let look = |(time, (key, _)): &Timed<Pair>| (*time, (*key, found(*key).unwrap_or(Add(-1))));
        world.sinks[0] = inputs[0].iter().map(look).collect();
    }
}

struct TwoSumsInARow;
impl Graph for TwoSumsInARow {
    fn job<K: Kit>(kit: &K) -> Tails<K::P> {
        let first = source(kit, 0).flat_map(spread).sum_by_key(kit.store(0));
        first
            .map(|(key, (_, delta))| (key / 4, delta))
            .sum_by_key(kit.store(1))
            .ends()
    }
    fn twin(inputs: &[Vec<Timed<Pair>>], world: &mut World) {
        for (key, n) in inputs[0].iter().flat_map(|(_, pair)| spread(*pair)) {
            add(&mut world.stores[0], (key, n));
            add(&mut world.stores[1], (key / 4, n));
        }
    }
}

/// A sum whose readers are on two branches, one of which meets a second source and is summed again.
struct SumsAcrossBranches;
impl Graph for SumsAcrossBranches {
    fn job<K: Kit>(kit: &K) -> Tails<K::P> {
        let first = source(kit, 0).sum_by_key(kit.store(0));
        let deltas = first.map_values(|(_, delta)| delta);
        let second = deltas
            .merge(&source(kit, 1).flat_map(spread))
            .sum_by_key(kit.store(1));
        let third = deltas.map_keys(|key| key % 3).sum_by_key(kit.store(2));
        first.also(second).also(third)
    }
    fn twin(inputs: &[Vec<Timed<Pair>>], world: &mut World) {
        for (_, (key, n)) in &inputs[0] {
            add(&mut world.stores[0], (*key, *n));
            add(&mut world.stores[1], (*key, *n));
            add(&mut world.stores[2], (*key % 3, *n));
        }
        for pair in inputs[1].iter().flat_map(|(_, pair)| spread(*pair)) {
            add(&mut world.stores[1], pair);
        }
    }
}

/// `graphs! { name: Graph, … }`: a test for each.
macro_rules! graphs {
    ($($name:ident: $graph:ty),* $(,)?) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(64))]
            $(#[test]
            fn $name(inputs in inputs(), run in run()) {
                check::<$graph>(inputs, run);
            })*
        }
    };
}

graphs! {
    single_step: SingleStep,
    twin_step: TwinStep,
    diamond: Diamond,
    map_keys: MapKeys,
    left_join: LeftJoin,
    repeated_tuple_left_join: RepeatedTupleLeftJoin,
    left_join_with_flat_map_values: LeftJoinWithFlatMapValues,
    real_join_of_four_sources: RealJoin,
    written_post_sum: WrittenPostSum,
    several_summers: SeveralSummers,
    map_only: MapOnly,
    look_up: LookUp,
    two_sums_in_a_row: TwoSumsInARow,
    sums_across_branches: SumsAcrossBranches,
}

/// A job whose function counts its calls.
fn counting<K: Kit>(kit: &K, calls: &Arc<AtomicUsize>, sink: usize) -> flow::Written<K::P, Pair> {
    let calls = calls.clone();
    let counted = source(kit, 0).map(move |pair| {
        calls.fetch_add(1, Ordering::Relaxed);
        pair
    });
    counted.write(kit.sink(sink))
}

/// Runs on both platforms; gives the elements in the first two sinks and the calls of the functions.
fn counted(
    memory: impl FnOnce(&MemoryKit, &Arc<AtomicUsize>) -> Tails<Memory>,
    local: impl FnOnce(&LocalKit, &Arc<AtomicUsize>) -> Tails<flow::Local>,
) -> [(usize, usize, usize); 2] {
    let input = || vec![timed((0..10).map(|n| (n, Add(1))))];
    let lens = |world: World| (world.sinks[0].len(), world.sinks[1].len());
    let (kit, calls) = (MemoryKit::new(input(), TARGETS), Arc::default());
    Memory::run(&memory(&kit, &calls));
    let (one, two) = lens(kit.world());
    let on_memory = (one, two, calls.load(Ordering::Relaxed));
    let (kit, calls) = (LocalKit::new(input(), TARGETS, Vec::new(), |_| 1), Arc::default());
    runtime().block_on(kit.run(&local(&kit, &calls), &options(72, 2)));
    let (one, two) = lens(kit.world());
    [on_memory, (one, two, calls.load(Ordering::Relaxed))]
}

#[test]
fn a_tail_also_itself_does_its_work_once() {
    fn job<K: Kit>(kit: &K, calls: &Arc<AtomicUsize>) -> Tails<K::P> {
        let tail = counting(kit, calls, 0);
        tail.clone()
            .also(tail.clone())
            .also(tail.clone().also(tail.ends()))
    }
    assert_eq!(counted(job, job), [(10, 0, 10); 2]);
}

#[test]
fn tails_that_look_alike_each_run() {
    fn job<K: Kit>(kit: &K, calls: &Arc<AtomicUsize>) -> Tails<K::P> {
        counting(kit, calls, 0).also(counting(kit, calls, 1))
    }
    assert_eq!(counted(job, job), [(10, 10, 20); 2]);
}
