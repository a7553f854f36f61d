//! Joins with sums of the same job. In order of time they are what plain loops give, on both platforms, whatever fails;
//! in any order they are what plain loops give over the epochs that there were.

use std::collections::BTreeMap;
use std::sync::Arc;

use flow::{Local, Memory, Producer, Sink, Source, Tail, Tails, Timestamp, VecSink, VecSource};
use proptest::prelude::*;
use store::{MemoryStore, Store};

use crate::crash::script;
use crate::graphs::{Compare, inputs};
use crate::graphs_of_old::{Graph, TARGETS, check, run};
use crate::kit::{Add, Fault, Kit, LocalKit, MemoryKit, Pair, Text, Timed, World, options, runtime, timed};

type Sums = BTreeMap<u8, Add>;

fn source<K: Kit>(kit: &K, n: usize) -> Producer<K::P, Pair> {
    Producer::source(kit.source(n))
}

fn add(sums: &mut Sums, (key, Add(delta)): Pair) {
    sums.entry(key).or_default().0 += delta;
}

/// What is made of a value and the sum that was found for it.
fn seen(n: Add, found: Option<Add>) -> Add {
    Add(n.0 + 100 * found.map_or(-1, |found| found.0 % 1000))
}

fn twice((key, n): Pair) -> [Pair; 2] {
    [(key % 4, n), ((key + 1) % 4, Add(n.0 + 1))]
}

/// A store that does not depend on the join; joined before it, from another branch, and below it.
struct WithStore;
impl Graph for WithStore {
    const SINKS: &'static [(usize, Compare)] = &[(0, Compare::Exact)];
    fn job<K: Kit>(kit: &K) -> Tails<K::P> {
        let pairs = source(kit, 0);
        let sum = pairs.flat_map(twice).sum_by_key(kit.store(0)).name("sum");
        let joined = pairs.map_keys(|key| key % 5).left_join_sum(&sum);
        let values = joined.map_values(|(n, found)| seen(n, found));
        values.write(kit.sink(0)).also(values.sum_by_key(kit.store(1)))
    }
    fn twin(inputs: &[Vec<Timed<Pair>>], world: &mut World) {
        for (time, (key, n)) in &inputs[0] {
            let key5 = key % 5;
            let value = seen(*n, world.stores[0].get(&key5).copied());
            world.sinks[0].push((*time, (key5, value)));
            add(&mut world.stores[1], (key5, value));
            twice((*key, *n))
                .into_iter()
                .for_each(|pair| add(&mut world.stores[0], pair));
        }
    }
}

/// Two joins in a row, the second with a sum of what the first has found.
struct InARow;
impl Graph for InARow {
    const SINKS: &'static [(usize, Compare)] = &[(0, Compare::Exact)];
    fn job<K: Kit>(kit: &K) -> Tails<K::P> {
        let pairs = source(kit, 0).map_keys(|key| key % 3);
        let first = pairs.left_join_sum(&pairs.filter_values(|n| n.0 > 0).sum_by_key(kit.store(0)));
        let first = first.map_values(|(n, found)| seen(n, found));
        let second = pairs.left_join_sum(&first.map_keys(|key| key / 2).sum_by_key(kit.store(1)));
        second
            .map_values(|(n, found)| seen(n, found))
            .write(kit.sink(0))
            .ends()
    }
    fn twin(inputs: &[Vec<Timed<Pair>>], world: &mut World) {
        for (time, (key, n)) in &inputs[0] {
            let key = key % 3;
            let found = world.stores[1].get(&key).copied();
            world.sinks[0].push((*time, (key, seen(*n, found))));
            let first = seen(*n, world.stores[0].get(&key).copied());
            add(&mut world.stores[1], (key / 2, first));
            if n.0 > 0 {
                add(&mut world.stores[0], (key, *n));
            }
        }
    }
}

/// What the loops below add.
fn grown(n: Add, found: Option<Add>) -> Vec<Add> {
    let found = found.unwrap_or(Add(1)).0;
    (0..n.0.rem_euclid(3))
        .map(|i| Add((found + n.0 + i) % 50 + 1))
        .collect()
}

