//! Another definition of a job, filled while readers read on: every answer is the old definition's or the new one's over
//! plain collections, whatever fails at whichever commit, and none goes back.

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flow::{BatchId, Error, ErrorKind, Generation, JobState, Timestamp, VecSource};
use proptest::prelude::*;

use self::world::{Definition, Fed, KEYS, NEW, OLD, World, batches, oracle};
use crate::faulty::faults;
use crate::kit::{Add, Fault, Pair, Timed, runtime};

/// Events in the order of arrival, with times anywhere.
fn events() -> impl Strategy<Value = Vec<Timed<Pair>>> {
    let event = (0i64..100, 0u8..KEYS, 1i64..5);
    let timed = |(time, key, n)| (Timestamp(time), (key, Add(n)));
    prop::collection::vec(event.prop_map(timed), 1..40)
}

/// What readers may get of a definition: history up to the cut from all, and live from there on from the first so many.
fn possible(definition: Definition, events: &[Timed<Pair>], seen: usize) -> Vec<Vec<Option<Add>>> {
    let cut = batches(definition).end;
    let of = |come: usize| {
        let live = events
            .iter()
            .take(come)
            .filter(|(time, _)| definition.batcher().batch_of(*time) >= cut);
        let built = events
            .iter()
            .filter(|(time, _)| definition.batcher().batch_of(*time) < cut);
        oracle(definition, built.chain(live))
    };
    (seen..=events.len()).map(of).collect()
}

/// Reads until it is told to end; gives the answers, without those that were the same as the last.
async fn watch(world: &World, over: &AtomicBool) -> Vec<(Generation, Vec<Option<Add>>)> {
    let mut answers = Vec::new();
    loop {
        let last = over.load(Ordering::Relaxed);
        let answer = world.read().await;
        if answers.last() != Some(&answer) {
            answers.push(answer);
        }
        if last {
            return answers;
        }
        tokio::task::yield_now().await;
    }
}

/// The old definition has `taken` events; then the next one is filled by all of them while somebody reads.
async fn check(events: Vec<Timed<Pair>>, taken: usize, faults: Vec<Fault>) {
    let world = World::new(faults);
    let taken = taken.min(events.len());
    world.fill_first(&events[..taken]).await;
    let over = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (world, over) = (world.clone(), over.clone());
        async move { watch(&world, &over).await }
    });
    world.backfill(NEW, &events).await;
    let last = world.read().await;
    over.store(true, Ordering::Relaxed);
    let answers = reader.await.unwrap();
    let old = oracle(OLD, &events[..taken]);
    let new = possible(NEW, &events, taken);
    let mut least = 0;
    for (generation, values) in answers {
        if generation == Generation(0) {
            assert_eq!(
                (least, values),
                (0, old.clone()),
                "nothing old is read after the swap"
            );
            continue;
        }
        let at = new.iter().skip(least).position(|possible| *possible == values);
        least += at.unwrap_or_else(|| panic!("neither definition's, or it went back: {values:?}"));
    }
    assert_eq!(last, (Generation(1), oracle(NEW, &events)));
    assert_eq!(world.entries(Generation(0)), 0, "the old generation is dropped");
    let state = world.generations.state().await.unwrap();
    assert_eq!(
        (state.filling, state.dropped, state.definition.as_str()),
        (None, vec![], "new")
    );
    // Once more changes nothing.
    world.backfill(NEW, &events).await;
    assert_eq!(world.read().await, last);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_answer_is_one_definitions(events in events(), taken in 0usize..40, faults in faults()) {
        runtime().block_on(check(events, taken, faults));
    }

    /// A backfill is taken back at any moment: readers have the old definition's, and another one can begin.
    #[test]
    fn abandoned_at_any_moment(events in events(), commits in 0usize..40, faults in faults()) {
        runtime().block_on(async {
            let world = World::new(Vec::new());
            world.fill_first(&events).await;
            let mut script = vec![Fault::None; commits];
            script.push(Fault::Crash { applied: commits % 2 == 0 });
            script.extend(faults);
            world.script.lock().unwrap().extend(script);
            let swapped = world.try_backfill(NEW, &events).await.is_ok();
            while let Err(error) = world.generations.abandon().await {
                // The last commit of the backfill that failed may still be on its way.
                let raced = error.kind() == ErrorKind::Conflict;
                assert!(raced || world::is_fault(&error), "{error}");
            }
            world.script.lock().unwrap().clear();
            let current = world.generations.state().await.unwrap().current;
            prop_assert!(!swapped || current == Generation(1));
            let expected = oracle(if current == Generation(0) { OLD } else { NEW }, &events);
            prop_assert_eq!(world.read().await, (current, expected));
            prop_assert_eq!(world.entries(Generation(1 - current.0)), 0);
            // The same functions under another name: a new number.
            let newest = world.generations.state().await.unwrap().newest;
            world.backfill(NEW.named("again"), &events).await;
            prop_assert_eq!(world.read().await, (Generation(newest.0 + 1), oracle(NEW, &events)));
            Ok(())
        })?;
    }
}

