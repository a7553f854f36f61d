//! Generated jobs: `Local` with any epochs and threads does what `Memory` does.

use std::collections::BTreeMap;

use flow::{Memory, Platform, Producer, Tail, Tails};
use proptest::prelude::*;

use crate::kit::{Add, Fault, Kit, LocalKit, MemoryKit, Pair, World, options, runtime, timed};
use crate::operators::{Operator, Relation, apply, merges, operators};

/// A step of a generated job; numbers choose among the producers so far.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Source,
    Then(usize, Operator),
    Merge(usize, usize),
    Either(usize, usize),
    Sum(usize),
    /// A join with a sum of another producer; what it finds is the platform's choice here.
    Join(usize, usize),
    JoinAndSum(usize),
    /// A sum whose updated sums go to a sink.
    Scan(usize),
    /// A sum whose readers see how many keys have which value.
    Histogram(usize),
    Write(usize),
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = || 0usize..64;
    let step = prop_oneof![
        1 => Just(Step::Source),
        8 => (at(), operators()).prop_map(|(n, operator)| Step::Then(n, operator)),
        2 => (at(), at()).prop_map(|(n, m)| Step::Merge(n, m)),
        1 => (at(), at()).prop_map(|(n, m)| Step::Either(n, m)),
        1 => at().prop_map(Step::Scan),
        1 => (at(), at()).prop_map(|(n, m)| Step::Join(n, m)),
        1 => at().prop_map(Step::JoinAndSum),
        3 => at().prop_map(Step::Sum),
        1 => at().prop_map(Step::Histogram),
        2 => at().prop_map(Step::Write),
    ];
    prop::collection::vec(step, 1..20)
}

pub(crate) const SOURCES: usize = 2;

/// What is known of a producer's elements.
#[derive(Clone, Copy, Default, PartialEq)]
struct Traits {
    /// Comes from a sum: how many elements there are is the platform's choice, the sum by key is not.
    summed: bool,
    /// Two sides of a merge, or two sources: the order is the platform's choice.
    unordered: bool,
    /// Below a sum or a join with one: a sink must keep what it is given.
    below: bool,
}

/// How the content of a sink is to be compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Compare {
    Exact,
    Bag,
    Sums,
    /// Only the last value of each key.
    Last,
}

pub(crate) struct Built<P: Platform> {
    pub(crate) tails: Tails<P>,
    /// For each sink in use.
    pub(crate) sinks: Vec<(usize, Compare)>,
    /// The sinks that may go back to an earlier progress.
    may_forget: Vec<usize>,
}

struct Builder<'a, K: Kit> {
    kit: &'a K,
    producers: Vec<(Producer<K::P, Pair>, Traits)>,
    tails: Option<Tails<K::P>>,
    sinks: Vec<(usize, Compare)>,
    may_forget: Vec<usize>,
    targets: usize,
    sources: usize,
}

impl<K: Kit> Builder<'_, K> {
    fn at(&self, n: usize) -> (Producer<K::P, Pair>, Traits) {
        self.producers[n % self.producers.len()].clone()
    }

    fn end(&mut self, tail: impl Tail<K::P>) {
        self.tails = Some(match self.tails.take() {
            None => tail.ends(),
            Some(tails) => tails.also(tail),
        });
    }

    fn source(&mut self) {
        if self.sources < SOURCES {
            let source = Producer::source(self.kit.source(self.sources));
            self.sources += 1;
            self.producers.push((source, Traits::default()));
        }
    }

    fn write(&mut self, n: usize) {
        let (input, traits) = self.at(n);
        let compare = match traits {
            Traits { summed: true, .. } => Compare::Sums,
            Traits { unordered: true, .. } => Compare::Bag,
            _ => Compare::Exact,
        };
        self.sinks.push((self.targets, compare));
        if !traits.below {
            self.may_forget.push(self.targets);
        }
        let written = input.write(self.kit.sink(self.targets));
        self.targets += 1;
        self.producers.push((Producer::clone(&written), traits));
        self.end(written);
    }

    fn sum(&mut self, n: usize, histogram: bool) {
        let (input, traits) = self.at(n);
        let sum = input.sum_by_key(self.kit.store(self.targets));
        self.targets += 1;
        let next = if histogram {
            // Keys of value 0 do not count: whether such a key was ever there is the platform's choice.
            let bucket = |value: Add, n| (value.0 != 0).then(|| (value.0.rem_euclid(5) as u8, Add(n)));
            sum.flat_map(move |(_, (before, delta))| {
                let before = before.unwrap_or_default();
                let after = Add(before.0.wrapping_add(delta.0));
                bucket(after, 1).into_iter().chain(bucket(before, -1))
            })
        } else {
            sum.map(|(key, (_, delta))| (key / 2, delta))
        };
        self.producers.push((
            next,
            Traits {
                summed: true,
                below: true,
                ..traits
            },
        ));
        self.end(sum);
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Source => self.source(),
            Step::Write(n) => self.write(n),
            Step::Sum(n) => self.sum(n, false),
            Step::Histogram(n) => self.sum(n, true),
            Step::Scan(n) => self.scan(n),
            Step::Join(n, m) => {
                let ((left, traits), (right, _)) = (self.at(n), self.at(m));
                let joined = left.left_join_sum(&right.sum_by_key(self.kit.store(self.targets)));
                self.targets += 1;
                self.producers.push((
                    joined.map_values(|(value, _)| value),
                    Traits {
                        below: true,
                        ..traits
                    },
                ));
            }
            Step::JoinAndSum(n) => {
                let (input, traits) = self.at(n);
                let joined = input.left_join_and_sum(self.kit.store(self.targets), |value, _| [value]);
                self.targets += 1;
                self.producers.push((
                    joined.map_values(|(value, _)| value),
                    Traits {
                        below: true,
                        ..traits
                    },
                ));
                self.end(joined);
            }
            Step::Merge(n, m) => self.merge(n, m, |left, right| left.merge(right)),
            Step::Either(n, m) => self.merge(n, m, |left, right| {
                left.either(right).map(|either| {
                    either.either(
                        |(key, value)| (key, value),
                        |(key, value)| (key ^ 1, Add(value.0.wrapping_neg())),
                    )
                })
            }),
            Step::Then(n, operator) => {
                let (input, traits) = self.at(n);
                let relation = if traits.summed {
                    Relation::Linear
                } else {
                    Relation::Any
                };
                let output = apply(operator, &input, relation, self.kit.service());
                let unordered = traits.unordered || merges(operator);
                self.producers.push((output, Traits { unordered, ..traits }));
            }
        }
    }

    fn merge(
        &mut self,
        n: usize,
        m: usize,
        f: impl FnOnce(&Producer<K::P, Pair>, &Producer<K::P, Pair>) -> Producer<K::P, Pair>,
    ) {
        let ((left, a), (right, b)) = (self.at(n), self.at(m));
        let traits = Traits {
            summed: a.summed || b.summed,
            unordered: true,
            below: a.below || b.below,
        };
        self.producers.push((f(&left, &right), traits));
    }

    /// The updated sums go to a sink; how many there are is the platform's choice, so nobody else reads their values.
    fn scan(&mut self, n: usize) {
        let (input, traits) = self.at(n);
        let scan = input.scan_by_key(self.kit.store(self.targets));
        self.sinks.push((self.targets, Compare::Last));
        let written = scan.write(self.kit.sink(self.targets));
        self.targets += 1;
        let summed = Traits {
            summed: true,
            below: true,
            ..traits
        };
        self.producers.push((written.map_values(|_| Add(0)), summed));
        self.end(scan.also(written));
    }
}

