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
