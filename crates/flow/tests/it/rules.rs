//! The law of rules: with all of them, each alone, or none, a job does the same on both platforms, calls each function for
//! the same elements, and keeps its names.

use flow::{Counts, JobOptions, Local, Memory, PlanOptions, Planner, Producer, Tail, Tails, counter, rules};
use proptest::prelude::*;

use crate::graphs::{Compare, Step, build, inputs, normal, steps};
use crate::kit::{Add, Kit, LocalKit, MemoryKit, Pair, options, runtime, timed};

/// All rules, each alone, none, and all in another order.
pub(crate) fn planners() -> Vec<Planner> {
    let none = Planner::none;
    vec![
        none(),
        Planner::default(),
        none().with(rules::DropUnread),
        none().with(rules::FlattenMerges),
        none().with(rules::PullUpMerges),
        none().with(rules::JoinDiamonds),
        none().with(rules::ComposeFunctions),
        none()
            .with(rules::ComposeFunctions)
            .with(rules::JoinDiamonds)
            .with(rules::PullUpMerges)
            .with(rules::FlattenMerges)
            .with(rules::DropUnread),
    ]
}

pub(crate) fn planned_by(planner: Planner) -> PlanOptions {
    PlanOptions {
        planner,
        ..PlanOptions::default()
    }
}

/// A step of a job in which every function has a name and counts its calls; numbers choose among the producers so far.
#[derive(Clone, Copy, Debug)]
enum Move {
    /// Keeps the type of its elements.
    Same(usize),
    /// Goes to another type and comes back: two functions.
    Other(usize),
    Merge(usize, usize),
    /// `(a ++ b).f ++ a.g`
    Pulled(usize, usize),
    Sum(usize),
    Scan(usize),
    Write(usize),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    // Mostly what is near, so that graphs are deep.
    let at = || prop_oneof![0usize..3, 0usize..64];
    let step = prop_oneof![
        6 => at().prop_map(Move::Same),
        3 => at().prop_map(Move::Other),
        6 => (at(), at()).prop_map(|(n, m)| Move::Merge(n, m)),
        2 => (at(), at()).prop_map(|(n, m)| Move::Pulled(n, m)),
        1 => at().prop_map(Move::Sum),
        1 => at().prop_map(Move::Scan),
        1 => at().prop_map(Move::Write),
    ];
    prop::collection::vec(step, 1..30)
}

/// A function of the number `n`, which is its name.
fn same<K: Kit>(input: &Producer<K::P, Pair>, n: usize) -> Producer<K::P, Pair> {
    let calls = counter(format!("f{n}"));
    let function = move |(key, value): Pair| {
        calls.add(1);
        let second = (key % 3 == 0).then_some((key ^ 1, Add(value.0.wrapping_mul(3))));
        let first = (usize::from(key) % 5 != n % 5).then_some((key, Add(value.0 + n as i64)));
        first.into_iter().chain(second)
    };
    match n % 2 {
        0 => input.flat_map(function).name(format!("f{n}")),
        _ => {
            let calls = counter(format!("f{n}"));
            let keep = input.filter(move |(key, value)| {
                calls.add(1);
                (i64::from(*key) + value.0).rem_euclid(n as i64 + 2) != 0
            });
            keep.name(format!("f{n}"))
        }
    }
}

fn other<K: Kit>(input: &Producer<K::P, Pair>, n: usize) -> Producer<K::P, Pair> {
    let (there, back) = (counter(format!("t{n}")), counter(format!("b{n}")));
    let text = input.map(move |(key, value)| {
        there.add(1);
        format!("{key} {}", value.0)
    });
    let pair = text.name(format!("t{n}")).filter_map(move |text| {
        back.add(1);
        let (key, value) = text.split_once(' ')?;
        Some((key.parse().ok()?, Add(value.parse().ok()?)))
    });
    pair.name(format!("b{n}"))
}

