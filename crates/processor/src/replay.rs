//! Rejected events sent through their dataset again, each once.
//!
//! A run has a plan: which rows of `<dataset>$failed` it sends, in which batches. The plan is kept before anything is sent,
//! as one batch of the dataset [`REPLAYS`], whose table is the record of all replays; the batches then have the run's id
//! for their emitter, and count from 0. So:
//!
//! * a row that is in a plan is in no other, whatever the filters are;
//! * after a crash before the plan is kept nothing has happened; after it, the next replay of the dataset sends what the
//!   plan names, before it plans anew: batches that were sent meet their twins in the queue, which drops them, as it
//!   drops any batch that is sent again (it remembers the last 100,000 emitters of a partition: with as many others
//!   between crash and replay a batch could be taken twice);
//! * only rows that are in files are planned, so no crash takes them back. Rows that were deleted between plan and
//!   sending are told of as missing.
//!
//! An event that is rejected again is a new row, of the run as its emitter, and may be replayed in its turn. The old row
//! stays; `run` in [`REPLAYS`] is `_emitter` of what became of it.
//!
//! Not here: events whose raw bytes were cut or are no line of text; they are told of as unfit.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use event::{
    Batch, BatchHeader, BatchKey, DatasetName, EmitterId, Encoding, Epoch, Reject, Sequence, failed_schema,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use warehouse::Table;

use crate::limits::{REPLAY_BATCH_BYTES_MAX, REPLAY_BYTES_MAX, REPLAY_EVENTS_MAX, STREAM_BATCH_ROWS_MAX};
use crate::shown::json_rows;
use crate::{Error, ErrorKind, Processor, Result};

/// The dataset that records replays: a row per event that was planned, and one per run that was sent.
pub const REPLAYS: &str = "sanderling_replays";

/// Which rejects are replayed: those for which all that is set holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailedFilter {
    /// The stage that they failed in: `decode`, `validate` or `udf`.
    pub stage: Option<String>,
    /// The step of the chain that they failed in.
    pub step: Option<String>,
    /// Received at this time or later.
    pub received_from: Option<Timestamp>,
    /// Received before this time.
    pub received_until: Option<Timestamp>,
}

/// What a replay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Events that were sent, for the first time as far as this process knows.
    pub sent: u64,
    /// Events of earlier runs that a crash or an error had stopped, sent now; some may have been sent before, which the
    /// queue has noticed.
    pub resumed: u64,
    /// Events whose rows were deleted after they had been planned.
    pub missing: u64,
    /// Events that fit the filter and cannot be sent, as their raw bytes were cut or are no line of text.
    pub unfit: u64,
    /// Whether there are more than one run takes: call again.
    pub more: bool,
}

/// What tells one reject from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct RejectKey {
    /// µs since 1970.
    received: i64,
    emitter: Uuid,
    sequence: i64,
    line: i64,
}

/// A row of [`REPLAYS`].
#[derive(Serialize, Deserialize)]
struct Note {
    dataset: String,
    run: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch: Option<u64>,
    #[serde(flatten)]
    reject: Option<RejectKey>,
}

/// Which rows of a table.
#[derive(Clone, Copy, PartialEq)]
enum Rows {
    All,
    InFiles,
}

/// Which rejects go into which batch of a run.
type Plan = BTreeMap<RejectKey, u64>;

impl Processor {
    /// Sends rejected events through their dataset again, each once, however often this is called; at most
    /// [`limits::REPLAY_EVENTS_MAX`](crate::limits::REPLAY_EVENTS_MAX) at a time, the oldest first. What earlier calls left
    /// unfinished comes first, whatever the filter. Returns when the queue has them.
    ///
    /// # Errors
    /// `NotFound` when the queue does not have the dataset; `Retry` when queue or tables cannot be reached, or the
    /// processor stops: call again, nothing is lost or sent twice.
    pub async fn replay_failed(&self, dataset: &DatasetName, filter: &FailedFilter) -> Result<Replayed> {
        let _one_at_a_time = self.replaying().lock().await;
        self.settled(dataset).await?;
        let failed = self
            .warehouse()
            .create(&dataset.failed(), failed_schema())
            .await?;
        failed.flush().await?;
        let (known, unfinished) = self.recorded(dataset).await?;
        let mut replayed = Replayed::default();
        for (run, plan) in unfinished {
            let sent = self.send(dataset, &failed, run, &plan).await?;
            replayed.resumed += sent;
            replayed.missing += plan.len() as u64 - sent;
        }
        let plan = select(&failed, filter, &known, &mut replayed).await?;
        if !plan.is_empty() {
            let run = Uuid::now_v7();
            let notes = plan.iter().map(|(reject, batch)| Note {
                dataset: dataset.to_string(),
                run,
                batch: Some(*batch),
                reject: Some(*reject),
            });
            self.note(run, 0, notes.collect()).await?;
            replayed.sent = self.send(dataset, &failed, run, &plan).await?;
            replayed.missing += plan.len() as u64 - replayed.sent;
        }
        Ok(replayed)
    }

