//! A job over history, batch by batch or several at once, whatever fails: the sums of plain collections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flow::{
    BatchId, Batcher, ErrorKind, History, Local, Producer, Result, SnapshotOptions, Snapshots, Source,
    Timestamp, VecSource, Within,
};
use proptest::prelude::*;
use store::{MemoryStore, Progress};

use crate::faulty::{FaultyStore, faults};
use crate::kit::{Timed, options, runtime};

type Event = (u8, String);

fn events() -> impl Strategy<Value = Vec<Timed<Event>>> {
    let event = (-20i64..60, 0u8..4, "[a-z]").prop_map(|(time, key, text)| (Timestamp(time), (key, text)));
    prop::collection::vec(event, 0..40)
}

fn tens() -> Batcher {
    Batcher::every(Duration::from_millis(10)).unwrap()
}

/// Sums in the order of batches, of those before the bound.
fn twin(events: &[Timed<Event>], bound: i64) -> Vec<Option<String>> {
    let mut events: Vec<_> = events
        .iter()
        .filter(|(time, _)| (0..bound * 10).contains(&time.0))
        .collect();
    events.sort_by_key(|(time, _)| tens().batch_of(*time));
    let mut sums = BTreeMap::<u8, String>::new();
    for (_, (key, text)) in events {
        sums.entry(*key).or_default().push_str(text);
    }
    (0..5).map(|key| sums.get(&key).cloned()).collect()
}

async fn until_done(mut call: impl AsyncFnMut() -> Result<()>) {
    while let Err(error) = call().await {
        assert!(
            [ErrorKind::Retry, ErrorKind::Corrupt].contains(&error.kind()),
            "{error}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn builds_of_any_lengths(
        events in events(), bounds in prop::collection::btree_set(1i64..7, 1..4), faults in faults(),
        epoch_bytes_max in 40usize..400,
    ) {
        runtime().block_on(async {
            let inner = FaultyStore::over(Arc::new(MemoryStore::new()), &Arc::new(Mutex::new(faults.into())));
            let sums = Snapshots::<u8, String>::new(inner, SnapshotOptions::default()).unwrap();
            until_done(async || sums.begin_empty(BatchId(0)).await).await;
            let source = Arc::new(VecSource::new(events.clone()));
            let history = History::new(source, tens()).with_options(options(epoch_bytes_max, 2));
            let mut from = BatchId(0);
            for bound in bounds {
                let batches = from..BatchId(bound);
                until_done(async || {
                    history
                        .build("test", &sums, batches.clone(), |events, sums| events.batched(tens()).sum_by_key(sums))
                        .await
                })
                .await;
                from = BatchId(bound);
                prop_assert_eq!(sums.multi_get(&[0, 1, 2, 3, 4]).await.unwrap().values, twin(&events, bound));
            }
            Ok(())
        })?;
    }

    /// A job that sums by key alone sees the last snapshot with what came since, one batch at a time.
    #[test]
    fn totals_batch_by_batch(events in events(), faults in faults()) {
        runtime().block_on(async {
            let inner = FaultyStore::over(Arc::new(MemoryStore::new()), &Arc::new(Mutex::new(faults.into())));
            let sums = Snapshots::<u8, String>::new(inner, SnapshotOptions::default()).unwrap();
            until_done(async || sums.begin_empty(BatchId(0)).await).await;
            let all: Arc<dyn Source<Event>> = Arc::new(VecSource::new(events.clone()));
            for batch in (0..6).map(BatchId) {
                until_done(async || {
                    let build = sums.build(batch..batch.next()).await?;
                    if !build.is_closed().await? {
                        let within = Within::new(all.clone(), tens().interval_of(batch));
                        let events = Producer::<Local, Event>::source(Arc::new(within));
                        let tail = events.sum_by_key(Arc::new(build.totals()));
                        Local::run("test", &tail, options(100, 2))?.join().await?;
                    }
                    build.publish().await
                })
                .await;
                let values = sums.multi_get(&[0, 1, 2, 3, 4]).await.unwrap().values;
                prop_assert_eq!(values, twin(&events, batch.0 + 1));
            }
            Ok(())
        })?;
    }

    #[test]
    fn within_is_a_filter_that_keeps_offsets(events in events(), bytes_max in 1usize..200, start in 0u64..5) {
        runtime().block_on(async {
            let times = Timestamp(0)..Timestamp(30);
            let all = VecSource::new(events.clone());
            let within = Within::new(Arc::new(VecSource::new(events.clone())), times.clone());
            let mut from = Progress::from_iter([("0", start)]);
            while let Some(slices) = all.read(&from, None, bytes_max).await.unwrap() {
                let cut = within.read(&from, None, bytes_max).await.unwrap().unwrap();
                for (mut slice, cut) in slices.into_iter().zip(cut) {
                    from.advance(&slice.part, slice.next);
                    slice.items.retain(|(time, _)| times.contains(time));
                    prop_assert!(cut.bytes <= slice.bytes && (cut.bytes > 0 || cut.items.is_empty()));
                    prop_assert_eq!((cut.part, cut.next, cut.items), (slice.part, slice.next, slice.items));
                }
            }
            prop_assert_eq!(within.read(&from, None, bytes_max).await.unwrap(), None);
            Ok(())
        })?;
    }
}
