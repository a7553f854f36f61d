//! Joins with sums where elements come in any order: what plain loops give over the epochs that there were.

use flow::{Memory, Producer, Tail, Tails, Timestamp};
use proptest::prelude::*;

use crate::crash::script;
use crate::graphs_of_old::TARGETS;
use crate::joins::{Sums, add, source};
use crate::kit::{Add, Fault, Kit, LocalKit, MemoryKit, Pair, Timed, options, runtime, timed};

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
    let mut all = inputs.concat();
    all.sort();
    check_epochs(&local, shape, all);
}

/// Both sinks and stores hold what the epochs of the first sink give, over these pairs.
fn check_epochs(local: &LocalKit, shape: Shape, all: Vec<Timed<Pair>>) {
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
    let mut got = taken.clone();
    got.sort();
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

/// The pairs as they come, in a sink of their own: a tail of the job before there was a join.
fn plain<K: Kit>(kit: &K) -> Tails<K::P> {
    source(kit, 0).merge(&source(kit, 1)).write(kit.sink(2)).ends()
}

/// The same tail below the join.
fn grown<K: Kit>(kit: &K, shape: Shape) -> Tails<K::P> {
    let both = source(kit, 0).merge(&source(kit, 1));
    let joined = match shape {
        Shape::Sum => both.left_join_sum(&both.map_values(|n| made(n, None)).sum_by_key(kit.store(0))),
        Shape::AndSum => Producer::clone(&both.left_join_and_sum(kit.store(0), |n, found| [made(n, found)])),
    };
    let told = joined.map_values(|(n, found)| Add(n.0 + 1000 * found.map_or(99_999, |found| found.0)));
    let other = told.map_values(|told| Add(-told.0));
    let sum = told.sum_by_key(kit.store(1));
    let old = joined.map_values(|(n, _)| n).write(kit.sink(2));
    told.write(kit.sink(0))
        .also(sum)
        .also(old)
        .also(other.write(kit.sink(1)))
}

/// A join and its tails are new above a tail that has `taken` pairs of each source: they catch up in epochs of the usual
/// size, with one answer for each pair, whatever crashes; and the old tail goes on.
fn check_new_join(
    shape: Shape,
    inputs: Vec<Vec<Timed<Pair>>>,
    taken: usize,
    script: Vec<Fault>,
    bytes: usize,
) {
    let some = inputs
        .iter()
        .map(|pairs| pairs[..taken.min(pairs.len())].to_vec());
    let local = LocalKit::new(some.collect(), TARGETS, script, |_| 1);
    runtime().block_on(local.run(&plain(&local), &options(bytes, 2)));
    let local = local.with_inputs(inputs.clone()).ragged(vec![1, 5, 2]);
    // After each crash epochs are of another size, so that it shows if one is not replayed as it was.
    let size = |crashes: usize| options(bytes / (1 + crashes % 3), 2);
    runtime().block_on(local.run_as(&grown(&local, shape), size));
    let mut all = inputs.concat();
    all.sort();
    let mut old = local.world().sinks[2].clone();
    old.sort();
    assert_eq!(old, all, "the old tail has each pair once");
    check_epochs(&local, shape, all);
    let longest = std::iter::once(0).chain(local.cuts(0)).collect::<Vec<_>>();
    let longest = longest
        .windows(2)
        .map(|cut| (cut[1] - cut[0]) * size_of::<Timed<Pair>>())
        .max();
    let most = bytes.max(2 * size_of::<Timed<Pair>>());
    assert!(
        longest.unwrap_or(0) <= most,
        "an epoch is larger than it may be: {longest:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_new_join_above_an_old_tail_catches_up(
        shape in prop_oneof![Just(Shape::Sum), Just(Shape::AndSum)],
        inputs in numbered_inputs(),
        taken in 0usize..40,
        script in script(),
        bytes in 24usize..300,
    ) {
        check_new_join(shape, inputs, taken, script, bytes);
    }
}

/// A crash before and after each commit while it catches up.
#[test]
fn a_new_join_and_a_crash_at_each_commit() {
    let pair = |n: i64| (Timestamp(n / 2), (n as u8 % 2, Add(n)));
    let inputs = vec![(0..6).map(pair).collect::<Vec<_>>(), (6..10).map(pair).collect()];
    for shape in [Shape::Sum, Shape::AndSum] {
        for commit in 0..60 {
            for applied in [false, true] {
                let mut script = vec![Fault::None; commit];
                script.push(Fault::Crash { applied });
                check_new_join(shape, inputs.clone(), 3, script, 80);
            }
        }
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