/// The job, and its sinks, whose elements are in any order.
fn job<K: Kit>(kit: &K, moves: &[Move]) -> (Tails<K::P>, Vec<(usize, Compare)>) {
    let source = Producer::<K::P, Pair>::source(kit.source(0)).name("source");
    let mut tails = source.write(kit.sink(0)).ends();
    let (mut producers, mut sinks) = (vec![source], vec![(0, Compare::Bag)]);
    for (n, step) in (1..).zip(moves) {
        let at = |back: usize| producers[producers.len() - 1 - back % producers.len()].clone();
        let next = match *step {
            Move::Same(a) => same::<K>(&at(a), n),
            Move::Other(a) => other::<K>(&at(a), n),
            Move::Merge(a, b) => at(a).merge(&at(b)).name(format!("m{n}")),
            Move::Pulled(a, b) => {
                let over = same::<K>(&at(a).merge(&at(b)), 100 + 2 * n);
                over.merge(&same::<K>(&at(a), 200 + 2 * n)).name(format!("m{n}"))
            }
            Move::Write(a) => {
                let written = at(a).write(kit.sink(n));
                sinks.push((n, Compare::Bag));
                tails = tails.also(written.clone());
                Producer::clone(&written)
            }
            Move::Sum(a) => {
                tails = tails.also(at(a).sum_by_key(kit.store(n)));
                continue;
            }
            Move::Scan(a) => {
                tails = tails.also(at(a).scan_by_key(kit.store(n)).name(format!("s{n}")));
                continue;
            }
        };
        producers.push(next);
    }
    (tails, sinks)
}

fn local(tails: &Tails<Local>, options: JobOptions) -> Counts {
    runtime().block_on(async {
        let mut job = Local::run("test", tails, options).unwrap();
        job.join().await.unwrap();
        job.status().counters
    })
}

/// The names of a graph, each once.
fn names(graph: &flow::Graph) -> Vec<String> {
    let mut names: Vec<_> = graph.nodes().iter().flat_map(|node| node.names.clone()).collect();
    names.sort();
    names.dedup();
    names
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn rules_change_nothing(moves in moves(), input in inputs(), epoch_bytes_max in 24usize..900) {
        // Short, as merges of merges double it.
        let input = vec![timed(input[0].iter().take(12).copied())];
        let targets = moves.len() + 1;
        let twin = MemoryKit::new(input.clone(), targets);
        let (tails, sinks) = job(&twin, &moves);
        let twin_counts = Memory::run_with(&tails, &planned_by(Planner::none())).unwrap();
        let twin = normal(twin.world(), &sinks);
        prop_assume!(twin_counts.values().sum::<u64>() < 200_000);
        let written = names(&tails.graph());
        for planner in planners() {
            let memory = MemoryKit::new(input.clone(), targets);
            let (tails, _) = job(&memory, &moves);
            let plan = planned_by(planner);
            let counts = Memory::run_with(&tails, &plan).unwrap();
            prop_assert_eq!(normal(memory.world(), &sinks), twin.clone(), "memory, {:?}", &plan);
            prop_assert_eq!(&counts, &twin_counts, "memory, {:?}", &plan);
            let planned = tails.planned(&plan).unwrap();
            let mut left = written.clone();
            // The step of a scan that nobody reads is gone with its name.
            left.retain(|name| !name.starts_with('s') || name == "source" || names(&planned).contains(name));
            prop_assert_eq!(names(&planned), left);
            let kit = LocalKit::new(input.clone(), targets, Vec::new(), |_| 1);
            let (tails, _) = job(&kit, &moves);
            let options = JobOptions { plan: plan.clone(), ..options(epoch_bytes_max, 2) };
            let counts = local(&tails, options);
            prop_assert_eq!(normal(kit.world(), &sinks), twin.clone(), "local, {:?}", &plan);
            prop_assert_eq!(&counts, &twin_counts, "local, {:?}", &plan);
        }
    }

    /// Every operator, joins and sums of sums.
    #[test]
    fn rules_change_nothing_of_any_job(steps in steps(), input in inputs(), n in 0usize..8) {
        any_job(&steps, input, planners().swap_remove(n));
    }
}

fn any_job(steps: &[Step], inputs: Vec<Vec<Pair>>, planner: Planner) {
    let inputs: Vec<_> = inputs.into_iter().map(timed).collect();
    let twin = MemoryKit::new(inputs.clone(), steps.len() + 1);
    let job = build(&twin, steps);
    Memory::run_with(&job.tails, &planned_by(Planner::none())).unwrap();
    let sinks = job.sinks;
    let twin = normal(twin.world(), &sinks);
    let plan = planned_by(planner);
    let memory = MemoryKit::new(inputs.clone(), steps.len() + 1);
    Memory::run_with(&build(&memory, steps).tails, &plan).unwrap();
    assert_eq!(normal(memory.world(), &sinks), twin, "memory, {plan:?}");
    let kit = LocalKit::new(inputs, steps.len() + 1, Vec::new(), |_| 1);
    let options = JobOptions {
        plan,
        ..options(300, 2)
    };
    local(&build(&kit, steps).tails, options);
    assert_eq!(normal(kit.world(), &sinks), twin, "local");
}