    /// The rejects that are in a plan, and the plans that were not noted as sent.
    async fn recorded(&self, dataset: &DatasetName) -> Result<(BTreeSet<RejectKey>, BTreeMap<Uuid, Plan>)> {
        let (mut known, mut plans) = (BTreeSet::new(), BTreeMap::<Uuid, Plan>::new());
        let replays = replays();
        if !self.has(&replays) {
            return Ok((known, plans));
        }
        self.settled(&replays).await?;
        let mut sent = BTreeSet::new();
        if let Some(table) = self.warehouse().table(REPLAYS) {
            each(
                &table,
                Rows::All,
                |_| true,
                |rows| {
                    for note in json_rows(rows) {
                        // Whoever wrote something else into the dataset has planned nothing.
                        let Ok(note) = serde_json::from_value::<Note>(note.into()) else {
                            continue;
                        };
                        if note.dataset != dataset.as_str() {
                            continue;
                        }
                        match (note.reject, note.batch) {
                            // Nor has who wrote of more than a run takes.
                            (Some(_), Some(batch)) if batch >= REPLAY_EVENTS_MAX as u64 => {}
                            (Some(reject), Some(batch)) => {
                                known.insert(reject);
                                plans.entry(note.run).or_default().insert(reject, batch);
                            }
                            _ => drop(sent.insert(note.run)),
                        }
                    }
                },
            )
            .await?;
        }
        plans.retain(|run, _| !sent.contains(run));
        Ok((known, plans))
    }

    /// Sends what a plan names, and notes that it is sent. Returns how many events there were.
    async fn send(&self, dataset: &DatasetName, failed: &Table, run: Uuid, plan: &Plan) -> Result<u64> {
        let mut raw: BTreeMap<(u64, RejectKey), Vec<u8>> = BTreeMap::new();
        each(
            failed,
            Rows::InFiles,
            |_| true,
            |rows| {
                let column = rows.column(3).as_binary_view();
                for (row, key) in keys(rows).into_iter().enumerate() {
                    if let Some((key, batch)) = key.and_then(|key| Some((key, *plan.get(&key)?))) {
                        raw.insert((batch, key), column.value(row).to_vec());
                    }
                }
            },
        )
        .await?;
        let batches = plan.values().max().map_or(0, |last| last + 1);
        for batch in 0..batches {
            let of_batch = (batch, RejectKey::FIRST)..(batch + 1, RejectKey::FIRST);
            let lines: Vec<&[u8]> = raw.range(of_batch).map(|(_, raw)| &raw[..]).collect();
            // A batch whose rows are all gone is sent as an empty line, or those behind it would be a gap.
            let payload = if lines.is_empty() {
                b"\n".to_vec()
            } else {
                lines.join(&b'\n')
            };
            self.append(dataset, run, batch, (lines.len().max(1), payload))
                .await?;
        }
        let done = Note {
            dataset: dataset.to_string(),
            run,
            batch: None,
            reject: None,
        };
        self.note(run, 1, vec![done]).await?;
        Ok(raw.len() as u64)
    }

    /// Keeps rows of [`REPLAYS`] as one batch.
    async fn note(&self, run: Uuid, sequence: u64, notes: Vec<Note>) -> Result<()> {
        let lines: Vec<String> = notes
            .iter()
            .map(|note| serde_json::to_string(note).expect("a note has no keys but texts"))
            .collect();
        let payload = lines.join("\n").into_bytes();
        self.append(&replays(), run, sequence, (lines.len(), payload))
            .await
    }

    async fn append(
        &self,
        dataset: &DatasetName,
        run: Uuid,
        sequence: u64,
        (events, payload): (usize, Vec<u8>),
    ) -> Result<()> {
        let now = self.now();
        let batch = Batch {
            dataset: dataset.clone(),
            header: BatchHeader {
                key: BatchKey {
                    emitter: EmitterId(run),
                    epoch: Epoch(0),
                    sequence: Sequence(sequence),
                },
                events: events as u32,
                encoding: Encoding::Ndjson,
                generated_at: now,
                received_at: now,
            },
            payload: payload.into(),
        };
        match self.queue().append(batch).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let text =
                    format_args!("a replay was stopped, call again: {error} dataset={dataset} run={run}");
                Err(Error::new(ErrorKind::Retry, text))
            }
        }
    }
}