#[test]
fn a_crash_at_each_commit() {
    let events: Vec<_> = (0..24)
        .map(|n| (Timestamp(n * 4), (n as u8 % KEYS, Add(n))))
        .collect();
    let mut over = false;
    for commit in 0.. {
        if over {
            assert!(commit > 20, "commits={commit}");
            break;
        }
        for applied in [false, true] {
            let mut script = vec![Fault::None; commit];
            script.push(Fault::Crash { applied });
            runtime().block_on(async {
                let world = World::new(Vec::new());
                world.fill_first(&events[..12]).await;
                world.script.lock().unwrap().extend(script);
                world.backfill(NEW, &events).await;
                assert_eq!(
                    world.read().await,
                    (Generation(1), oracle(NEW, &events)),
                    "commit={commit}"
                );
                assert_eq!(world.entries(Generation(0)), 0);
                over = !world.script.lock().unwrap().is_empty();
            });
        }
    }
}

/// Both live sides run, events come all the time, and the old one is stopped at some moment: what readers get only grows.
#[test]
fn what_readers_get_only_grows() {
    runtime().block_on(async {
        // Each event counts one; the new definition counts it a million times.
        let events: Vec<_> = (0..3_000)
            .map(|n| (Timestamp(n / 30), (n as u8 % KEYS, Add(1))))
            .collect();
        let (feed, source) = Fed::over(VecSource::new(events.clone()));
        let world = World::new(Vec::new());
        feed.send_replace(500);
        let mut old = world.live(OLD, Generation(0), source.clone()).await;
        let over = Arc::new(AtomicBool::new(false));
        let reader = tokio::spawn({
            let (world, over) = (world.clone(), over.clone());
            async move { watch(&world, &over).await }
        });
        let feeder = tokio::spawn(async move {
            for end in 500..=3_000 {
                feed.send_replace(end);
                tokio::task::yield_now().await;
            }
            feed
        });
        let history = VecSource::new(events[..1_500].to_vec());
        let job = world.job(NEW);
        let backfill = job.backfill(&world.generations, "new", batches(NEW), |generation| {
            world.tail(NEW, generation, Arc::new(history), source.clone())
        });
        let stopped = async {
            old.stop();
            old.join().await.unwrap();
        };
        let (live, ()) = tokio::join!(backfill, stopped);
        let mut live = live.unwrap();
        let _feed = feeder.await.unwrap();
        while live.status().progress.of("0") < 3_000 {
            tokio::task::yield_now().await;
        }
        over.store(true, Ordering::Relaxed);
        let answers = reader.await.unwrap();
        live.stop();
        live.join().await.unwrap();
        let total = |values: &[Option<Add>]| values.iter().flatten().map(|Add(n)| n).sum::<i64>();
        let counted = |(generation, values): &(Generation, Vec<Option<Add>>)| match generation {
            Generation(0) => (0, total(values)),
            _ => (1, total(values) / 1_000_000),
        };
        let counted: Vec<_> = answers.iter().map(counted).collect();
        for pair in counted.windows(2) {
            assert!(pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1, "{pair:?}");
        }
        let ((first, _), (last, count)) = (counted[0], *counted.last().unwrap());
        assert_eq!((first, last, count), (0, 1, 3_000));
    });
}