/// A store that depends on the join.
struct WithDependentStore;
impl Graph for WithDependentStore {
    fn job<K: Kit>(kit: &K) -> Tails<K::P> {
        source(kit, 0)
            .flat_map(twice)
            .left_join_and_sum(kit.store(0), grown)
            .ends()
    }
    fn twin(inputs: &[Vec<Timed<Pair>>], world: &mut World) {
        for (_, pair) in &inputs[0] {
            // Both of a time see what was before, also if they have one key.
            let before = world.stores[0].clone();
            for (key, n) in twice(*pair) {
                let deltas = grown(n, before.get(&key).copied());
                deltas
                    .into_iter()
                    .for_each(|delta| add(&mut world.stores[0], (key, delta)));
            }
        }
    }
}

/// The same, and what the join finds also goes into another sum, which a third branch joins, and to a sink.
struct WithDependentStoreFanOut;
impl Graph for WithDependentStoreFanOut {
    const SINKS: &'static [(usize, Compare)] = &[(0, Compare::Exact), (1, Compare::Exact)];
    fn job<K: Kit>(kit: &K) -> Tails<K::P> {
        let pairs = source(kit, 0).map_keys(|key| key % 4);
        let joined = pairs
            .flat_map(|pair| [pair, pair])
            .left_join_and_sum(kit.store(0), grown)
            .name("loop");
        let values = joined.map_values(|(n, found)| seen(n, found));
        let other = values.map_keys(|key| key / 2).sum_by_key(kit.store(1));
        let third = pairs
            .left_join_sum(&other)
            .map_values(|(n, found)| seen(n, found));
        third.write(kit.sink(0)).also(values.write(kit.sink(1)))
    }
    fn twin(inputs: &[Vec<Timed<Pair>>], world: &mut World) {
        for (time, (key, n)) in &inputs[0] {
            let key = key % 4;
            let third = seen(*n, world.stores[1].get(&key).copied());
            world.sinks[0].push((*time, (key, third)));
            let before = world.stores[0].get(&key).copied();
            for _ in 0..2 {
                world.sinks[1].push((*time, (key, seen(*n, before))));
                add(&mut world.stores[1], (key / 2, seen(*n, before)));
                grown(*n, before)
                    .into_iter()
                    .for_each(|delta| add(&mut world.stores[0], (key, delta)));
            }
        }
    }
}

/// Even values are pairs, odd ones deltas of a stream that goes through a store, on the way to a sink and to a sum.
struct WithStream;
impl Graph for WithStream {
    const SINKS: &'static [(usize, Compare)] = &[(0, Compare::Exact)];
    fn job<K: Kit>(kit: &K) -> Tails<K::P> {
        let both = source(kit, 0);
        let (pairs, deltas) = (both.filter_values(is_pair), both.filter_values(|n| !is_pair(n)));
        let joined = pairs.left_join_stream(&deltas, kit.recent());
        let values = joined.map_values(|(n, found)| seen(n, found));
        values.write(kit.sink(0)).also(values.sum_by_key(kit.store(0)))
    }
    fn twin(inputs: &[Vec<Timed<Pair>>], world: &mut World) {
        let (pairs, deltas): (Vec<Timed<Pair>>, Vec<_>) =
            inputs[0].iter().partition(|(_, (_, n))| is_pair(n));
        for (time, (key, n)) in pairs {
            let before = deltas.iter().filter(|(at, (of, _))| *at < time && *of == key);
            let found = before.map(|(_, (_, n))| n.0).reduce(|sum, n| sum + n);
            let value = seen(n, found.map(Add));
            world.sinks[0].push((time, (key, value)));
            add(&mut world.stores[0], (key, value));
        }
    }
}

fn is_pair(n: &Add) -> bool {
    n.0 % 2 == 0
}

