//! The job of one dataset: `queue → decode → steps → rows ▸ table, rejects ▸ table$failed`.

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
use warehouse::Table;

use crate::chain::{Chains, InChain};
use crate::{Clock, Visibility};

/// What a dataset's job is made of.
pub(crate) struct DatasetJob {
    pub(crate) source: Arc<dyn Source<Record>>,
    pub(crate) chains: Arc<Chains>,
    pub(crate) rows: Arc<dyn Sink<RecordBatch>>,
    pub(crate) failed: Arc<dyn Sink<RecordBatch>>,
    /// Set for tracers: the clock of the stamp that they get here.
    pub(crate) stamp: Option<Clock>,
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
            stamp,
        } = self;
        let steps = chains.newest().names();
        let records = Producer::<Local, Record>::source(source);
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
        good.name("rows")
            .write(rows)
            .also(bad.name("rejects").write(failed))
    }
}

fn pieces(batch: InChain) -> impl Iterator<Item = Piece> {
    let (rows, rejects, record) = batch.finish();
    let rejects =
        (!rejects.is_empty()).then(|| Piece::Rejects(rejects_as_rows(&rejects, &record.batch.header)));
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

/// Schemas of datasets have no versions yet.
const SCHEMA_VERSION: i64 = 0;

/// Rows of a `<dataset>$failed` table, see [`failed_schema`].
fn rejects_as_rows(rejects: &[Reject], header: &BatchHeader) -> RecordBatch {
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
        Arc::new(Int64Array::from_value(SCHEMA_VERSION, rows)),
    ];
    RecordBatch::try_new(failed_schema(), columns).expect("the columns are those of the schema")
}

/// A dataset's table as a sink that notes how long its rows took to become visible.
pub(crate) struct VisibleRows {
    pub(crate) table: Arc<Table>,
    pub(crate) visibility: Arc<Visibility>,
    pub(crate) clock: Clock,
}

#[async_trait]
impl Sink<RecordBatch> for VisibleRows {
    async fn progress(&self) -> flow::Result<Option<Progress>> {
        Sink::<RecordBatch>::progress(self.table.as_ref()).await
    }

    async fn write(&self, items: Vec<(Timestamp, RecordBatch)>, progress: &Progress) -> flow::Result<()> {
        let emitted: Vec<(i64, u64)> = items
            .iter()
            .filter(|(_, rows)| rows.num_rows() > 0)
            .map(|(_, rows)| {
                // The second system column holds the batch's time of emission in each row.
                (
                    rows.column(1).as_primitive::<TimestampMicrosecondType>().value(0),
                    rows.num_rows() as u64,
                )
            })
            .collect();
        self.table.write(items, progress).await?;
        let now = (self.clock)().as_microsecond();
        for (emitted_us, rows) in emitted {
            self.visibility
                .record(u64::try_from(now - emitted_us).unwrap_or(0), rows);
        }
        Ok(())
    }
}