pub(crate) fn build<K: Kit>(kit: &K, steps: &[Step]) -> Built<K::P> {
    let mut builder = Builder {
        kit,
        producers: Vec::new(),
        tails: None,
        sinks: Vec::new(),
        may_forget: Vec::new(),
        targets: 0,
        sources: 0,
    };
    builder.source();
    steps.iter().for_each(|step| builder.step(step));
    if builder.tails.is_none() {
        builder.sum(usize::MAX / 64 * 64, false);
    }
    Built {
        tails: builder.tails.unwrap(),
        sinks: builder.sinks,
        may_forget: builder.may_forget,
    }
}

/// The world without what is the platform's choice.
pub(crate) fn normal(mut world: World, sinks: &[(usize, Compare)]) -> World {
    let sums = |pairs: &mut dyn Iterator<Item = Pair>| {
        let mut sums = BTreeMap::<u8, i64>::new();
        for (key, value) in pairs {
            let sum = sums.entry(key).or_default();
            *sum = sum.wrapping_add(value.0);
        }
        sums.retain(|_, sum| *sum != 0);
        sums
    };
    for store in &mut world.stores {
        store.retain(|_, value| value.0 != 0);
    }
    for (n, compare) in sinks {
        let sink = &mut world.sinks[*n];
        match compare {
            Compare::Exact => {}
            Compare::Bag => sink.sort(),
            Compare::Sums => {
                let sums = sums(&mut sink.iter().map(|(_, pair)| *pair));
                *sink = timed(sums.into_iter().map(|(key, sum)| (key, Add(sum))));
                sink.iter_mut().for_each(|(time, _)| time.0 = 0);
            }
            Compare::Last => {
                let last: BTreeMap<u8, Add> = sink.iter().map(|(_, pair)| *pair).collect();
                *sink = timed(last.into_iter().filter(|(_, value)| value.0 != 0));
                sink.iter_mut().for_each(|(time, _)| time.0 = 0);
            }
        }
    }
    world
}

pub(crate) fn inputs() -> impl Strategy<Value = Vec<Vec<Pair>>> {
    let pair = (0u8..16, -5i64..6).prop_map(|(key, value)| (key, Add(value)));
    prop::collection::vec(prop::collection::vec(pair, 0..60), SOURCES)
}

/// Runs a generated job on both platforms and compares.
pub(crate) fn check(
    steps: &[Step],
    inputs: Vec<Vec<Pair>>,
    options: &flow::JobOptions,
    script: Vec<Fault>,
    keep_every: usize,
) -> usize {
    let inputs: Vec<_> = inputs.into_iter().map(timed).collect();
    let memory = MemoryKit::new(inputs.clone(), steps.len() + 1);
    let job = build(&memory, steps);
    Memory::run(&job.tails);
    let may_forget = job.may_forget;
    let volatile = move |n: usize| if may_forget.contains(&n) { keep_every } else { 1 };
    let local = LocalKit::new(inputs, steps.len() + 1, script, volatile);
    let job = build(&local, steps);
    let crashes = runtime().block_on(local.run(&job.tails, options));
    assert_eq!(
        normal(local.world(), &job.sinks),
        normal(memory.world(), &job.sinks)
    );
    crashes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(320))]

    #[test]
    fn local_is_memory(
        steps in steps(),
        inputs in inputs(),
        epoch_bytes_max in 1usize..2000,
        parallelism in 1usize..4,
    ) {
        check(&steps, inputs, &options(epoch_bytes_max, parallelism), Vec::new(), 1);
    }

    /// Large enough that chunks run on several threads.
    #[test]
    fn local_is_memory_in_chunks(steps in steps(), seed in inputs(), parallelism in 1usize..4) {
        let inputs = seed.into_iter().map(|input| input.repeat(3000 / input.len().max(1))).collect();
        check(&steps, inputs, &options(1 << 20, parallelism), Vec::new(), 1);
    }
}