/// One source, with ties: deltas in order of time, pairs less late than the store keeps deltas apart.
fn late_pairs() -> impl Strategy<Value = Vec<Vec<Timed<Pair>>>> {
    let element = (0i64..3, 0i64..9, 0u8..3, -9i64..10);
    prop::collection::vec(element, 0..60).prop_map(|elements| {
        let mut now = 0;
        let timed = |(step, late, key, n)| {
            now += step;
            let time = if is_pair(&Add(n)) { now - late } else { now };
            (Timestamp(time), (key, Add(n)))
        };
        vec![elements.into_iter().map(timed).collect()]
    })
}

/// In order of time, no two offsets at once.
fn in_order(inputs: Vec<Vec<Pair>>) -> Vec<Vec<Timed<Pair>>> {
    inputs.into_iter().map(timed).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn left_join_with_a_store(inputs in inputs(), run in run()) {
        check::<WithStore>(in_order(inputs), run);
    }

    #[test]
    fn left_joins_in_a_row(inputs in inputs(), run in run()) {
        check::<InARow>(in_order(inputs), run);
    }

    #[test]
    fn left_join_with_a_dependent_store(inputs in inputs(), run in run()) {
        check::<WithDependentStore>(in_order(inputs), run);
    }

    #[test]
    fn left_join_with_a_dependent_store_and_fan_out(inputs in inputs(), run in run()) {
        check::<WithDependentStoreFanOut>(in_order(inputs), run);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn left_join_with_a_stream(inputs in late_pairs(), run in run()) {
        check::<WithStream>(inputs, run);
    }
}

/// Which of the two joins a job in any order of time uses.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Sum,
    AndSum,
}

/// The value is the number of the pair. Two sinks hold number and what was found, each on its own.
fn numbered<K: Kit>(kit: &K, shape: Shape) -> Tails<K::P> {
    let both = source(kit, 0).merge(&source(kit, 1));
    let joined = match shape {
        Shape::Sum => both.left_join_sum(&both.map_values(|n| made(n, None)).sum_by_key(kit.store(0))),
        Shape::AndSum => Producer::clone(&both.left_join_and_sum(kit.store(0), |n, found| [made(n, found)])),
    };
    let told = joined.map_values(|(n, found)| Add(n.0 + 1000 * found.map_or(99_999, |found| found.0)));
    let other = told.map_values(|told| Add(-told.0));
    // Sums between the sinks commit before and after them.
    let sum = told.sum_by_key(kit.store(1));
    told.write(kit.sink(0)).also(sum).also(other.write(kit.sink(1)))
}

fn made(n: Add, found: Option<Add>) -> Add {
    Add(n.0 % 7 + found.map_or(0, |found| found.0 % 5))
}

/// What the first sink holds after epochs of these pairs, and the first store.
fn over_epochs(epochs: &[&[Timed<Pair>]], shape: Shape) -> (Vec<Timed<Pair>>, Sums) {
    let (mut told, mut sums) = (Vec::new(), Sums::new());
    for epoch in epochs {
        let mut in_time: Vec<usize> = (0..epoch.len()).collect();
        in_time.sort_by_key(|place| epoch[*place].0);
        let mut found = vec![None; epoch.len()];
        for instant in in_time.chunk_by(|a, b| epoch[*a].0 == epoch[*b].0) {
            let before = sums.clone();
            for place in instant {
                let (key, n) = epoch[*place].1;
                found[*place] = before.get(&key).copied();
                let seen = found[*place].filter(|_| shape == Shape::AndSum);
                add(&mut sums, (key, made(n, seen)));
            }
        }
        let tell = |((time, (key, n)), found): (&Timed<Pair>, Option<Add>)| {
            (
                *time,
                (*key, Add(n.0 + 1000 * found.map_or(99_999, |found| found.0))),
            )
        };
        told.extend(epoch.iter().zip(found).map(tell));
    }
    (told, sums)
}

