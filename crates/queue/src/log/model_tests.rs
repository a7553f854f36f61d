//! The log on a modelled disk: after a stop at any point, every acked batch is there once and in order, and
//! nothing that was not appended.

use std::collections::BTreeMap;
use std::time::Duration;

use event::{Batch, DatasetName, EmitterId};
use futures::future::join_all;
use jiff::Timestamp;
use proptest::prelude::*;
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::faults::TestDisk;
use super::model::{ModelDisk, Stop};
use super::*;
use crate::laws::batch;
use crate::{ConsumerName, Retain, Retention, Seek};

const PARTITIONS: u32 = 2;
const EMITTERS: u128 = 3;

#[derive(Clone, Debug)]
enum Step {
    /// Each emitter appends so many batches, without waiting between.
    Append(u64),
    /// The next syncs fail.
    FailSyncs(u32),
    /// The consumer has taken this share of what there is, in 16ths.
    Advance(u64),
    /// What the consumer has taken is deleted.
    Retain,
    /// The machine stops after so many more operations.
    StopAfter(u64, Stop),
    Stop(Stop),
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let stop = || prop::sample::select(vec![Stop::Kill, Stop::Power]);
    let step = prop_oneof![
        8 => (1u64..6).prop_map(Step::Append),
        1 => (1u32..3).prop_map(Step::FailSyncs),
        2 => (0u64..=16).prop_map(Step::Advance),
        2 => Just(Step::Retain),
        3 => (0u64..60, stop()).prop_map(|(operations, stop)| Step::StopAfter(operations, stop)),
        2 => stop().prop_map(Step::Stop),
        1 => Just(Step::Close),
    ];
    prop::collection::vec(step, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn what_was_acked_is_there_whatever_the_disk_forgets(
        steps in steps(),
        segment_bytes in prop::sample::select(vec![1u64, 1_500, 1 << 20]),
        chance: u64,
    ) {
        Runtime::new().unwrap().block_on(run(steps, segment_bytes, chance));
    }
}

fn dataset() -> DatasetName {
    "d".parse().unwrap()
}

fn sized(emitter: u128, sequence: u64) -> Batch {
    let bytes = (emitter as usize * 997 + sequence as usize * 331) % 1_200;
    let one = batch(&dataset(), emitter, 0, sequence);
    let payload = [&one.payload[..], &vec![b'x'; bytes]].concat().into();
    Batch { payload, ..one }
}

/// What was promised, and what may be.
#[derive(Default)]
struct Promises {
    /// Each emitter's batches that were acked, and those that were ever appended.
    acked: BTreeMap<u128, u64>,
    sent: BTreeMap<u128, u64>,
    /// Where acked batches stand.
    places: BTreeMap<(u32, u64), (u128, u64)>,
    /// The consumer's progress by partition, as it was said to be.
    taken: Vec<Offset>,
    /// Whether the consumer is known to be registered.
    registered: bool,
}

struct Machine {
    options: LogOptions,
    queue: LogQueue,
    promises: Promises,
}

async fn run(steps: Vec<Step>, segment_bytes: u64, chance: u64) {
    let model = ModelDisk::new(chance);
    let options = LogOptions {
        segment_bytes,
        partitions: PARTITIONS,
        writers: 1,
        disk: TestDisk {
            model: Some(model),
            ..TestDisk::default()
        },
        ..LogOptions::default()
    };
    let queue = LogQueue::open("/data/queue", options.clone()).unwrap().0;
    let mut machine = Machine {
        options,
        queue,
        promises: Promises::default(),
    };
    let mut planned = Stop::Power;
    for step in steps
        .into_iter()
        .chain([Step::Stop(Stop::Kill), Step::Stop(Stop::Power)])
    {
        match step {
            Step::Append(count) => machine.append(count).await,
            Step::FailSyncs(count) => machine.model().fail_syncs(count),
            Step::Advance(share) => machine.advance(share).await,
            Step::Retain => {
                let all = Retention {
                    age_max: Some(Duration::ZERO),
                    ..Retention::default()
                };
                // Without a consumer all would go, and nothing would be left to check.
                if machine.promises.registered {
                    let _ = machine.queue.retain(&dataset(), &all, Timestamp::MAX).await;
                }
            }
            Step::StopAfter(operations, stop) => {
                machine.model().stop_after(operations);
                planned = stop;
            }
            Step::Stop(stop) => machine.restart(Some(stop)).await,
            Step::Close => {
                machine.queue.close();
                machine.restart(None).await;
            }
        }
        if machine.model().is_off() {
            machine.restart(Some(planned)).await;
        }
    }
}

impl Machine {
    fn model(&self) -> &ModelDisk {
        self.options.disk.model.as_ref().unwrap()
    }

