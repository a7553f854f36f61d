//! Verification: each kind of damage is found, at its place, and nothing is written; the reader of segments
//! takes any bytes.

use std::fs;
use std::path::Path;

use event::DatasetName;
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::*;
use crate::laws::{batch, received};
use crate::{Problem, Report, verify};

fn dataset() -> DatasetName {
    "d".parse().unwrap()
}

fn options(segment_bytes: u64) -> LogOptions {
    LogOptions {
        segment_bytes,
        partitions: 1,
        ..LogOptions::default()
    }
}

fn segments(path: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(path.join("d/0")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

async fn filled(path: &Path, count: u64, segment_bytes: u64) {
    let (queue, _) = LogQueue::open(path, options(segment_bytes)).unwrap();
    for sequence in 0..count {
        let kept = queue.append(received(&dataset(), 1, sequence, sequence as i64));
        kept.await.unwrap();
    }
}

/// Verifies a log after a change of one of its segments, and that this changes nothing.
async fn found(segment: usize, change: impl FnOnce(&Path, &mut Vec<u8>)) -> Report {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 30, 900).await;
    let path = &segments(folder.path())[segment];
    let mut bytes = fs::read(path).unwrap();
    change(path, &mut bytes);
    if path.exists() {
        fs::write(path, bytes).unwrap();
    }
    let read = |path: &Path| {
        segments(path)
            .iter()
            .map(|path| fs::read(path).unwrap())
            .collect::<Vec<_>>()
    };
    let before = read(folder.path());
    let report = verify(folder.path()).unwrap();
    assert_eq!(read(folder.path()), before);
    report
}

fn problems(report: &Report) -> Vec<Problem> {
    report.findings.iter().map(|finding| finding.problem).collect()
}

#[tokio::test]
async fn a_whole_log_is_listed() {
    let report = found(0, |_, _| {}).await;
    assert!(report.is_whole(), "{report}");
    assert!(report.segments.len() > 4);
    let batches: u64 = report.segments.iter().map(|segment| segment.batches).sum();
    assert_eq!(batches, 30);
    let pairs = report.segments.iter().zip(&report.segments[1..]);
    for (segment, next) in pairs {
        assert_eq!(segment.offsets.end, next.offsets.start);
        assert!(segment.received.unwrap().1 < next.received.unwrap().0);
    }
    assert!(report.to_string().ends_with("bytes: all is well\n"));
}

#[tokio::test]
async fn each_kind_of_damage_is_found_at_its_place() {
    let flipped = found(1, |_, bytes| {
        let last = bytes.len() - 3;
        bytes[last] ^= 8;
    });
    let report = flipped.await;
    assert_eq!(problems(&report), [Problem::Damage], "{report}");
    assert!(report.findings[0].text.contains("damaged"), "{report}");

    let report = found(1, |_, bytes| bytes[30] ^= 8).await;
    assert_eq!(problems(&report), [Problem::Head], "{report}");

    let report = found(1, |path, _| fs::remove_file(path).unwrap()).await;
    assert_eq!(problems(&report), [Problem::Gap], "{report}");

    let report = found(1, |_, bytes| bytes.truncate(bytes.len() - 10)).await;
    assert_eq!(problems(&report), [Problem::Damage], "{report}");

    let report = found(0, |path, _| {
        fs::write(path.with_file_name("notes.txt"), "x").unwrap()
    })
    .await;
    assert_eq!(problems(&report), [Problem::Unknown], "{report}");

    let meta = |path: &Path| path.parent().unwrap().with_file_name("dataset.meta");
    let report = found(0, |path, _| fs::write(meta(path), "x").unwrap()).await;
    assert_eq!(problems(&report), [Problem::Settings], "{report}");

    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 3, 1 << 20).await;
    let path = &segments(folder.path())[0];
    let mut bytes = fs::read(path).unwrap();
    let end = bytes.len() as u64;
    bytes.extend_from_slice(&[7; 90]);
    fs::write(path, bytes).unwrap();
    let report = verify(folder.path()).unwrap();
    assert_eq!(problems(&report), [Problem::TornTail], "{report}");
    assert_eq!(report.findings[0].at, end);
}

