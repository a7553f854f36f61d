//! The spool over files that were tampered with: it opens or says why not, hands out what was written under keys
//! of its own, takes more, and opens again.
//!
//! `SANDERLING_FUZZ_CASES` says how many cases; each is made from its number.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::Instant;

use super::*;
use crate::outbox::Payload;
use crate::rows::Rows;

const CASES_DEFAULT: u64 = 200;
const RECORDS: u64 = 24;

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
}

/// Every third is rows, with bytes that stand for messages.
fn sealed(id: u64) -> Sealed {
    let bytes = |part: u64, count: u64| Bytes::from(vec![(id * 7 + part) as u8; (id % 5 * count) as usize]);
    let payload = match id % 3 {
        0 => Payload::Rows(Rows {
            count: 1,
            schema: bytes(1, 9),
            dictionaries: vec![(bytes(2, 3), bytes(3, 4))],
            header: bytes(4, 5),
            body: bytes(5, 40),
        }),
        _ => Payload::Lines(Bytes::from(
            format!("{{\"id\":{id}}}\n").repeat(1 + id as usize % 4),
        )),
    };
    let bytes = match &payload {
        Payload::Lines(lines) => lines.len(),
        Payload::Rows(rows) => rows.bytes(),
    };
    Sealed {
        payload,
        events: 1,
        generated_at: Timestamp::UNIX_EPOCH,
        emitted: Instant::now(),
        notice: None,
        bytes,
    }
}

fn options(folder: &Path) -> SpoolOptions {
    SpoolOptions {
        bytes_max: 8_000,
        ..SpoolOptions::new(folder)
    }
}

/// Files of a spool with several segments and epochs: some records are finished.
fn good() -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let mut next = 0;
    for end in [RECORDS / 2, RECORDS] {
        let mut spool = Spool::open(&options(folder.path()), "orders").unwrap();
        while next < end {
            spool.append(&mut VecDeque::from([sealed(next)])).unwrap();
            // So that there are several.
            if next % 5 == 4 {
                spool.rotate().unwrap();
            }
            next += 1;
        }
        spool.renumber(3).unwrap();
    }
    let files = fs::read_dir(folder.path().join("orders"))
        .unwrap()
        .map(|file| file.unwrap());
    let mut files: Vec<_> = files
        .map(|file| {
            (
                file.file_name().into_string().unwrap(),
                fs::read(file.path()).unwrap(),
            )
        })
        .filter(|(name, _)| name != "lock")
        .collect();
    files.sort();
    assert!(files.len() >= 5, "marks and segments");
    files
}

fn mutate(bytes: &mut Vec<u8>, chance: &mut Chance) {
    let at = chance.below(bytes.len());
    let to = (at + chance.below(60)).min(bytes.len());
    match chance.below(6) {
        _ if bytes.is_empty() => bytes.extend(chance.bits().to_le_bytes()),
        0 => bytes[at] ^= 1 << chance.below(8),
        1 => bytes[at..to].fill(chance.pick(&[0, 0xff])),
        2 => bytes.truncate(at),
        3 => drop(bytes.splice(at..at, chance.bits().to_le_bytes())),
        4 => drop(bytes.drain(at..to)),
        _ => {
            let run = bytes[at..to].to_vec();
            let at = chance.below(bytes.len());
            drop(bytes.splice(at..at, run));
        }
    }
}

/// Changes the body of one record and makes its frame right again: a liar's record.
fn lie(bytes: &mut Vec<u8>, chance: &mut Chance) {
    let mut frames = Vec::new();
    let mut at = 0;
    while let Some(frame) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let Some(length) = record::body_bytes(*frame) else {
            break;
        };
        frames.push(at..at + record::FRAME_BYTES + length);
        at += record::FRAME_BYTES + length;
    }
    let Some(frame) = frames
        .get(chance.below(frames.len()))
        .filter(|frame| frame.end <= bytes.len())
    else {
        return;
    };
    let mut body = bytes[frame.start + record::FRAME_BYTES..frame.end].to_vec();
    mutate(&mut body, chance);
    let mut new = (body.len() as u32).to_le_bytes().to_vec();
    new.extend(crc32fast::hash(&body).to_le_bytes());
    new.extend(body);
    bytes.splice(frame.clone(), new);
}

