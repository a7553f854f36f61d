//! One job in batch, live and both, with events out of order and late, any cuts, and faults at every commit: the read
//! says at every moment what plain collections say.

mod world;

use std::ops::Range;
use std::sync::{Arc, Mutex};

use flow::{
    BatchId, Error, ErrorKind, Hybrid, HybridSource, Memory, Platform, Producer, Sink, Tail, Timestamp,
    VecSink, VecSource,
};
use proptest::prelude::*;
use store::{Embedded, MemoryStore, Typed};

use self::world::{FIRST, LENGTH, Stores, Sums, World, batcher, client, job, oracle, steps};
use crate::faulty::faults;
use crate::kit::{Add, Fault, Pair, Script, Timed, runtime, service};

/// Events in the order of arrival; their times are anywhere in batches −1 to 6.
fn events() -> impl Strategy<Value = Vec<Timed<Pair>>> {
    let event = (-LENGTH..7 * LENGTH, 0u8..6, -4i64..5);
    // Times rise on the whole, and are off by a few batches.
    prop::collection::vec(event, 0..60).prop_flat_map(|events| {
        (Just(events), 0i64..40).prop_map(|(mut events, spread)| {
            events.sort_by_key(|(time, _, v)| time + (v * 7919 + time * 31).rem_euclid(spread.max(1)));
            let timed = |(time, k, v)| (Timestamp(time), (k, Add(v)));
            events.into_iter().map(timed).collect()
        })
    })
}

/// At a moment: how many more events have come, the batches to build, and whether what is covered is dropped.
#[derive(Clone, Debug)]
struct Moment {
    events: usize,
    batches: i64,
    drops: bool,
}

fn moments() -> impl Strategy<Value = Vec<Moment>> {
    let moment = (0usize..30, 0i64..3, any::<bool>()).prop_map(|(events, batches, drops)| Moment {
        events,
        batches,
        drops,
    });
    prop::collection::vec(moment, 1..6)
}

fn before(events: &[Timed<Pair>], batches: Range<BatchId>) -> impl Iterator<Item = Timed<Pair>> + '_ {
    let within = move |(time, _): &&Timed<Pair>| batches.contains(&batcher().batch_of(*time));
    events.iter().filter(within).cloned()
}

const END: BatchId = BatchId(i64::MAX);

async fn check(world: &World, events: &[Timed<Pair>], moments: &[Moment]) {
    let (mut come, mut bound) = (0, FIRST);
    // What has gone into snapshots, in the order of batches.
    let mut history: Vec<Timed<Pair>> = Vec::new();
    for moment in moments {
        come = (come + moment.events).min(events.len());
        let now = &events[..come];
        world.live(now).await;
        let end = BatchId(bound.0 + moment.batches);
        if bound < end {
            world.build(now, bound..end).await;
            history.extend(before(now, bound..end));
            bound = end;
        }
        if moment.drops {
            world.drop_covered().await;
        }
        // Whatever came late: an answer is the history as it was built, and live from there on.
        let last = BatchId(bound.0.max(7));
        let sides = history.iter().cloned().chain(before(now, bound..END));
        assert_eq!(world.read(last).await, oracle(&world.steps, sides));
        // Nothing came late for what is built: batch = live = both.
        let all: Vec<_> = before(now, FIRST..END).collect();
        if before(now, FIRST..bound).count() == history.len() {
            assert_eq!(world.read(last).await, oracle(&world.steps, all));
        }
    }
    let sink: Vec<_> = world.sink.items();
    let twin: <Memory as Platform>::Sink<Pair> = Default::default();
    let stores = Stores::<Memory> {
        texts: Default::default(),
        adds: Default::default(),
        below: Default::default(),
    };
    Memory::run(&job(
        &world.steps,
        events[..come].to_vec(),
        service(),
        stores,
        twin.clone(),
    ));
    assert_eq!(sink, *twin.lock().unwrap(), "a sink takes the live elements");
}

