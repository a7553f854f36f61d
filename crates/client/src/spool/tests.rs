//! The spool with its ledger before a naive queue, through crashes.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::ledger::tests::{Answer, NaiveQueue, batch, id_of};
use crate::ledger::{Ledger, Numbered};
use event::wire::PutAck;

fn options(folder: &Path) -> SpoolOptions {
    SpoolOptions::new(folder)
}

fn open(options: &SpoolOptions) -> Spool {
    Spool::open(options, "orders").unwrap()
}

fn push(spool: &mut Spool, id: u32) -> Result<(), Refusal> {
    spool.append(&mut VecDeque::from([batch(id)]))
}

fn ids(spool: &mut Spool) -> Vec<u32> {
    std::iter::from_fn(|| spool.next().unwrap())
        .map(|read| id_of(&read.batch))
        .collect()
}

fn last_segment(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder.join("orders")).unwrap();
    let segments = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "segment"));
    segments.max().unwrap()
}

/// A client's life: a spool and what is read of it.
struct Life {
    spool: Spool,
    ledger: Ledger,
}

impl Life {
    fn begin(options: &SpoolOptions) -> Self {
        Self {
            spool: open(options),
            ledger: Ledger::default(),
        }
    }

    /// Sends all there is on one stream; `None` of `answers_max` takes all answers.
    fn send(&mut self, queue: &mut NaiveQueue, answers_max: usize, refused: &mut BTreeSet<u32>) {
        while let Some(read) = self.spool.next().unwrap() {
            self.ledger.push_numbered(Numbered {
                epoch: read.epoch,
                sequence: read.sequence,
                record: Some(read.record),
                batch: read.batch,
                sends: 0,
            });
        }
        let mut answers = Vec::new();
        while let Some(numbered) = self.ledger.send(16) {
            let answer = queue.append(numbered);
            let ends = !matches!(answer, Answer::Kept);
            answers.push((numbered.sequence, answer));
            if ends {
                break;
            }
        }
        for (sequence, answer) in answers.into_iter().take(answers_max) {
            let done = match answer {
                Answer::Kept => {
                    let ack = PutAck {
                        sequence,
                        events: 1,
                        duplicate: false,
                        spooled: false,
                        durability: Default::default(),
                    };
                    self.ledger.ack(&ack).unwrap()
                }
                Answer::Refused => {
                    let done = self.ledger.refuse().unwrap();
                    refused.insert(id_of(&done.batch));
                    done
                }
                Answer::Conflict => {
                    let oldest = self.ledger.in_conflict().unwrap().record.unwrap();
                    let epoch = self.spool.renumber(oldest).unwrap();
                    self.ledger.renumber(epoch);
                    break;
                }
            };
            self.spool.finish(done.record.unwrap());
            self.spool.settle().unwrap();
        }
        self.ledger.lost_stream();
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    /// Sends, and loses the answers after so many.
    Send(usize),
    /// The process is killed, in the middle of a write that got so many bytes far.
    Kill(usize),
    /// The power fails: the last segment loses bytes off its end.
    PowerFailure(u64),
}

fn steps(power_fails: bool) -> impl Strategy<Value = Vec<Step>> {
    let power = if power_fails { 1 } else { 0 };
    let step = prop_oneof![
        4 => (0usize..6).prop_map(Step::Push),
        4 => (0usize..8).prop_map(Step::Send),
        2 => (0usize..40).prop_map(Step::Kill),
        power => (0u64..200).prop_map(Step::PowerFailure),
    ];
    prop::collection::vec(step, 0..40)
}

/// Runs the steps and then sends to the end: what was pushed, kept, and refused.
fn run(steps: Vec<Step>) -> (u32, Vec<u32>, BTreeSet<u32>) {
    let folder = tempfile::tempdir().unwrap();
    let options = SpoolOptions {
        bytes_max: 800, // segments of 200 bytes, which is 5 records
        ..options(folder.path())
    };
    let (mut life, mut queue) = (Life::begin(&options), NaiveQueue::default());
    let (mut pushed, mut refused) = (0, BTreeSet::new());
    let ending = std::iter::repeat_n(Step::Send(usize::MAX), 60);
    for step in steps.into_iter().chain(ending) {
        match step {
            Step::Push(count) => {
                for _ in 0..count {
                    match push(&mut life.spool, pushed) {
                        Ok(()) => pushed += 1,
                        Err(Refusal::Full) => assert!(life.spool.len() > 0),
                        Err(refusal) => panic!("{refusal:?}"),
                    }
                }
            }
            Step::Send(answers) => life.send(&mut queue, answers, &mut refused),
            Step::Kill(bytes) => {
                drop(life);
                let frame = record::encode(&batch(u32::MAX));
                let torn = &frame[..bytes.min(frame.len() - 1)];
                let mut file = OpenOptions::new()
                    .append(true)
                    .open(last_segment(folder.path()))
                    .unwrap();
                file.write_all(torn).unwrap();
                drop(file);
                fs::write(folder.path().join("orders/marks.new"), "half").unwrap();
                life = Life::begin(&options);
                assert_eq!(life.spool.cut_bytes, torn.len() as u64);
            }
            Step::PowerFailure(bytes) => {
                drop(life);
                let file = OpenOptions::new()
                    .write(true)
                    .open(last_segment(folder.path()))
                    .unwrap();
                let left = file.metadata().unwrap().len().saturating_sub(bytes);
                file.set_len(left).unwrap();
                life = Life::begin(&options);
            }
        }
    }
    assert!(life.ledger.is_empty() && life.spool.len() == 0);
    (pushed, queue.kept, refused)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whenever the process is killed and whatever acks get lost: each batch that was taken is kept once and in
    /// order, or was refused.
    #[test]
    fn a_killed_process_loses_and_doubles_nothing(steps in steps(false)) {
        let (pushed, kept, refused) = run(steps);
        prop_assert_eq!(kept, (0..pushed).filter(|id| id % 7 != 0).collect::<Vec<_>>());
        prop_assert!(refused.iter().all(|id| id % 7 == 0));
    }

    /// A power failure may lose batches of the end; it doubles none, keeps the order, and lends no key twice.
    #[test]
    fn a_power_failure_doubles_nothing(steps in steps(true)) {
        let (pushed, kept, _) = run(steps);
        prop_assert!(kept.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", kept);
        prop_assert!(kept.last().is_none_or(|last| *last < pushed));
    }
}

/// After a power failure took what was sent already, what comes next is not taken for it.
#[test]
fn lost_records_lend_their_keys_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    let (mut life, mut queue, mut refused) = (Life::begin(&options), NaiveQueue::default(), BTreeSet::new());
    for id in [1, 2, 3] {
        push(&mut life.spool, id).unwrap();
    }
    life.send(&mut queue, 0, &mut refused);
    drop(life);
    File::options()
        .write(true)
        .open(last_segment(folder.path()))
        .unwrap()
        .set_len(0)
        .unwrap();
    let mut life = Life::begin(&options);
    for id in [4, 5] {
        push(&mut life.spool, id).unwrap();
    }
    life.send(&mut queue, usize::MAX, &mut refused);
    assert_eq!(queue.kept, [1, 2, 3, 4, 5]);
}

#[test]
fn rows_come_back_as_they_were() {
    use arrow::array::{ArrayRef, DictionaryArray, Int64Array};
    use arrow::datatypes::Int32Type;
    use arrow::record_batch::RecordBatch;
    use std::sync::Arc;

    let words: ArrayRef = Arc::new(
        ["a", "b", "a"]
            .into_iter()
            .collect::<DictionaryArray<Int32Type>>(),
    );
    let n: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let rows = RecordBatch::try_from_iter([("n", n), ("word", words)]).unwrap();
    let rows = crate::rows::encode(&rows).unwrap().remove(0);
    let before = Sealed {
        bytes: rows.bytes(),
        events: rows.count,
        payload: crate::outbox::Payload::Rows(rows),
        ..batch(0)
    };
    let frame = record::encode(&before);
    let mut after = record::decode(frame[record::FRAME_BYTES..].into()).unwrap();
    after.emitted = before.emitted;
    assert_eq!(format!("{after:?}"), format!("{before:?}"));
}

#[test]
fn damage_before_the_end_is_told_and_nothing_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let options = SpoolOptions {
        bytes_max: 800,
        ..options(folder.path())
    };
    let mut spool = open(&options);
    for id in 1..12 {
        push(&mut spool, id).unwrap();
    }
    assert!(spool.segments.len() > 1);
    let oldest = path(&folder.path().join("orders"), 0);
    drop(spool);
    let whole = fs::read(&oldest).unwrap();
    let mut damaged = whole.clone();
    damaged[60] ^= 1;
    fs::write(&oldest, damaged).unwrap();
    let error = Spool::open(&options, "orders").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        error.to_string().contains(&oldest.display().to_string()),
        "{error}"
    );
    fs::write(&oldest, whole).unwrap();
    assert_eq!(ids(&mut open(&options)), (1..12).collect::<Vec<_>>());
}