/// Changes one number of the marks, but for those of the emitter.
fn lie_in_marks(bytes: &mut Vec<u8>, chance: &mut Chance) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let from = text.find("\"marks\"").unwrap_or(0);
    let digits = text.match_indices(|c: char| c.is_ascii_digit()).map(|(at, _)| at);
    let digits: Vec<usize> = digits.filter(|at| *at > from).collect();
    let Some(at) = digits.get(chance.below(digits.len())).copied() else {
        return;
    };
    let number = chance.pick(&[
        "0",
        "1",
        "7",
        "4294967295",
        "4294967296",
        "18446744073709551615",
        "-1",
        "1e3",
    ]);
    *bytes = format!("{}{number}{}", &text[..at], &text[at + 1..]).into_bytes();
}

/// What was done to the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Bytes, which a checksum tells.
    Bytes,
    /// More than a checksum can tell.
    Lie,
}

fn tamper(files: &mut Vec<(String, Vec<u8>)>, chance: &mut Chance) -> Change {
    // The marks are last, and small; what they say counts for all.
    let at = chance.below(files.len() + 2).min(files.len() - 1);
    let is_marks = files[at].0 == "marks";
    match chance.below(8) {
        0 if is_marks => {
            lie_in_marks(&mut files[at].1, chance);
            Change::Lie
        }
        0 | 1 => {
            lie(&mut files[at].1, chance);
            Change::Lie
        }
        2 => {
            let number = chance.pick(&[0, 1, 7, 10, u64::MAX, u64::MAX - 1, u64::MAX - 6]);
            files[at].0 = format!("{number:020}.segment");
            Change::Lie
        }
        3 => {
            drop(files.remove(at));
            Change::Lie
        }
        _ => {
            mutate(&mut files[at].1, chance);
            if is_marks { Change::Lie } else { Change::Bytes }
        }
    }
}

fn text(batch: &Sealed) -> String {
    format!("{:?} {} {:?}", batch.payload, batch.events, batch.generated_at)
}

/// How many records could be read; `None` when the spool did not open.
fn case(number: u64, good: &[(String, Vec<u8>)]) -> Option<usize> {
    let mut chance = Chance(number);
    let mut files = good.to_vec();
    let mut change = Change::Bytes;
    for _ in 0..1 + chance.below(3) {
        if !files.is_empty() && tamper(&mut files, &mut chance) == Change::Lie {
            change = Change::Lie;
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders");
    fs::create_dir(&path).unwrap();
    for (name, bytes) in &files {
        fs::write(path.join(name), bytes).unwrap();
    }
    let mut spool = Spool::open(&options(folder.path()), "orders").ok()?;
    let written: BTreeSet<_> = (0..RECORDS).map(|id| text(&sealed(id))).collect();
    let mut keys = BTreeSet::new();
    while let Ok(Some(read)) = spool.next() {
        assert!(
            keys.insert((read.epoch, read.sequence)),
            "a key is that of one record"
        );
        assert!(
            change == Change::Lie || written.contains(&text(&read.batch)),
            "as it was written"
        );
        spool.finish(read.record);
    }
    spool.settle().unwrap();
    // What cannot be read stays; what comes has its place behind it.
    let _ = spool.append(&mut VecDeque::from([sealed(0)]));
    let _ = spool.close();
    drop(spool);
    Spool::open(&options(folder.path()), "orders").expect("what opened once opens again");
    Some(keys.len())
}

#[test]
fn numbers_that_have_no_next_one_are_damage() {
    let marks = |number: &str| {
        let folder = tempfile::tempdir().unwrap();
        drop(Spool::open(&options(folder.path()), "orders").unwrap());
        let path = folder.path().join("orders/marks");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("[0,0]", number)).unwrap();
        Spool::open(&options(folder.path()), "orders").map(|spool| spool.len())
    };
    assert_eq!(marks("[0,0]"), Ok(0));
    for number in ["[0,4294967295]", "[18446744073709551615,0]"] {
        assert_eq!(marks(number).unwrap_err().kind(), ErrorKind::Corrupt, "{number}");
    }
}

#[test]
fn tampered_files_are_read_or_refused() {
    let good = good();
    let (mut failed, mut opened, mut read) = (Vec::new(), 0, 0);
    for number in 0..cases() {
        match catch_unwind(AssertUnwindSafe(|| case(number, &good))) {
            Err(_) => failed.push(number),
            Ok(None) => {}
            Ok(Some(records)) => {
                opened += 1;
                read += records;
            }
        }
    }
    assert!(opened > 0 && read > 0, "some can be used");
    assert_eq!(failed, Vec::<u64>::new(), "the cases that failed");
}