/// Two sources in no order of time, with many pairs at one time; the value is the pair's number.
fn numbered_inputs() -> impl Strategy<Value = Vec<Vec<Timed<Pair>>>> {
    let source = prop::collection::vec((0i64..12, 0u8..3), 0..40);
    (source.clone(), source).prop_map(|(one, two)| {
        let mut numbers = 0..;
        let mut number = |(time, key)| (Timestamp(time), (key, Add(numbers.next().unwrap())));
        let one: Vec<_> = one.into_iter().map(&mut number).collect();
        vec![one, two.into_iter().map(&mut number).collect()]
    })
}

fn check_history(shape: Shape, inputs: Vec<Vec<Timed<Pair>>>, script: Vec<Fault>, sizes: &[usize]) {
    let local = LocalKit::new(inputs.clone(), TARGETS, script, |_| 1).ragged(vec![1, 5, 2]);
    let size = |crashes: usize| options(sizes[crashes % sizes.len()], 2);
    runtime().block_on(local.run_as(&numbered(&local, shape), size));
    let world = local.world();
    let cuts = local.cuts(0);
    assert_eq!(cuts, local.cuts(1), "the sinks have other epochs");
    let negated = world.sinks[1]
        .iter()
        .map(|(time, (key, n))| (*time, (*key, Add(-n.0))));
    assert_eq!(
        negated.collect::<Vec<_>>(),
        world.sinks[0],
        "the sinks have other answers"
    );
    let number = |(time, (key, n)): &Timed<Pair>| (*time, (*key, Add(n.0.rem_euclid(1000))));
    let taken: Vec<_> = world.sinks[0].iter().map(number).collect();
    let (mut got, mut all) = (taken.clone(), inputs.concat());
    got.sort();
    all.sort();
    assert_eq!(got, all, "each pair once");
    let ends = std::iter::once(0).chain(cuts.iter().copied());
    let epochs: Vec<_> = ends.zip(&cuts).map(|(start, end)| &taken[start..*end]).collect();
    let (told, sums) = over_epochs(&epochs, shape);
    assert_eq!(world.sinks[0], told, "not what these epochs give");
    assert_eq!(world.stores[0], sums);
    let mut below = Sums::new();
    told.iter().for_each(|(_, pair)| add(&mut below, *pair));
    assert_eq!(world.stores[1], below);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// One answer for each pair in all tails, whatever crashes and however large the epochs are after that.
    #[test]
    fn late_pairs_see_the_epochs_before(
        shape in prop_oneof![Just(Shape::Sum), Just(Shape::AndSum)],
        inputs in numbered_inputs(),
        script in script(),
        sizes in prop::collection::vec(24usize..900, 1..4),
    ) {
        check_history(shape, inputs, script, &sizes);
    }

    /// On `Memory` all is one epoch.
    #[test]
    fn memory_goes_by_time_alone(
        shape in prop_oneof![Just(Shape::Sum), Just(Shape::AndSum)],
        inputs in numbered_inputs(),
    ) {
        let memory = MemoryKit::new(inputs.clone(), TARGETS);
        Memory::run(&numbered(&memory, shape));
        let (told, sums) = over_epochs(&[&inputs.concat()], shape);
        prop_assert_eq!(&memory.world().sinks[0], &told);
        prop_assert_eq!(&memory.world().stores[0], &sums);
    }
}

/// In a replay nothing below a join runs on sums that are ahead of their pairs: a function may rely on what it sees.
#[test]
fn functions_see_true_sums_only() {
    fn job<K: Kit>(kit: &K) -> Tails<K::P> {
        fn true_rank((rank, found): (Add, Option<Add>)) -> Add {
            assert_eq!(rank, found.unwrap_or_default(), "a sum that cannot be");
            rank
        }
        let pairs = source(kit, 0);
        // Commits last, so that the sums may be ahead of it.
        let first = pairs.write(kit.sink(0));
        let sum = pairs.map_values(|_| Add(1)).sum_by_key(kit.store(0));
        let found = pairs.left_join_sum(&sum).map_values(true_rank).write(kit.sink(1));
        let looped = pairs.left_join_and_sum(kit.store(1), |rank, found| {
            true_rank((rank, found));
            [Add(1)]
        });
        first
            .also(found)
            .also(looped.map_values(true_rank).write(kit.sink(2)))
    }
    let mut ranks = [0; 3];
    let ranked = (0..40).map(|n| {
        ranks[n % 3] += 1;
        (n as u8 % 3, Add(ranks[n % 3] - 1))
    });
    let input = timed(ranked);
    for commit in 0..40 {
        for applied in [false, true] {
            let mut script = vec![Fault::None; commit];
            script.push(Fault::Crash { applied });
            let local = LocalKit::new(vec![input.clone()], TARGETS, script, |_| 1);
            runtime().block_on(local.run(&job(&local), &options(150, 2)));
            let world = local.world();
            assert_eq!(
                world.sinks,
                vec![input.clone(); 3],
                "commit={commit} applied={applied}"
            );
        }
    }
}