fn script(faults: Vec<Fault>) -> Script {
    Arc::new(Mutex::new(faults.into()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn reads_are_the_sums_at_every_moment(
        steps in steps(), events in events(), moments in moments(), faults in faults(),
    ) {
        runtime().block_on(async {
            let world = World::new(steps, &script(faults)).await;
            check(&world, &events, &moments).await;
        });
    }

    /// History alone, live alone, and both at the same time with any cuts between them.
    #[test]
    fn batch_is_live_is_both(
        steps in steps(), events in events(), cuts in prop::collection::btree_set(0i64..8, 0..4), faults in faults(),
    ) {
        runtime().block_on(async {
            let sums = oracle(&steps, events.clone());
            let faults = script(faults);
            let (batch, live) = (World::new(steps.clone(), &faults).await, World::new(steps.clone(), &faults).await);
            let both = World::new(steps, &faults).await;
            batch.build(&events, FIRST..BatchId(7)).await;
            prop_assert_eq!(&batch.read(BatchId(6)).await, &sums);
            live.live(&events).await;
            prop_assert_eq!(&live.read(BatchId(7)).await, &sums);
            let history = async {
                let mut bound = FIRST;
                for cut in cuts {
                    both.build(&events, bound..BatchId(cut)).await;
                    both.drop_covered().await;
                    bound = BatchId(cut);
                }
            };
            tokio::join!(both.live(&events), history);
            prop_assert_eq!(&both.read(BatchId(7)).await, &sums);
            Ok(())
        })?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn on_disk(steps in steps(), events in events(), moments in moments(), faults in faults()) {
        let folder = tempfile::tempdir().unwrap();
        let stores = Embedded::open(folder.path()).unwrap();
        let bytes = |name: &str| stores.store(name).unwrap();
        runtime().block_on(async {
            let script = script(faults);
            let (batch, live) = (Typed::new("a", bytes("a")), Typed::new("b", bytes("b")));
            let texts = client(Arc::new(batch), Arc::new(live), &script).await;
            let (batch, live) = (Typed::new("c", bytes("c")), Typed::new("d", bytes("d")));
            let adds = client(Arc::new(batch), Arc::new(live), &script).await;
            let (batch, live) = (Typed::new("e", bytes("e")), Typed::new("f", bytes("f")));
            let below = client(Arc::new(batch), Arc::new(live), &script).await;
            check(&World::of(steps, texts, [adds, below]), &events, &moments).await;
        });
    }
}

/// A crash before and after each commit of builds of two stores, of the live side and of dropping.
#[test]
fn a_crash_at_each_commit() {
    let events: Vec<Timed<Pair>> = (0..24)
        .map(|i| (Timestamp(i * 3), (i as u8 % 3, Add(i))))
        .collect();
    let mut over = false;
    for commit in 0.. {
        if over {
            break;
        }
        for applied in [false, true] {
            let mut faults = vec![Fault::None; commit];
            faults.push(Fault::Crash { applied });
            let script = script(faults);
            runtime().block_on(async {
                let world = World::new(Vec::new(), &script).await;
                world.build(&events, FIRST..BatchId(3)).await;
                world.live(&events).await;
                world.build(&events, BatchId(3)..BatchId(5)).await;
                world.drop_covered().await;
                assert_eq!(
                    world.read(BatchId(7)).await,
                    oracle(&[], events.clone()),
                    "commit={commit}"
                );
            });
            over = !script.lock().unwrap().is_empty();
        }
    }
    assert!(
        over,
        "every commit has been hit when the script is longer than the run"
    );
}

#[test]
fn what_cannot_be_built_is_told() {
    runtime().block_on(async {
        let world = World::new(Vec::new(), &script(Vec::new())).await;
        let source = HybridSource {
            history: Arc::new(VecSource::<Pair>::new([])),
            live: Arc::new(VecSource::new([])),
        };
        let pairs = Producer::<Hybrid, Pair>::source(source);
        let batches = FIRST..BatchId(1);
        let told = |error: Error, part: &str| {
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(part), "{error}");
        };
        let twice = pairs
            .sum_by_key(world.adds.clone())
            .also(pairs.sum_by_key(world.adds.clone()));
        told(
            world.run.build(&twice, batches.clone()).await.unwrap_err(),
            "two sums write to one store",
        );
        told(
            world.run.run(&twice).err().unwrap(),
            "two sums write to one store",
        );
        let sink: Arc<dyn Sink<Pair>> = Arc::new(VecSink::default());
        told(
            world.run.build(&pairs.write(sink), batches).await.unwrap_err(),
            "nothing to build",
        );
        // One store does not fit: the other is not begun.
        world
            .run
            .build(&pairs.sum_by_key(world.adds.clone()), FIRST..BatchId(0))
            .await
            .unwrap();
        let error = world
            .run
            .build(&world.tails(&[]), FIRST..BatchId(1))
            .await
            .unwrap_err();
        told(error, "no holes");
        world
            .run
            .build(&world.tails(&[]), FIRST..BatchId(0))
            .await
            .unwrap();
        assert_eq!(world.read(BatchId(0)).await, Sums::default());
        // What reads from a sum cannot begin later than the sum.
        let mut world = World::new(Vec::new(), &script(Vec::new())).await;
        let events = [(Timestamp(0), (0, Add(1)))];
        world.live(&events).await;
        world.below = client(
            Arc::new(MemoryStore::new()),
            Arc::new(MemoryStore::new()),
            &script(Vec::new()),
        )
        .await;
        let error = world
            .run
            .run(&world.tails(&events))
            .unwrap()
            .join()
            .await
            .unwrap_err();
        told(error, "behind a sum");
    });
}

#[test]
fn a_join_with_its_own_sum_is_refused() {
    fn job<P: Platform>(numbers: &Producer<P, (u8, i64)>, sums: P::Store<u8, i64>) -> impl Tail<P> + use<P> {
        numbers.left_join_and_sum(sums, |number, _| Some(number))
    }
    let versions: Arc<dyn store::Store<u8, flow::Versions<i64>>> = Arc::new(store::MemoryStore::new());
    let snapshots = flow::Snapshots::new(versions, flow::SnapshotOptions::default()).unwrap();
    let live = flow::Live::new(Arc::new(store::MemoryStore::new()), BatchId(0));
    let source: Arc<dyn flow::Source<(u8, i64)>> = Arc::new(VecSource::new([]));
    let source = HybridSource {
        history: source.clone(),
        live: source,
    };
    let tail = job::<Hybrid>(&Producer::source(source), flow::ClientStore::new(snapshots, live));
    let error = flow::HybridJob::new("sums", flow::Batcher::unit())
        .run(&tail)
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("run it on `Local`"), "{error}");
}
