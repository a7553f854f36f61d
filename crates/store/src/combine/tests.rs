//! Combinators on combinators obey the laws too.

use std::sync::Arc;
use std::time::Duration;

use crate::laws::{self, Fault, Faulty};
use crate::{
    Backoff, BatchLimits, Cached, Consistency, HeavyHitters, Lru, ManualClock, MemoryStore, ReplicaOptions,
    Replicated, Sharded, SingleWriter, StoreExt, Ttl,
};

const FEW: BatchLimits = BatchLimits {
    keys_max: 2,
    calls_max: 3,
};

fn patient() -> Backoff {
    Backoff {
        attempts_max: 500,
        ..Backoff::default()
    }
}

/// About every third call fails, before it is done; without a period, which tries could fall in step with.
fn faults() -> impl Iterator<Item = (u64, Fault)> {
    let fails = |call: &u64| call.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40 & 0xFF < 85;
    (0..100_000).filter(fails).map(|call| (call, Fault::Before))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_over_failing_shards_merges() {
    laws::mergeable::<u64, String, _>(async || {
        let shards = (0..3).map(|_| {
            let shard = Faulty::new(MemoryStore::new(), faults()).retrying(patient(), ManualClock::default());
            Some(shard)
        });
        let store = Sharded::new(shards, |key: &u64| (key % 3) as usize)
            .batched(FEW)
            .buffered(5)
            .observed(|_| (), ManualClock::default());
        Arc::new(Cached::<u64, String, _, _>::new(store, Lru::new(4)))
    })
    .await;
}

fn small_cache<V: crate::Value>() -> HeavyHitters<u64, Ttl<u64, V, ManualClock>> {
    HeavyHitters::new(Ttl::new(3, Duration::from_secs(1), ManualClock::default()), 2)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_writer_over_a_store_that_often_fails_merges() {
    laws::mergeable::<u64, u64, _>(async || {
        let store = Faulty::new(MemoryStore::new(), faults()).retrying(patient(), ManualClock::default());
        let writer = SingleWriter::open(Arc::new(store), 1).await.unwrap();
        Arc::new(Cached::<u64, u64, _, _>::new(writer, small_cache()))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_writer_that_often_fails_writes() {
    laws::writable::<u64, u64, _>(async || {
        // Opening must not meet a fault.
        let faults = faults().filter(|(call, _)| *call > 5);
        let store = Arc::new(Faulty::new(MemoryStore::new(), faults));
        let writer = SingleWriter::open(store, 1).await.unwrap();
        let retrying = writer.retrying(patient(), ManualClock::default());
        Arc::new(Cached::<u64, u64, _, _>::new(retrying, small_cache()))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_over_replicas_writes() {
    laws::writable::<u64, String, _>(async || {
        let replicas = (0..3).map(|n| {
            // One replica loses the answers of some calls, another one is asked key by key.
            let faults = (0..10_000)
                .filter(move |call| n == 1 && call % 2 == 0)
                .map(|call| (call, Fault::After));
            Faulty::new(MemoryStore::new(), faults).batched(FEW)
        });
        let options = ReplicaOptions {
            read: Consistency::Quorum,
            write: Consistency::Quorum,
            writer: 1,
        };
        let store = Replicated::new(replicas, options, ManualClock::default());
        Arc::new(Cached::<u64, String, _, _>::new(store, Lru::new(4)))
    })
    .await;
}
