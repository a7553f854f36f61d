//! Spools on a real disk: trimmed, damaged, opened again.

use event::DatasetName;
use queue::laws::batch;

use super::replay::Place;
use super::spool::{IsFirst, Spools};

fn orders() -> DatasetName {
    "orders".parse().unwrap()
}

async fn filled(folder: &std::path::Path, batches: u64, payload_bytes: usize) -> Spools {
    let mut spools = Spools::recover(folder.to_owned(), orders()).unwrap();
    spools.ready().await.unwrap();
    for sequence in 0..batches {
        let mut batch = batch(&orders(), 7, 0, sequence);
        batch.payload = vec![b'x'; payload_bytes].into();
        // A write of its own each: damage to the last write of a log cannot be told from a torn one.
        spools.append(batch).await.unwrap();
    }
    spools
}

/// The sequences from a place on, and how many were damaged.
async fn sequences(spools: &mut Spools, from: Place) -> (Vec<u64>, u64) {
    let (mut found, mut damaged, mut at) = (Vec::new(), 0, from);
    while let Some(place) = spools.at_or_after(at) {
        let read = spools.read(place, 1 << 20, IsFirst::Yes).await.unwrap();
        damaged += read.damaged;
        at = Place {
            offset: read.next.offset + read.batches.len() as u64,
            ..read.next
        };
        found.extend(read.batches.iter().map(|batch| batch.header.key.sequence.0));
    }
    (found, damaged)
}

#[tokio::test]
async fn what_is_replayed_is_deleted_and_the_rest_is_there_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut spools = filled(folder.path(), 48, 1 << 20).await;
    let first = spools.first().unwrap();
    assert!(spools.has_more_than(40 << 20, first));
    assert_eq!(sequences(&mut spools, first).await, ((0..48).collect(), 0));
    assert!(!spools.has_more_than(0, first), "all was read");
    let before = spools.bytes();
    let needed = Place { offset: 30, ..first };
    spools.trim(needed).await.unwrap();
    let after = spools.bytes();
    assert!(after < before - (10 << 20), "{after} of {before} bytes");
    let kept = spools.first().unwrap();
    assert!(kept > first && kept <= needed);
    spools.close().await;
    let mut again = filled(folder.path(), 3, 10).await;
    let kept_offset = kept.offset;
    assert_eq!(again.first(), Some(kept));
    let expected: Vec<u64> = (kept_offset..48).chain(0..3).collect();
    assert_eq!(
        sequences(&mut again, kept).await,
        (expected, 0),
        "a fresh one is behind it"
    );
    again
        .trim(Place {
            spool: kept.spool + 1,
            offset: 1,
        })
        .await
        .unwrap();
    assert_eq!(again.first().unwrap().spool, kept.spool + 1);
    again.clear().await.unwrap();
    assert_eq!((again.first(), again.bytes()), (None, 0));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    again.ready().await.unwrap();
    assert_eq!(
        again.first().unwrap().spool,
        kept.spool + 2,
        "numbers are not used twice"
    );
}

#[tokio::test]
async fn damaged_batches_are_left_out_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let spools = filled(folder.path(), 10, 1_000).await;
    spools.close().await;
    let segment = folder.path().join("000000/orders/0/00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.windows(4).position(|window| window == b"xxxx").unwrap() + 3_500;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let mut spools = Spools::recover(folder.path().to_owned(), orders()).unwrap();
    let first = spools.first().unwrap();
    let (found, damaged) = sequences(&mut spools, first).await;
    assert_eq!((found, damaged), (vec![0, 1, 2, 4, 5, 6, 7, 8, 9], 1));
}
