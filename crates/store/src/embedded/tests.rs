//! The laws on disk, reopening, a kill -9, and journals torn at any byte.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::Typed;

fn open() -> (TempDir, Embedded) {
    let folder = tempfile::tempdir().unwrap();
    let stores = Embedded::open(folder.path()).unwrap();
    (folder, stores)
}

fn at(offset: u64) -> Progress {
    Progress::from_iter([("0", offset)])
}

/// Sets some keys of various sizes, and the progress, to `n`; the progress must be `n - 1` before.
fn count_to(n: u64) -> Commit<Bytes, Bytes> {
    let writes = (0..8_usize).map(|key| {
        (
            Bytes::from(vec![b'k'; key]),
            Some(Bytes::from(format!("{n:0key$}"))),
        )
    });
    Commit {
        writes: writes.collect(),
        expected: (n > 1).then(|| at(n - 1)),
        progress: at(n),
    }
}

/// The number that every value and the progress is at.
fn counted(store: &EmbeddedStore) -> u64 {
    let count = store.0.progress().unwrap().map_or(0, |progress| progress.of("0"));
    let pairs = store.0.scan(None, usize::MAX).unwrap();
    assert_eq!(pairs.len(), if count == 0 { 0 } else { 8 });
    for (key, value) in pairs {
        let value: u64 = std::str::from_utf8(&value).unwrap().parse().unwrap();
        assert_eq!(value, count, "a value is not at the progress key={key:?}");
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn laws() {
    let (_folder, stores) = open();
    let calls = AtomicU64::new(0);
    let name = || format!("laws-{}", calls.fetch_add(1, Ordering::Relaxed));
    crate::laws::check::<Bytes, Bytes, _>(async || stores.store(&name()).unwrap()).await;
    let typed = || Arc::new(Typed::new("laws", stores.store(&name()).unwrap()));
    crate::laws::check::<u64, i64, _>(async || typed()).await;
    let typed = || Arc::new(Typed::new("laws", stores.store(&name()).unwrap()));
    crate::laws::check::<String, String, _>(async || typed()).await;
}

#[tokio::test]
async fn is_there_when_opened_again() {
    let (folder, stores) = open();
    let counts = stores.store("counts").unwrap();
    for n in 1..=3 {
        counts.commit(count_to(n)).await.unwrap();
    }
    let shape = json!({"key": "string", "value": {"count": "integer"}});
    stores.set_shape("counts", shape.clone()).unwrap();
    stores.set_shape("only-a-shape", json!(null)).unwrap();
    stores.persist().await.unwrap();
    counts.commit(count_to(4)).await.unwrap();
    drop((stores, counts));

    let stores = Embedded::open(folder.path()).unwrap();
    assert_eq!(stores.names(), ["counts", "only-a-shape"]);
    assert_eq!(stores.shape("counts").unwrap(), Some(shape));
    assert_eq!(stores.shape("only-a-shape").unwrap(), Some(json!(null)));
    assert_eq!(stores.shape("no-such").unwrap(), None);
    assert_eq!(
        stores.names(),
        ["counts", "only-a-shape"],
        "asking for a shape makes no store"
    );
    let counts = stores.store("counts").unwrap();
    assert_eq!(counted(&counts), 4);
    counts.commit(count_to(5)).await.unwrap();
    assert_eq!(counted(&counts), 5);
}

#[tokio::test]
async fn stores_of_one_name_are_one_and_of_two_names_are_apart() {
    let (_folder, stores) = open();
    let (one, two) = (stores.store("one").unwrap(), stores.store("two").unwrap());
    assert!(Arc::ptr_eq(&one, &stores.store("one").unwrap()));
    one.commit(count_to(1)).await.unwrap();
    assert_eq!(counted(&two), 0);
    assert_eq!(stores.shape("one").unwrap(), None);
}

#[tokio::test]
async fn keys_of_the_user_cannot_meet_ours() {
    let (_folder, stores) = open();
    let store = stores.store("keys").unwrap();
    stores.set_shape("keys", json!(1)).unwrap();
    let keys = [
        &b""[..],
        b"\0",
        PROGRESS,
        SHAPE,
        b"\x01",
        b"\xff",
        &[7; limits::KEY_BYTES_MAX],
    ];
    let writes = keys
        .map(|key| (Bytes::from_static(b"x").slice(..0), key))
        .map(|(value, key)| (Bytes::copy_from_slice(key), Some(value)));
    store
        .commit(Commit {
            writes: writes.to_vec(),
            expected: None,
            progress: at(1),
        })
        .await
        .unwrap();
    assert_eq!(store.progress().await.unwrap(), Some(at(1)));
    assert_eq!(stores.shape("keys").unwrap(), Some(json!(1)));
    let mut sorted = keys;
    sorted.sort_unstable();
    let scanned: Vec<_> = store
        .scan(None, 100)
        .await
        .unwrap()
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert_eq!(scanned, sorted);
}

#[tokio::test]
async fn what_is_too_large_changes_nothing() {
    let (_folder, stores) = open();
    let store = stores.store("large").unwrap();
    let key = Bytes::from(vec![1; limits::KEY_BYTES_MAX + 1]);
    let writes = vec![(Bytes::new(), Some(Bytes::new())), (key, Some(Bytes::new()))];
    let error = store
        .commit(Commit {
            writes,
            expected: None,
            progress: at(1),
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("the key is too large"), "{error}");
    assert_eq!(counted(&store), 0);
}

#[test]
fn wrong_names_are_refused() {
    let (_folder, stores) = open();
    for name in ["", "a/b", "a b", &"x".repeat(129)] {
        assert_eq!(
            stores.store(name).map(drop).unwrap_err().kind(),
            ErrorKind::Invalid
        );
        assert_eq!(
            stores.set_shape(name, json!(1)).unwrap_err().kind(),
            ErrorKind::Invalid
        );
    }
    assert_eq!(stores.names(), Vec::<String>::new());
}

#[test]
fn opened_twice_is_an_error_until_all_is_dropped() {
    let (folder, stores) = open();
    let store = stores.store("counts").unwrap();
    for _ in 0..2 {
        let error = Embedded::open(folder.path()).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Retry);
        assert!(
            error
                .to_string()
                .starts_with("the stores are open elsewhere: stop the other"),
            "{error}"
        );
    }
    drop(stores);
    assert!(
        Embedded::open(folder.path()).is_err(),
        "a store keeps its database open"
    );
    drop(store);
    Embedded::open(folder.path()).unwrap();
}

const KILLED_FOLDER: &str = "STORE_TEST_KILLED_FOLDER";

/// The child of the next test; without its folder it is an empty test.
#[tokio::test]
async fn counts_until_it_is_killed() {
    let Ok(folder) = std::env::var(KILLED_FOLDER) else {
        return;
    };
    let stores = Embedded::open(folder).unwrap();
    let store = stores.store("counts").unwrap();
    for n in counted(&store) + 1.. {
        store.commit(count_to(n)).await.unwrap();
        let mut out = std::io::stdout();
        out.write_all(format!("\nacked {n}\n").as_bytes())
            .and_then(|()| out.flush())
            .unwrap();
    }
}

#[test]
fn survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let mut before = 0;
    for round in 0..8_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "embedded::tests::counts_until_it_is_killed",
                "--nocapture",
            ])
            .env(KILLED_FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(|line| line.unwrap_or_default());
        let mut acked = before;
        let mut follow = |line: String| {
            if let Some(n) = line.strip_prefix("acked ").and_then(|n| n.parse().ok()) {
                acked = n;
            }
            acked
        };
        // The child goes on while this reads, so the kill meets it anywhere in a commit.
        let enough = before + 1 + RandomState::new().hash_one(round) % 300;
        while follow(lines.next().expect("the child counts until it is killed")) < enough {}
        child.kill().unwrap();
        lines.map(&mut follow).for_each(drop);
        child.wait().unwrap();

        let stores = Embedded::open(folder.path()).unwrap();
        let count = counted(&stores.store("counts").unwrap());
        assert!(
            count == acked || count == acked + 1,
            "acked={acked} count={count}"
        );
        before = count;
    }
}