    async fn append(&mut self, count: u64) {
        let mut answers = Vec::new();
        for emitter in 0..EMITTERS {
            let from = self.promises.acked.get(&emitter).copied().unwrap_or(0);
            for sequence in from..from + count {
                let sent = self.promises.sent.entry(emitter).or_default();
                *sent = (*sent).max(sequence + 1);
                let answer = self.queue.append(sized(emitter, sequence));
                answers.push(async move { (emitter, sequence, answer.await) });
            }
        }
        for (emitter, sequence, answer) in join_all(answers).await {
            let Ok(receipt) = answer else { continue };
            let acked = self.promises.acked.entry(emitter).or_default();
            assert_eq!(*acked, sequence, "no ack before that of the batch before");
            *acked = sequence + 1;
            if let Some(offset) = receipt.offset {
                let place = (partition_of(emitter).0, offset.0);
                self.promises.places.insert(place, (emitter, sequence));
            }
        }
    }

    async fn advance(&mut self, share: u64) {
        let ends = self.queue.ends(&dataset());
        let progress: Vec<_> = ends.iter().map(|end| Offset(end.0 * share / 16)).collect();
        let consumer: ConsumerName = "consumer".parse().unwrap();
        let advanced = self.queue.advance(&dataset(), &consumer, &progress).await;
        self.promises.registered |= advanced.is_ok();
        // What was said counts even when the answer was lost: it may have been written before the machine stopped.
        self.promises.taken.resize(PARTITIONS as usize, Offset(0));
        for (before, now) in self.promises.taken.iter_mut().zip(&progress) {
            *before = (*before).max(*now);
        }
    }

    /// The machine stops and starts again; or the queue was closed in order.
    async fn restart(&mut self, stop: Option<Stop>) {
        if let Some(stop) = stop {
            let next = self.model().stopped(stop);
            self.options.disk.model = Some(next);
        } else {
            self.model().stop_after(u64::MAX);
            self.model().fail_syncs(0);
        }
        let (queue, recovery) = LogQueue::open("/data/queue", self.options.clone()).unwrap();
        self.queue = queue;
        assert!(
            recovery.damaged.is_empty() && recovery.repaired.is_empty(),
            "{recovery:?}"
        );
        self.check().await;
    }

    async fn check(&mut self) {
        let ends = self.queue.ends(&dataset());
        let starts = self.queue.starts(&dataset());
        assert!(
            !ends.is_empty() || self.promises.acked.is_empty(),
            "the dataset is there"
        );
        let mut next: BTreeMap<u128, Option<u64>> = BTreeMap::new();
        for (partition, (start, end)) in starts.iter().zip(&ends).enumerate() {
            let taken = self.promises.taken.get(partition).copied().unwrap_or_default();
            assert!(*start <= taken, "deleted before it was taken");
            let partition = Partition(partition as u32);
            let mut at = *start;
            while at < *end {
                for record in self.queue.read(&dataset(), partition, at, 1 << 20).await.unwrap() {
                    assert_eq!(record.offset, at);
                    let key = record.batch.header.key;
                    let (emitter, sequence) = (key.emitter.0.as_u128(), key.sequence.0);
                    assert_eq!(record.batch, sized(emitter, sequence), "as it was appended");
                    assert!(sequence < self.promises.sent[&emitter], "it was appended");
                    if let Some(acked) = self.promises.places.get(&(partition.0, at.0)) {
                        assert_eq!(*acked, (emitter, sequence), "where the ack said");
                    }
                    let next = next.entry(emitter).or_default();
                    assert!(next.is_none_or(|next| next == sequence), "once and in order");
                    *next = Some(sequence + 1);
                    at.0 += 1;
                }
            }
            let last = self
                .promises
                .places
                .range((partition.0, 0)..(partition.0 + 1, 0))
                .next_back();
            assert!(
                last.is_none_or(|((_, offset), _)| *offset < end.0),
                "what was acked is there"
            );
        }
        for (emitter, acked) in self.promises.acked.clone() {
            if let Some(next) = next.get(&emitter).copied().flatten() {
                assert!(next >= acked, "what was acked is there");
            }
            let again = self.queue.append(sized(emitter, acked - 1)).await.unwrap();
            assert!(again.duplicate, "an acked batch is a duplicate");
        }
        // What was kept without an ack stays: it can be read.
        for (emitter, next) in next {
            if let Some(next) = next {
                let acked = self.promises.acked.entry(emitter).or_default();
                *acked = (*acked).max(next);
            }
        }
    }
}

fn partition_of(emitter: u128) -> Partition {
    Partition::of(EmitterId(Uuid::from_u128(emitter)), PARTITIONS)
}
