//! The laws with all replicas and with one that fails, read repair, and two objects over the same replicas.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::laws::{self, Fault, Faulty};
use crate::{ManualClock, MemoryStore, ReadableExt, WritableExt};

type Replica<V> = MemoryStore<u64, Stamped<V>>;

fn options(read: Consistency, write: Consistency) -> ReplicaOptions {
    ReplicaOptions {
        read,
        write,
        writer: 1,
    }
}

const QUORUM: ReplicaOptions = ReplicaOptions {
    read: Consistency::Quorum,
    write: Consistency::Quorum,
    writer: 1,
};

#[tokio::test(flavor = "multi_thread")]
async fn laws() {
    use Consistency::{All, One, Quorum};
    for (read, write) in [(Quorum, Quorum), (One, All), (All, One)] {
        laws::writable::<u64, u64, _>(async || {
            let replicas: [Replica<u64>; 3] = std::array::from_fn(|_| MemoryStore::new());
            Arc::new(Replicated::new(
                replicas,
                options(read, write),
                ManualClock::default(),
            ))
        })
        .await;
    }
    laws::readable::<u64, u64, _>(async |pairs| {
        let replicas: [Replica<u64>; 3] = std::array::from_fn(|_| MemoryStore::new());
        let store = Replicated::new(replicas, QUORUM, ManualClock::default());
        let writes = pairs.into_iter().map(|(key, value)| (key, Some(value))).collect();
        store
            .put_each(writes)
            .await
            .into_iter()
            .for_each(|answer| answer.unwrap());
        Arc::new(store)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn laws_while_one_of_three_always_fails() {
    for fault in [Fault::Before, Fault::After] {
        laws::writable::<u64, u64, _>(async || {
            let replicas = (0..3).map(|n| {
                let faults = (0..if n == 1 { 10_000 } else { 0 }).map(|call| (call, fault));
                Faulty::new(Replica::<u64>::new(), faults)
            });
            Arc::new(Replicated::new(replicas, QUORUM, ManualClock::default()))
        })
        .await;
    }
}

fn held(replica: &Replica<u64>) -> Vec<(u64, Option<u64>)> {
    replica
        .entries()
        .into_iter()
        .map(|(key, held)| (key, held.value))
        .collect()
}

#[tokio::test]
async fn a_read_repairs_what_missed_a_write() {
    let kept: Vec<Replica<u64>> = (0..3).map(|_| MemoryStore::new()).collect();
    // The first replica misses the second and third write.
    let replicas = kept.iter().enumerate().map(|(n, replica)| {
        let faults = if n == 0 {
            vec![(1, Fault::Before), (2, Fault::Before)]
        } else {
            vec![]
        };
        Faulty::new(replica.clone(), faults)
    });
    let all = options(Consistency::All, Consistency::Quorum);
    let store = Replicated::new(replicas, all, ManualClock::default());
    store.put(1, 10).await.unwrap();
    store.put(1, 11).await.unwrap();
    store.remove(2).await.unwrap();
    assert_eq!(held(&kept[0]), [(1, Some(10))]);
    let answers = store.get_each(&[1, 2, 3]).await;
    let values: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(values, [Some(11), None, None]);
    for replica in &kept {
        assert_eq!(held(replica), [(1, Some(11)), (2, None)], "removals too");
    }
}

#[tokio::test]
async fn too_few_replicas_are_an_error_that_says_so() {
    let dead = |n: usize| (0..if n > 0 { 100 } else { 0 }).map(|call| (call, Fault::Before));
    let make = |read, write| {
        let replicas = (0..3).map(|n| Faulty::new(Replica::<u64>::new(), dead(n)));
        Replicated::new(replicas, options(read, write), ManualClock::default())
    };
    let store = make(Consistency::One, Consistency::Quorum);
    let error = store.put(1, 10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert!(
        error.to_string().contains("needed=2 done=1 replicas=3"),
        "{error}"
    );
    assert_eq!(
        store.get(&1).await.unwrap(),
        Some(10),
        "a failed write may be seen"
    );
    let store = make(Consistency::Quorum, Consistency::One);
    store.put(1, 10).await.unwrap();
    assert!(
        store
            .get(&1)
            .await
            .unwrap_err()
            .to_string()
            .contains("needed=2 done=1")
    );
    let none = Replicated::new(Vec::<Replica<u64>>::new(), QUORUM, ManualClock::default());
    assert!(none.get(&1).await.is_err() && none.put(1, 1).await.is_err());
}

#[tokio::test]
async fn a_writer_whose_clock_is_behind_writes_over_what_it_read() {
    let replicas: Vec<Replica<u64>> = (0..3).map(|_| MemoryStore::new()).collect();
    let ahead = ManualClock::default();
    ahead.advance(Duration::from_secs(100));
    let one = Replicated::new(replicas.clone(), QUORUM, ahead);
    one.put(1, 10).await.unwrap();
    let two = Replicated::new(
        replicas,
        ReplicaOptions { writer: 2, ..QUORUM },
        ManualClock::default(),
    );
    assert_eq!(two.get(&1).await.unwrap(), Some(10));
    two.put(1, 20).await.unwrap();
    assert_eq!(one.get(&1).await.unwrap(), Some(20));
}

/// Readers and a writer of different objects, most of which do not reach some replica: nobody reads an older value
/// after a newer one that a read has answered with.
#[tokio::test(flavor = "multi_thread")]
async fn readers_of_another_object_see_no_value_go_back() {
    const WRITES: u64 = 300;
    let kept: Vec<Replica<u64>> = (0..3).map(|_| MemoryStore::new()).collect();
    let object = |writer: u64, broken: Option<usize>| {
        let replicas = kept.iter().enumerate().map(|(n, replica)| {
            let faults = (0..10_000)
                .filter(|_| broken == Some(n))
                .map(|call| (call, Fault::Before));
            Faulty::new(replica.clone(), faults)
        });
        Arc::new(Replicated::new(
            replicas,
            ReplicaOptions { writer, ..QUORUM },
            ManualClock::default(),
        ))
    };
    // The writer does not reach one replica, and each reader does not reach another one.
    let writer = object(1, Some(0));
    let writing = tokio::spawn(async move {
        for n in 1..=WRITES {
            writer.put(1, n).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let readers = [None, Some(1), Some(2)].map(|broken| {
        let reader = object(9, broken);
        tokio::spawn(async move {
            let mut newest = 0;
            while newest < WRITES {
                let seen = reader.get(&1).await.unwrap().unwrap_or(0);
                assert!(seen >= newest, "seen={seen} newest={newest}");
                newest = seen;
                tokio::task::yield_now().await;
            }
        })
    });
    writing.await.unwrap();
    for reader in readers {
        reader.await.unwrap();
    }
}