#[test]
fn one_process_at_a_time_and_room_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let options = SpoolOptions {
        bytes_max: 100,
        sync: SpoolSync::EveryBatch,
        ..options(folder.path())
    };
    let mut spool = open(&options);
    let error = Spool::open(&options, "orders").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let taken = (1..).take_while(|id| push(&mut spool, *id).is_ok()).count() as u32;
    assert!(matches!(push(&mut spool, 0), Err(Refusal::Full)));
    assert_eq!(ids(&mut spool), (1..=taken).collect::<Vec<_>>());
    spool.finish(u64::from(taken) - 1);
    push(&mut spool, 99).unwrap();
    assert_eq!(ids(&mut spool), [99]);
    assert!(spool.bytes() <= 100);
}

/// A disk that does not take a batch has the batch back, and takes it later in its place.
#[test]
fn a_disk_that_fails_is_told_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(&options(folder.path()));
    push(&mut spool, 1).unwrap();
    let file = last_segment(folder.path());
    spool.file = File::open(&file).unwrap();
    let mut batches = VecDeque::from([batch(2), batch(3)]);
    assert!(matches!(spool.append(&mut batches), Err(Refusal::Disk(_))));
    assert_eq!((batches.len(), spool.len()), (2, 1));
    // Some of it had been written, and was read ahead.
    OpenOptions::new()
        .append(true)
        .open(&file)
        .unwrap()
        .write_all(b"half")
        .unwrap();
    assert_eq!(ids(&mut spool), [1]);
    spool.file = OpenOptions::new().write(true).open(&file).unwrap();
    spool.append(&mut batches).unwrap();
    assert_eq!(ids(&mut spool), [2, 3]);
    drop(spool);
    assert_eq!(ids(&mut open(&options(folder.path()))), [1, 2, 3]);
}

#[test]
fn damage_in_the_last_segment_is_told_and_cuts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(&options(folder.path()));
    for id in 1..=10 {
        push(&mut spool, id).unwrap();
    }
    drop(spool);
    let path = last_segment(folder.path());
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 4;
    bytes[at] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = Spool::open(&options(folder.path()), "orders").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}