/// A folder of a database with `commits` counted in its journal, and the journal's bytes.
fn journal_of(commits: u64) -> (TempDir, PathBuf, Vec<u8>) {
    let (folder, stores) = open();
    let store = stores.store("counts").unwrap();
    (1..=commits).for_each(|n| store.0.apply(count_to(n)).unwrap());
    drop((store, stores));
    let path = folder.path().join("0.jnl");
    let mut journal = fs::read(&path).unwrap();
    journal.truncate(journal.iter().rposition(|byte| *byte != 0).unwrap() + 1);
    (folder, path, journal)
}

/// What is counted after a crash that has left this journal, as long as it was made (`padded`) or cut.
///
/// `None` when fjall panics: in debug builds it asserts that a header is not torn between two of its fields,
/// which, padded with zeros, it may be. Without debug assertions it drops such a batch like any other.
fn counted_after(folder: &TempDir, path: &Path, journal: &[u8], padded: bool) -> Option<u64> {
    fs::write(path, journal).unwrap();
    if padded {
        fs::OpenOptions::new()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(64 << 20)
            .unwrap();
    }
    let stores = match std::panic::catch_unwind(|| Embedded::open(folder.path()).unwrap()) {
        Ok(stores) => stores,
        Err(_) if padded && cfg!(debug_assertions) => return None,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    let store = stores.store("counts").unwrap();
    let count = counted(&store);
    store.0.apply(count_to(count + 1)).unwrap();
    drop((store, stores));
    let again = Embedded::open(folder.path()).unwrap();
    assert_eq!(
        counted(&again.store("counts").unwrap()),
        count + 1,
        "what follows the torn commit is kept"
    );
    Some(count)
}

#[test]
fn a_torn_commit_is_dropped_whole() {
    let (folder, path, journal) = journal_of(6);
    let (_, _, shorter) = journal_of(5);
    for padded in [false, true] {
        let ends = (shorter.len()..journal.len()).step_by(5);
        let counts: Vec<_> = ends
            .filter_map(|end| counted_after(&folder, &path, &journal[..end], padded))
            .collect();
        assert!(
            counts.iter().all(|count| *count == 5),
            "padded={padded} counts={counts:?}"
        );
        assert!(
            counts.len() * 10 > (journal.len() - shorter.len()),
            "most tears are dropped counts={counts:?}"
        );
        assert_eq!(counted_after(&folder, &path, &journal, padded), Some(6));
    }
}

/// What the loss of power may leave of a large value that was not persisted.
#[test]
fn a_hole_in_a_commit_is_an_error() {
    let (folder, stores) = open();
    let store = stores.store("counts").unwrap();
    let writes = vec![(Bytes::new(), Some(Bytes::from(vec![7; 64 << 10])))];
    store
        .0
        .apply(Commit {
            writes,
            expected: None,
            progress: at(1),
        })
        .unwrap();
    drop((store, stores));
    let path = folder.path().join("0.jnl");
    let mut journal = fs::read(&path).unwrap();
    journal[16 << 10..20 << 10].fill(0);
    fs::write(&path, journal).unwrap();
    let error = Embedded::open(folder.path()).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        error
            .to_string()
            .starts_with("the stores' files are damaged: bring back a copy"),
        "{error}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    /// Commits of any bytes give what a map gives, also when opened again.
    #[test]
    fn like_a_map(
        commits in prop::collection::vec(
            prop::collection::vec((prop::collection::vec(any::<u8>(), 0..3), any::<Option<Vec<u8>>>()), 0..200),
            1..5,
        ),
    ) {
        let (folder, stores) = open();
        let store = stores.store("map").unwrap();
        let mut twin = BTreeMap::new();
        for (n, writes) in (0_u64..).zip(commits) {
            let writes: Vec<_> =
                writes.into_iter().map(|(key, value)| (Bytes::from(key), value.map(Bytes::from))).collect();
            for (key, value) in writes.clone() {
                match value {
                    Some(value) => twin.insert(key, value),
                    None => twin.remove(&key),
                };
            }
            let expected = (n > 0).then(|| at(n));
            store.0.apply(Commit { writes, expected, progress: at(n + 1) }).unwrap();
        }
        let twin: Vec<_> = twin.into_iter().collect();
        prop_assert_eq!(&store.0.scan(None, usize::MAX).unwrap(), &twin);
        drop((store, stores));
        let stores = Embedded::open(folder.path()).unwrap();
        prop_assert_eq!(&stores.store("map").unwrap().0.scan(None, usize::MAX).unwrap(), &twin);
    }
}
