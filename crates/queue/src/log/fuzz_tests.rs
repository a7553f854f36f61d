//! A log whose files lie: records with a right checksum and wrong contents, lengths that cannot be, pieces of other
//! files, other names. Opening, verifying and reading end after a bounded number of operations, ask for no more
//! bytes than a file has, and give nothing that was not appended; and the log goes on.
//!
//! `SANDERLING_FUZZ_CASES` says how many cases; each is made from its number. What bytes changed at random do is
//! in `verify_tests.rs`.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use event::{Batch, DatasetName};
use tokio::runtime::Runtime;

use super::disk::Mode;
use super::faults::TestDisk;
use super::model::{ModelDisk, Stop};
use super::record::{self, Kind, PREFIX_BYTES, SEGMENT_HEADER};
use super::verify::verify_on;
use super::*;
use crate::Seek;
use crate::laws::received;

const CASES_DEFAULT: u64 = 300;
const BATCHES: u64 = 24;
/// What all that is done with one log may take; some hundreds are usual.
const OPERATIONS_MAX: u64 = 20_000;
const ROOT: &str = "/log";

fn cases() -> u64 {
    let text = std::env::var("SANDERLING_FUZZ_CASES").ok();
    text.map_or(CASES_DEFAULT, |text| text.parse().unwrap())
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.bits() % end.max(1) as u64) as usize
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// A number that is near an edge of something.
    fn number(&mut self) -> u64 {
        let near = self.pick(&[
            0,
            1,
            5,
            12,
            BATCHES,
            1 << 31,
            1 << 32,
            1 << 62,
            1 << 63,
            u64::MAX - 1,
        ]);
        near.wrapping_add(self.pick(&[0, 1, u64::MAX]))
    }
}

fn dataset(name: &str) -> DatasetName {
    name.parse().unwrap()
}

fn one(name: &str, sequence: u64) -> Batch {
    received(&dataset(name), 1, sequence, sequence as i64)
}

fn options(disk: &ModelDisk) -> LogOptions {
    LogOptions {
        segment_bytes: 900,
        partitions: 1,
        writers: 1,
        disk: TestDisk {
            model: Some(disk.clone()),
            ..TestDisk::default()
        },
        ..LogOptions::default()
    }
}

/// Two datasets with some segments each.
fn good(runtime: &Runtime) -> ModelDisk {
    let disk = ModelDisk::new(1);
    let (queue, _) = LogQueue::open(ROOT, options(&disk)).unwrap();
    for sequence in 0..BATCHES {
        for name in ["a", "b"] {
            runtime.block_on(queue.append(one(name, sequence))).unwrap();
        }
    }
    queue.close();
    disk
}

fn files(disk: &ModelDisk) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in ["a", "b", "a/0", "b/0"].map(|folder| Path::new(ROOT).join(folder)) {
        let entries = disk.list(&folder).unwrap().into_iter();
        files.extend(
            entries
                .filter(|entry| !entry.is_folder)
                .map(|entry| folder.join(entry.name)),
        );
    }
    files
}

fn bytes_of(disk: &ModelDisk, path: &Path) -> Vec<u8> {
    let file = disk.open(path, Mode::Read).unwrap();
    let mut bytes = vec![0; file.length().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    bytes
}

fn put(disk: &ModelDisk, path: &Path, bytes: &[u8]) {
    disk.open(path, Mode::Create).unwrap().write_at(bytes, 0).unwrap();
}

/// Where the records of a segment are.
fn records(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut at = SEGMENT_HEADER.len();
    while let Some(length) = bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk::<PREFIX_BYTES>())
        .and_then(|prefix| record::length(*prefix))
        .filter(|length| at + length <= bytes.len())
    {
        found.push(at..at + length);
        at += length;
    }
    found
}

/// A record that is whole and lies: another kind, offset or end, or a body with something wrong.
fn lie(bytes: &[u8], chance: &mut Chance) -> Vec<u8> {
    let Ok(stored) = record::parse(bytes) else {
        return bytes.to_vec();
    };
    let (mut kind, mut offset, mut durable) = (stored.kind, stored.offset, stored.durable);
    let mut body = stored.body.to_vec();
    match chance.below(5) {
        0 => kind = chance.pick(&[Kind::Batch, Kind::Snapshot, Kind::Head]),
        1 => offset = chance.number(),
        2 => durable = chance.number(),
        3 => body.truncate(chance.below(body.len())),
        _ => {
            // A number somewhere, as a header or a snapshot has them.
            let at = chance.below(body.len());
            let end = (at + chance.pick(&[1, 4, 8])).min(body.len());
            body[at..end].copy_from_slice(&chance.number().to_le_bytes()[..end - at]);
        }
    }
    let mut out = Vec::new();
    record::encode(&mut out, kind, offset, durable, &[&body]);
    out
}