#[tokio::test]
async fn a_snapshot_that_does_not_agree_with_the_records_is_found() {
    let report = found(2, |_, bytes| {
        let length = record::length(*bytes[8..].first_chunk().unwrap()).unwrap();
        let head = record::parse(&bytes[8..8 + length]).unwrap();
        let mut body = head.body.to_vec();
        let sequence = body.len() - 8;
        body[sequence] ^= 1;
        let mut forged = record::SEGMENT_HEADER.to_vec();
        record::encode(
            &mut forged,
            record::Kind::Head,
            head.offset,
            head.durable,
            &[&body],
        );
        bytes.splice(..8 + length, forged);
    })
    .await;
    // The one after it starts from the forged table, and is told by one record more.
    assert_eq!(problems(&report)[0], Problem::Head, "{report}");
    assert!(report.findings[0].text.contains("snapshot"), "{report}");
}

#[derive(Clone, Debug)]
enum Mutation {
    Flip(prop::sample::Index, u8),
    Fill(prop::sample::Index, u16, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Copy(prop::sample::Index, prop::sample::Index, u16),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), 0u8..8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        (at(), any::<u16>(), any::<u8>()).prop_map(|(at, count, byte)| Mutation::Fill(at, count % 600, byte)),
        at().prop_map(Mutation::Cut),
        (at(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        (at(), at(), any::<u16>()).prop_map(|(from, to, count)| Mutation::Copy(from, to, count % 600)),
    ]
}

impl Mutation {
    fn apply(self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let to = |at: usize, count: u16| (at + count as usize).min(bytes.len());
        match self {
            Self::Flip(at, bit) => {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            Self::Fill(at, count, byte) => {
                let at = at.index(bytes.len());
                let to = to(at, count);
                bytes[at..to].fill(byte);
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Insert(at, new) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, new);
            }
            Self::Copy(from, at, count) => {
                let from = from.index(bytes.len());
                let copied = bytes[from..to(from, count)].to_vec();
                let at = at.index(bytes.len());
                bytes.splice(at..at, copied);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever stands in a segment: opening, reading and verifying never panic, every record that is read is
    /// one that was appended, and the log takes the next batch.
    #[test]
    fn a_mutated_segment_harms_nobody(
        mutations in prop::collection::vec(mutation(), 1..4),
        segment: prop::sample::Index,
        many: bool,
    ) {
        Runtime::new().unwrap().block_on(mutated(mutations, segment, many));
    }

    /// The same for a file of any bytes.
    #[test]
    fn any_bytes_are_no_segment(bytes: Vec<u8>, header: bool) {
        let folder = tempfile::tempdir().unwrap();
        let start = if header { &record::SEGMENT_HEADER[..] } else { &[] };
        fs::create_dir_all(folder.path().join("d/0")).unwrap();
        fs::write(folder.path().join("d/dataset.meta"), "version=1\npartitions=1\n").unwrap();
        fs::write(folder.path().join("d/0/00000000000000000000.log"), [start, &bytes].concat()).unwrap();
        verify(folder.path()).unwrap();
        let (queue, recovery) = LogQueue::open(folder.path(), options(900)).unwrap();
        prop_assert_eq!(recovery.batches, 0);
        let kept = Runtime::new().unwrap().block_on(queue.append(batch(&dataset(), 1, 0, 0)));
        prop_assert_eq!(kept.unwrap().offset, Some(Offset(0)));
    }
}

async fn mutated(mutations: Vec<Mutation>, segment: prop::sample::Index, many: bool) {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 20, if many { 900 } else { 1 << 20 }).await;
    let files = segments(folder.path());
    let path = &files[segment.index(files.len())];
    let mut bytes = fs::read(path).unwrap();
    mutations
        .into_iter()
        .for_each(|mutation| mutation.apply(&mut bytes));
    fs::write(path, bytes).unwrap();
    verify(folder.path()).unwrap();
    let (queue, _) = LogQueue::open(folder.path(), options(900)).unwrap();
    let end = queue.ends(&dataset())[0].0;
    assert!(end <= 20);
    let mut at = 0;
    while at < end {
        match queue.read(&dataset(), Partition(0), Offset(at), 1).await {
            Ok(records) => {
                assert_eq!(records[0].offset, Offset(at));
                assert_eq!(records[0].batch, received(&dataset(), 1, at, at as i64));
                at += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                at = error.next().unwrap().0;
            }
        }
    }
    let next = queue.append(batch(&dataset(), 2, 0, 0)).await.unwrap();
    assert_eq!(next.offset, Some(Offset(end)));
}
