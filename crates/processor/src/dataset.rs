//! The job of one dataset: `queue → decode → steps → rows ▸ table (and plain files), rejects ▸ table$failed`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryViewBuilder, Int64Array, RecordBatch, StringViewArray, StringViewBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::TimestampMicrosecondType;
use async_trait::async_trait;
use event::{BatchHeader, Encoding, Reject, failed_schema};
use flow::{Local, Producer, Sink, Source, Tail, Timestamp};
use queue::Record;
use store::Progress;

use crate::chain::{Chains, InChain};
use crate::pace::PacedTable;
use crate::place::PanickedAt;
use crate::{Clock, Visibility};

/// What a dataset's job is made of.
pub(crate) struct DatasetJob {
    pub(crate) source: Arc<dyn Source<Record>>,
    pub(crate) chains: Arc<Chains>,
    pub(crate) rows: Arc<dyn Sink<RecordBatch>>,
    pub(crate) failed: Arc<dyn Sink<RecordBatch>>,
    /// A second sink of the rows.
    pub(crate) plain: Option<Arc<dyn Sink<RecordBatch>>>,
    /// Set for tracers: the clock of the stamp that they get here.
    pub(crate) stamp: Option<Clock>,
    /// Where the batch is noted whose functions panic.
    pub(crate) panicked_at: PanickedAt,
}

/// A batch's part for one of the two tables.
#[derive(Clone)]
enum Piece {
    Rows(RecordBatch),
    Rejects(RecordBatch),
}

impl DatasetJob {
    /// The job's graph, with a node for each step of the newest chain. A batch of another chain goes through that one, in
    /// the same nodes.
    pub(crate) fn graph(self) -> impl Tail<Local> {
        let Self {
            source,
            chains,
            rows,
            failed,
            plain,
            stamp,
            panicked_at,
        } = self;
        let steps = chains.newest().names();
        let records = Producer::<Local, Record>::source(source)
            .flat_map(move |record: Record| panicked_at.watched(record));
        let begin = move |record: Record| match &stamp {
            None => chains.begin_tapped(record),
            Some(clock) => chains.begin_tapped(stamped(record, clock())),
        };
        let pieces = if steps.is_empty() {
            records.flat_map(move |record| pieces(begin(record)))
        } else {
            let mut batches = records.map(begin).name("decode");
            for step in steps {
                batches = batches.map(InChain::step).name(format!("udf {step}"));
            }
            batches.flat_map(pieces).name("validate")
        };
        let good = pieces.filter_map(|piece| match piece {
            Piece::Rows(rows) => Some(rows),
            Piece::Rejects(_) => None,
        });
        let bad = pieces.filter_map(|piece| match piece {
            Piece::Rejects(rows) => Some(rows),
            Piece::Rows(_) => None,
        });
        let good = good.name("rows");
        let tables = good.write(rows).also(bad.name("rejects").write(failed));
        match plain {
            Some(plain) => tables.also(good.write(plain)),
            None => tables,
        }
    }
}

fn pieces(batch: InChain) -> impl Iterator<Item = Piece> {
    let schema_version = batch.schema_version();
    let (rows, rejects, record) = batch.finish();
    let rejects = (!rejects.is_empty())
        .then(|| Piece::Rejects(rejects_as_rows(&rejects, &record.batch.header, schema_version)));
    rows.into_iter().map(Piece::Rows).chain(rejects)
}

/// Tracers with the time at which they got here, as `processed_at`; what is no JSON object stays as it is.
fn stamped(mut record: Record, now: jiff::Timestamp) -> Record {
    if record.batch.header.encoding != Encoding::Ndjson {
        return record;
    }
    let mut stamped = Vec::with_capacity(record.batch.payload.len() * 5 / 4);
    for line in record.batch.payload.split(|byte| *byte == b'\n') {
        match serde_json::from_slice::<serde_json::Map<_, _>>(line) {
            Ok(mut tracer) => {
                tracer.insert("processed_at".to_owned(), now.to_string().into());
                stamped.extend_from_slice(serde_json::Value::from(tracer).to_string().as_bytes());
            }
            Err(_) => stamped.extend_from_slice(line),
        }
        stamped.push(b'\n');
    }
    record.batch.payload = stamped.into();
    record
}