/// Changes a file, and says whether a record may now say what was never appended.
fn tamper(disk: &ModelDisk, chance: &mut Chance) -> bool {
    let files = files(disk);
    let path = &files[chance.below(files.len())];
    let other = &files[chance.below(files.len())];
    let mut bytes = bytes_of(disk, path);
    let records_here = records(&bytes);
    let here = records_here.get(chance.below(records_here.len())).cloned();
    let mut is_lie = false;
    match (chance.below(8), here) {
        (0 | 1, Some(here)) => {
            let lying = lie(&bytes[here.clone()], chance);
            is_lie = true;
            bytes.splice(here, lying);
        }
        (2, Some(here)) => {
            let left = bytes.len() - here.start - PREFIX_BYTES;
            let length = chance.pick(&[
                0,
                1,
                16,
                17,
                left,
                left + 1,
                16 << 20,
                (16 << 20) + 4_096 + 17,
                usize::MAX,
            ]);
            bytes[here.start..here.start + 4].copy_from_slice(&(length as u32).to_le_bytes());
        }
        (3 | 4, Some(here)) => {
            let from = bytes_of(disk, other);
            let theirs = records(&from);
            let piece = theirs
                .get(chance.below(theirs.len()))
                .cloned()
                .unwrap_or(0..from.len());
            let at = chance.pick(&[here.start, here.end, here.start + 3]);
            bytes.splice(at..at, from[piece].iter().copied());
        }
        (5, Some(here)) => bytes.truncate(chance.pick(&[here.start, here.end, here.end - 1])),
        (6, _) => {
            let name = format!("{:020}.log", chance.number());
            put(disk, &path.with_file_name(name), &bytes);
            return false;
        }
        (7, _) => {
            put(disk, other, &bytes);
            return false;
        }
        (_, _) => {
            // One of the small files: its numbers.
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let number = chance.number().to_string();
            bytes = text.replace(chance.pick(&["0", "1", "4"]), &number).into_bytes();
        }
    }
    put(disk, path, &bytes);
    is_lie
}

async fn case(number: u64, good: &ModelDisk) -> u64 {
    let mut chance = Chance(number);
    let disk = good.stopped(Stop::Kill);
    let mut is_lie = false;
    for _ in 0..1 + chance.below(3) {
        is_lie |= tamper(&disk, &mut chance);
    }
    disk.stop_after(OPERATIONS_MAX);
    let _ = verify_on(Path::new(ROOT), Arc::new(disk.clone()));
    let Ok((queue, _)) = LogQueue::open(ROOT, options(&disk)) else {
        assert!(!disk.is_off(), "opening takes too many operations");
        return 0;
    };
    let written: HashSet<_> = (0..BATCHES).map(|sequence| one("a", sequence).payload).collect();
    let mut read = 0;
    for name in ["a", "b"].map(dataset) {
        for (partition, (start, end)) in queue.starts(&name).into_iter().zip(queue.ends(&name)).enumerate() {
            let (mut at, partition) = (start, Partition(partition as u32));
            // A name may claim any offset: what is between is damage, and told in one piece.
            for _ in 0..4 * BATCHES {
                if at >= end {
                    break;
                }
                match queue.read(&name, partition, at, 1).await {
                    Ok(records) => {
                        assert_eq!(records[0].offset, at);
                        let is_known = written.contains(&records[0].batch.payload);
                        assert!(is_lie || is_known, "nothing but what was appended");
                        (at, read) = (Offset(at.0 + 1), read + 1);
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                        let next = error.next().expect("it is known where to go on");
                        assert!(next > at, "{error}");
                        at = next;
                    }
                }
            }
        }
    }
    assert!(!disk.is_off(), "reading takes too many operations");
    // A new emitter: what the lies say of the others may well forbid their next.
    let next = received(&dataset("a"), 2, 0, 0);
    let _ = queue.append(next).await;
    drop(queue);
    LogQueue::open(ROOT, options(&disk)).expect("what opened once opens again");
    read
}