impl RejectKey {
    const FIRST: Self = Self {
        received: i64::MIN,
        emitter: Uuid::nil(),
        sequence: i64::MIN,
        line: i64::MIN,
    };
}

fn replays() -> DatasetName {
    REPLAYS.parse().expect("it is a name")
}

/// The oldest rejects that fit the filter and are not known, as far as a run takes them.
async fn select(
    failed: &Arc<Table>,
    filter: &FailedFilter,
    known: &BTreeSet<RejectKey>,
    replayed: &mut Replayed,
) -> Result<Plan> {
    let us = |time: Option<Timestamp>| time.map(Timestamp::as_microsecond);
    let (from, until) = (
        us(filter.received_from).unwrap_or(i64::MIN),
        us(filter.received_until).unwrap_or(i64::MAX),
    );
    let mut found: BTreeMap<RejectKey, usize> = BTreeMap::new();
    let may_have = |(least, most): (i64, i64)| most >= from && least < until;
    each(failed, Rows::InFiles, may_have, |rows| {
        let text = |column: usize, row: usize| {
            let column = rows.column(column).as_string_view();
            column.is_valid(row).then(|| column.value(row))
        };
        let fits = |wanted: &Option<String>, is: Option<&str>| wanted.is_none() || wanted.as_deref() == is;
        for (row, key) in keys(rows).into_iter().enumerate() {
            let Some(key) = key.filter(|key| (from..until).contains(&key.received)) else {
                continue;
            };
            if !fits(&filter.stage, text(1, row)) || !fits(&filter.step, text(7, row)) || known.contains(&key)
            {
                continue;
            }
            let raw = rows.column(3).as_binary_view().value(row);
            if Reject::is_cut(text(2, row).unwrap_or_default()) || raw.is_empty() || raw.contains(&b'\n') {
                replayed.unfit += 1;
                continue;
            }
            found.insert(key, raw.len());
            if found.len() > REPLAY_EVENTS_MAX {
                found.pop_last();
                replayed.more = true;
            }
        }
    })
    .await?;
    let (mut plan, mut bytes, mut batch, mut batch_bytes) = (Plan::new(), 0, 0, 0);
    for (key, length) in found {
        bytes += length;
        if bytes > REPLAY_BYTES_MAX {
            replayed.more = true;
            break;
        }
        if batch_bytes > 0 && batch_bytes + length > REPLAY_BATCH_BYTES_MAX {
            (batch, batch_bytes) = (batch + 1, 0);
        }
        batch_bytes += length + 1;
        plan.insert(key, batch);
    }
    Ok(plan)
}

/// The keys of rows of a table of rejects.
fn keys(rows: &RecordBatch) -> Vec<Option<RejectKey>> {
    let received = rows.column(0).as_primitive::<TimestampMicrosecondType>();
    let emitter = rows.column(4).as_string_view();
    let (sequence, line) = (
        rows.column(5).as_primitive::<Int64Type>(),
        rows.column(6).as_primitive::<Int64Type>(),
    );
    let mut ids: HashMap<&str, Option<Uuid>> = HashMap::new();
    (0..rows.num_rows())
        .map(|row| {
            let text = emitter.value(row);
            Some(RejectKey {
                received: received.value(row),
                emitter: (*ids.entry(text).or_insert_with(|| text.parse().ok()))?,
                sequence: sequence.value(row),
                line: line.value(row),
            })
        })
        .collect()
}

/// Goes through the rows of a table: those in files whose times of receipt may do, and, of all rows, the hot ones.
async fn each(
    table: &Table,
    rows: Rows,
    may_do: impl Fn((i64, i64)) -> bool,
    mut see: impl FnMut(&RecordBatch),
) -> Result<()> {
    let version = table.version();
    for file in version.files.iter().filter(|file| may_do(file.received_time)) {
        for group in 0.. {
            let Some(rows) = table.read_row_group(file, group, STREAM_BATCH_ROWS_MAX).await? else {
                break;
            };
            rows.iter().for_each(&mut see);
        }
    }
    if rows == Rows::All {
        version.hot.iter().for_each(see);
    }
    Ok(())
}