/// Values that do not commute are summed in order of time, over epochs and chunks.
#[test]
fn order_is_kept() {
    let texts = timed((0..6000u32).map(|n| (n % 50, Text(format!("{n} ")))));
    let mut sums = BTreeMap::<u32, Text>::new();
    let twin = texts.iter().map(|(time, (key, text))| {
        let sum = sums.entry(*key).or_default();
        let found = (*time, (*key, sum.0.len(), sum.0.clone()));
        sum.0.push_str(&text.0);
        found
    });
    let twin: Vec<_> = twin.collect();
    for (epoch_bytes_max, parallelism) in [(1 << 20, 1), (1 << 20, 3), (60_000, 2), (5_000, 2)] {
        let (store, sink) = (MemoryStore::new(), VecSink::default());
        let source =
            Producer::<Local, _>::source(Arc::new(VecSource::new(texts.clone())) as Arc<dyn Source<_>>);
        let sum = source.sum_by_key(Arc::new(store.clone()) as Arc<dyn Store<u32, Text>>);
        let found = source.left_join_sum(&sum).map(|(key, (_, found))| {
            let found = found.unwrap_or_default().0;
            (key, found.len(), found)
        });
        let tail = found.write(Arc::new(sink.clone()) as Arc<dyn Sink<_>>);
        let run = async {
            Local::run("text", &tail, options(epoch_bytes_max, parallelism))
                .unwrap()
                .join()
                .await
        };
        runtime().block_on(run).unwrap();
        assert!(
            sink.items() == twin,
            "epoch_bytes_max={epoch_bytes_max} parallelism={parallelism}"
        );
    }
}

/// Sums from before the run count as before all time.
#[test]
fn a_store_that_is_not_empty() {
    for shape in [Shape::Sum, Shape::AndSum] {
        let inputs = vec![timed([(1, Add(1)), (2, Add(2)), (1, Add(3))]), Vec::new()];
        let kit = MemoryKit::new(inputs, TARGETS);
        kit.stores[0]
            .lock()
            .unwrap()
            .extend([(1, Add(10)), (2, Add(0)), (3, Add(5))]);
        Memory::run(&numbered(&kit, shape));
        let found: Vec<i64> = kit.world().sinks[0]
            .iter()
            .map(|(_, (_, n))| n.0 / 1000)
            .collect();
        assert_eq!(found, [10, 0, 11], "{shape:?}");
    }
}

#[test]
fn a_join_reads_from_the_sum() {
    let kit = MemoryKit::new(vec![Vec::new(); 2], TARGETS);
    let left = source(&kit, 0);
    let joined = left
        .left_join_sum(&source(&kit, 1).sum_by_key(kit.store(0)))
        .map_values(|(n, _)| n);
    let looped = joined.left_join_and_sum(kit.store(1), |n, _| [n]).name("loop");
    let expected = r#"flowchart LR
  n0(["source"])
  n1(["source"])
  n2[("sum")]
  n3["join"]
  n4["flat_map_values"]
  n5[("join_sum loop")]
  n1 --> n2
  n0 --> n3
  n2 --> n3
  n3 --> n4
  n4 --> n5
"#;
    assert_eq!(looped.graph().to_mermaid(), expected);
}