#[test]
fn files_that_lie_are_read_within_bounds() {
    let runtime = Runtime::new().unwrap();
    let good = good(&runtime);
    let (mut failed, mut read) = (Vec::new(), 0);
    for number in 0..cases() {
        match catch_unwind(AssertUnwindSafe(|| runtime.block_on(case(number, &good)))) {
            Ok(records) => read += records,
            Err(_) => failed.push(number),
        }
        good.stop_after(u64::MAX);
    }
    assert_eq!(failed, Vec::<u64>::new(), "the cases that failed");
    assert!(read > cases() * BATCHES / 2, "most can still be read read={read}");
}

/// A payload can hold a whole record: damage of another byte of it does not bring that one to light.
#[test]
fn a_record_within_a_damaged_payload_is_not_read() {
    let runtime = Runtime::new().unwrap();
    let disk = ModelDisk::new(1);
    let mut within = Vec::new();
    let (head, forged) = (one("a", 1).header.encode(), one("a", 99));
    record::encode(&mut within, Kind::Batch, 1, 1, &[&head, &forged.payload]);
    let holds = Batch {
        payload: [&within[..], b"the end"].concat().into(),
        ..one("a", 0)
    };
    let options = LogOptions {
        segment_bytes: 64 << 20,
        ..options(&disk)
    };
    let (queue, _) = LogQueue::open(ROOT, options.clone()).unwrap();
    for batch in [holds, one("a", 1), one("a", 2)] {
        runtime.block_on(queue.append(batch)).unwrap();
    }
    queue.close();
    drop(queue);
    let path = Path::new(ROOT).join("a/0/00000000000000000000.log");
    let mut bytes = bytes_of(&disk, &path);
    let damaged = records(&bytes)[1].end - 1;
    bytes[damaged] ^= 1;
    put(&disk, &path, &bytes);
    let (queue, _) = LogQueue::open(ROOT, options).unwrap();
    let read = |at| runtime.block_on(queue.read(&dataset("a"), Partition(0), Offset(at), 1));
    assert_eq!(read(0).unwrap_err().next(), Some(Offset(1)));
    assert_eq!(read(1).unwrap()[0].batch, one("a", 1));
}

/// A payload can be made of what looks like the starts of records, each as long as all that follows it. Checking
/// them all would take hours for the largest batch; a crash in the middle of its write must not.
#[test]
fn a_torn_payload_full_of_records_that_are_none_is_cut_at_once() {
    let runtime = Runtime::new().unwrap();
    let disk = ModelDisk::new(1);
    let options = LogOptions {
        segment_bytes: 64 << 20,
        ..options(&disk)
    };
    let crafted = |bytes: usize| {
        let mut payload = Vec::new();
        while payload.len() < bytes {
            let length = (bytes - payload.len()) as u32;
            payload.extend_from_slice(&length.to_le_bytes());
            payload.extend_from_slice(&[9; 4]);
            payload.push(Kind::Batch as u8);
            payload.extend_from_slice(&5u64.to_le_bytes());
            payload.extend_from_slice(&5u64.to_le_bytes());
        }
        Batch {
            payload: payload.into(),
            ..one("a", 4)
        }
    };
    let (queue, _) = LogQueue::open(ROOT, options.clone()).unwrap();
    for sequence in 0..4 {
        runtime.block_on(queue.append(one("a", sequence))).unwrap();
    }
    runtime.block_on(queue.append(crafted(1 << 20))).unwrap();
    runtime.block_on(queue.append(one("a", 5))).unwrap();
    queue.close();
    drop(queue);
    let path = Path::new(ROOT).join("a/0/00000000000000000000.log");
    let good = bytes_of(&disk, &path);
    let record = records(&good)[5].clone();
    // Torn: without its end. Damaged: the record behind it proves that it was durable, and can be read.
    for (torn, end, next) in [(true, 4, None), (false, 6, Some(5))] {
        let mut bytes = good.clone();
        match torn {
            true => bytes.truncate(record.end - 100),
            false => bytes[record.start + 60] ^= 1,
        }
        put(&disk, &path, &bytes);
        let (queue, recovery) = LogQueue::open(ROOT, options.clone()).unwrap();
        assert_eq!(
            (recovery.truncated.len(), recovery.damaged.len()),
            (usize::from(torn), usize::from(!torn))
        );
        assert_eq!(queue.ends(&dataset("a")), [Offset(end)]);
        if let Some(next) = next {
            let read = |at| runtime.block_on(queue.read(&dataset("a"), Partition(0), Offset(at), 1));
            assert_eq!(read(4).unwrap_err().next(), Some(Offset(next)));
            assert_eq!(read(next).unwrap()[0].batch, one("a", next));
        }
    }
}