/// Rows of a `<dataset>$failed` table, see [`failed_schema`].
fn rejects_as_rows(rejects: &[Reject], header: &BatchHeader, schema_version: u32) -> RecordBatch {
    let rows = rejects.len();
    let mut raw = BinaryViewBuilder::with_capacity(rows);
    let mut emitter = StringViewBuilder::with_capacity(rows);
    let id = header.key.emitter.0.hyphenated().to_string();
    for reject in rejects {
        raw.append_value(&reject.raw);
        emitter.append_value(&id);
    }
    let received = TimestampMicrosecondArray::from_value(header.received_at.as_microsecond(), rows);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(received.with_timezone("UTC")),
        Arc::new(
            rejects
                .iter()
                .map(|reject| Some(reject.stage))
                .collect::<StringViewArray>(),
        ),
        Arc::new(
            rejects
                .iter()
                .map(|reject| Some(reject.reason.as_str()))
                .collect::<StringViewArray>(),
        ),
        Arc::new(raw.finish()),
        Arc::new(emitter.finish()),
        Arc::new(Int64Array::from_value(header.key.sequence.0 as i64, rows)),
        Arc::new(
            rejects
                .iter()
                .map(|reject| i64::from(reject.line))
                .collect::<Int64Array>(),
        ),
        Arc::new(
            rejects
                .iter()
                .map(|reject| reject.step.as_deref())
                .collect::<StringViewArray>(),
        ),
        Arc::new(Int64Array::from_value(i64::from(schema_version), rows)),
    ];
    RecordBatch::try_new(failed_schema(), columns).expect("the columns are those of the schema")
}

/// A dataset's table as a sink that notes how long its rows took to become visible.
pub(crate) struct VisibleRows {
    pub(crate) rows: PacedTable,
    pub(crate) visibility: Arc<Visibility>,
    pub(crate) clock: Clock,
}

/// Times of a batch of rows, µs since 1970.
struct Times {
    emitted: i64,
    received: i64,
    rows: u64,
}

impl Times {
    fn of(rows: &RecordBatch) -> Option<Self> {
        // The first two system columns hold the batch's times of receipt and of emission in each row.
        let time = |column| {
            rows.column(column)
                .as_primitive::<TimestampMicrosecondType>()
                .value(0)
        };
        (rows.num_rows() > 0).then(|| Self {
            received: time(0),
            emitted: time(1),
            rows: rows.num_rows() as u64,
        })
    }
}

#[async_trait]
impl Sink<RecordBatch> for VisibleRows {
    async fn progress(&self) -> flow::Result<Option<Progress>> {
        self.rows.progress().await
    }

    async fn write(&self, items: Vec<(Timestamp, RecordBatch)>, progress: &Progress) -> flow::Result<()> {
        let times: Vec<Times> = items.iter().filter_map(|(_, rows)| Times::of(rows)).collect();
        self.rows.write(items, progress).await?;
        if times.is_empty() {
            return Ok(());
        }
        let (visibility, clock) = (self.visibility.clone(), self.clock.clone());
        let pace = self.rows.pace.clone();
        let note = move || {
            let now = clock().as_microsecond();
            let since = |us: i64| u64::try_from(now - us).unwrap_or(0);
            for times in times {
                visibility.record(since(times.emitted), times.rows);
                pace.note_lag(since(times.received));
            }
        };
        let mut versions = self.rows.table.changes();
        if versions.borrow().progress.covers(progress) {
            note();
            return Ok(());
        }
        // They gather for a window. The wait ends with the table at the latest.
        let progress = progress.clone();
        tokio::spawn(async move {
            let seen = versions
                .wait_for(|version| version.progress.covers(&progress))
                .await
                .is_ok();
            if seen {
                note();
            }
        });
        Ok(())
    }
}
