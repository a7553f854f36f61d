//! Joins with sums of the same job: in order of time they are what plain loops give, on both platforms, whatever fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use flow::{Local, Producer, Sink, Source, Tail, Tails, Timestamp, VecSink, VecSource};
use proptest::prelude::*;
use store::{MemoryStore, Store};

use crate::graphs::{Compare, inputs};
use crate::graphs_of_old::{Graph, TARGETS, check, run};
use crate::kit::{Add, Fault, Kit, LocalKit, MemoryKit, Pair, Text, Timed, World, options, runtime, timed};

pub(crate) type Sums = BTreeMap<u8, Add>;

pub(crate) fn source<K: Kit>(kit: &K, n: usize) -> Producer<K::P, Pair> {
    Producer::source(kit.source(n))
}

pub(crate) fn add(sums: &mut Sums, (key, Add(delta)): Pair) {
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