#[test]
fn what_does_not_fit_is_told() {
    runtime().block_on(async {
        let told = |error: Error, kind, part: &str| {
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(part), "{error}");
        };
        let world = World::new(Vec::new());
        let events: Vec<Timed<Pair>> = vec![(Timestamp(5), (0, Add(1)))];
        world.fill_first(&events).await;
        let begin = async |name: &str, batches| world.generations.begin(name, batches).await;
        let some = batches(NEW);
        told(
            begin("", some.clone()).await.unwrap_err(),
            ErrorKind::Invalid,
            "name of a definition",
        );
        let filling = begin("new", some.clone()).await.unwrap().unwrap();
        told(
            begin("other", some.clone()).await.unwrap_err(),
            ErrorKind::Invalid,
            "filling=\"new\"",
        );
        let again = begin("new", BatchId(7)..BatchId(9)).await.unwrap().unwrap();
        assert_eq!(again, filling, "it goes on with the batches that it began with");
        told(
            world.generations.swap(filling.generation).await.unwrap_err(),
            ErrorKind::Retry,
            "not built up to the cut",
        );
        world
            .job(NEW)
            .build(&world.bounded(NEW, filling.generation, &events), some.clone())
            .await
            .unwrap();
        told(
            world.generations.swap(filling.generation).await.unwrap_err(),
            ErrorKind::Retry,
            "has not caught up",
        );
        told(
            world.generations.swap(Generation(9)).await.unwrap_err(),
            ErrorKind::Invalid,
            "not being filled",
        );
        // Sums of other batches do not go into a store, nor come out of it.
        let error = world
            .job(NEW)
            .build(&world.bounded(NEW, Generation(0), &events), some)
            .await
            .unwrap_err();
        told(error, ErrorKind::Invalid, "the store's batcher is not the job's");
        let client = world
            .store
            .at(Generation(0))
            .unwrap()
            .with_batcher(&NEW.batcher());
        told(
            client.get(&0, BatchId(0)).await.unwrap_err(),
            ErrorKind::Invalid,
            "held=\"10 ms\"",
        );
        // A live side on what has been dropped is told.
        world.generations.swap_built(filling.generation).await.unwrap();
        world.generations.drop_old().await.unwrap();
        let mut old = world
            .job(OLD)
            .run(&world.bounded(OLD, Generation(0), &events))
            .unwrap();
        told(
            old.join().await.unwrap_err(),
            ErrorKind::NotFound,
            "has been dropped",
        );
        assert_eq!(old.status().state, JobState::Failed);
        let error = world
            .store
            .at(Generation(0))
            .unwrap()
            .get(&0, BatchId(0))
            .await
            .unwrap_err();
        told(error, ErrorKind::NotFound, "has been dropped");
        // What is written to is not filled anew.
        let error = world.backfill_with_sink(&events).await.err().unwrap();
        told(error, ErrorKind::Invalid, "from a job of its own");
    });
}

/// What comes too late for its snapshot is hidden by it, and counts when history is built anew.
#[test]
fn late_events_count_after_a_rebuild() {
    runtime().block_on(async {
        let world = World::new(Vec::new());
        let mut events: Vec<_> = (0..10).map(|n| (Timestamp(n * 10), (0, Add(1)))).collect();
        world.backfill(NEW, &events).await;
        events.push((Timestamp(0), (0, Add(5))));
        world.live_to_end(NEW, Generation(1), &events).await;
        let (_, before) = world.read().await;
        assert_eq!(before, oracle(NEW, &events[..10]), "hidden");
        assert_eq!(
            world
                .store
                .at(Generation(1))
                .unwrap()
                .live()
                .late()
                .await
                .unwrap(),
            1
        );
        world.backfill(NEW.named("again"), &events).await;
        assert_eq!(world.read().await, (Generation(2), oracle(NEW, &events)));
        assert_eq!(
            world
                .store
                .at(Generation(2))
                .unwrap()
                .live()
                .late()
                .await
                .unwrap(),
            0
        );
    });
}
