//! Closings and joins that are new, or back again, above tails that a job which closes batches has had before.

use std::sync::{Arc, Mutex};

use flow::{BatchId, Closing, Local, Producer, Sink, Source, Tail, Tails, Timestamp};
use proptest::prelude::*;
use store::{MemoryStore, Store};

use super::single::{Finals, OpenKeys, Sums, one, tens, tens_closed};
use super::world::{EpochSink, PartSource};
use super::{
    Cut, LocalWorld, Places, Policy, Run, TestWindow, both, check_against_twin, closed, drifting,
    run_planned, run_to_the_end, runs,
};
use crate::kit::{Add, Fault, Pair, Script, Timed, runtime};

/// What stood there when the closing came.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    /// A sink of all elements.
    Sink,
    /// And a closing, so that the end of the input is in the progress.
    Closing,
}

fn old<W: TestWindow>(old: &Places<Local, W>, run: &Run, before: Before) -> Tails<Local> {
    let both = both(old);
    let raw = both.write(old.raw.clone());
    match before {
        Before::Sink => raw.ends(),
        Before::Closing => raw.also(closed(old, run, &both).1),
    }
}

/// The same tails, the sink of all elements below the new closing and below a new join.
fn grown<W: TestWindow>(
    old: &Places<Local, W>,
    new: &Places<Local, W>,
    joins: &Joins,
    (run, before): (&Run, Before),
) -> Tails<Local> {
    let both = both(old);
    let (told, tails) = closed(new, run, &both);
    let joined = both.left_join_and_sum(joins.sums.clone(), |value, _| [value]);
    let found = joined.map_values(|(_, found)| found.unwrap_or_default());
    let [first, second] = joins.found.each_ref().map(|sink| found.write(sink.clone()));
    let values = joined.map_values(|(value, _)| value);
    let raw = values
        .merge(&told.flat_map(|_| None::<Pair>))
        .write(old.raw.clone());
    let tails = tails.also(first).also(raw).also(second);
    match before {
        Before::Sink => tails,
        Before::Closing => tails.also(closed(old, run, &both).1),
    }
}

/// A join's store, and two sinks of what it finds.
struct Joins {
    sums: Arc<dyn Store<u8, Add>>,
    found: [Arc<dyn Sink<Pair>>; 2],
}

/// The old tails run to the end of the input, and on with what is new and with more input. Whether all faults happened.
fn check<W: TestWindow>(run: &Run, before: Before) -> bool {
    let world = LocalWorld::<W>::new(run);
    let grown_world = LocalWorld::<W> {
        sources: world.sources.clone(),
        ..LocalWorld::new(run)
    };
    let runtime = runtime();
    let none = Script::default();
    runtime.block_on(run_planned(&old(&world.places(&none), run, before), run.plan()));
    world.sources[0].parts.lock().unwrap()[0].extend(run.more.clone());
    let script: Script = Arc::new(Mutex::new(run.script.clone().into()));
    let (sums, found) = (MemoryStore::new(), [(); 2].map(|()| EpochSink::<Pair>::default()));
    let faulty = |sink: &EpochSink<Pair>| super::faulty(sink, &script) as Arc<dyn Sink<Pair>>;
    let joins = Joins {
        sums: super::faulty(&sums, &script),
        found: found.each_ref().map(faulty),
    };
    let places = (world.places(&script), grown_world.places(&script));
    let tails = grown(&places.0, &places.1, &joins, (run, before));
    runtime.block_on(run_planned(&tails, run.plan()));
    check_against_twin(run, &grown_world, None);
    if before == Before::Closing {
        check_against_twin(run, &world, None);
    }
    let all = |mut items: Vec<Timed<Pair>>| {
        items.sort();
        items
    };
    let input = world
        .sources
        .each_ref()
        .map(|source| source.parts.lock().unwrap().concat());
    let input = all(input.concat());
    assert_eq!(
        all(world.raw.items()),
        input,
        "the old sink has each element once"
    );
    let mut total = std::collections::BTreeMap::<u8, Add>::new();
    for (_, (key, value)) in &input {
        total.entry(*key).or_default().0 += value.0;
    }
    assert_eq!(sums.entries(), total.into_iter().collect::<Vec<_>>());
    assert_eq!(
        found[0].epochs(),
        found[1].epochs(),
        "one answer for each element"
    );
    assert_eq!(found[0].items().len(), input.len());
    script.lock().unwrap().is_empty()
}

fn check_any(run: &Run, before: Before) -> bool {
    match run.cut {
        Cut::Hopping(..) => check::<Timestamp>(run, before),
        _ => check::<BatchId>(run, before),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_new_catches_up(run in runs(), before in prop_oneof![Just(Before::Sink), Just(Before::Closing)]) {
        check_any(&run, before);
    }
}

#[test]
fn a_crash_at_each_commit() {
    for (policy, before) in [(Policy::Aside, Before::Closing), (Policy::Correct, Before::Sink)] {
        let crashes = |commit: &usize| {
            let mut crashes = [false, true].into_iter().map(|applied| {
                let mut script = vec![Fault::None; *commit];
                script.push(Fault::Crash { applied });
                check_any(&drifting(policy, script), before)
            });
            crashes.all(|crashed| crashed)
        };
        let commits = (0..).take_while(crashes).count();
        assert!(commits >= 60, "policy={policy:?} commits={commits}");
    }
}

/// A join is taken out of a job and put back when its tail is past the end of the input: what it has missed comes to it,
/// and then the end.
#[test]
fn a_join_that_was_left_out_for_a_while() {
    let parts = PartSource::new(vec![(0..3).map(|n| one(n * 7, 1)).collect()], vec![1]);
    let source: Arc<dyn Source<Pair>> = Arc::new(parts.clone());
    let pairs = Producer::<Local, Pair>::source(source);
    let (known, sink) = (MemoryStore::<u8, Add>::new(), EpochSink::<Pair>::default());
    let joined = || {
        let joined = pairs.left_join_and_sum(Arc::new(known.clone()) as Arc<dyn Store<_, _>>, |n, _| [n]);
        let told = joined.map_values(|(_, found)| found.unwrap_or_default());
        told.write(Arc::new(sink.clone()) as Arc<dyn Sink<_>>).ends()
    };
    let (sums, open, told): (Arc<Sums<BatchId>>, Arc<OpenKeys<BatchId>>, _) =
        (Arc::default(), Arc::default(), Finals::default());
    let closing = Closing::batches(tens());
    let closed = || tens_closed(&pairs, &closing, sums.clone(), open.clone(), &told);
    let runtime = runtime();
    runtime.block_on(run_to_the_end(&joined()));
    parts.parts.lock().unwrap()[0].extend([one(21, 1), one(28, 1)]);
    let without = pairs.write(Arc::new(sink.clone()) as Arc<dyn Sink<_>>);
    runtime.block_on(run_to_the_end(&without.also(closed())));
    assert_eq!(known.entries(), [(0, Add(3))]);
    parts.parts.lock().unwrap()[0].push(one(35, 1));
    runtime.block_on(run_to_the_end(&joined().also(closed())));
    assert_eq!(known.entries(), [(0, Add(6))]);
    assert_eq!(sink.items().last(), Some(&(Timestamp(35), (0, Add(5)))));
    assert_eq!(told.items().len(), 4);
}
