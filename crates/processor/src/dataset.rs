//! The job of one dataset: `queue → decode → rows ▸ table, rejects ▸ table$failed`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryViewBuilder, Int64Array, RecordBatch, StringViewArray, StringViewBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::TimestampMicrosecondType;
use async_trait::async_trait;
use event::{BatchHeader, Decoder, Encoding, Reject, failed_schema};
use flow::{Local, Producer, Sink, Source, Tail, Timestamp};
use queue::Record;
use store::Progress;
use warehouse::Table;

use crate::place::PanickedAt;
use crate::{Clock, Visibility};

/// What a dataset's job is made of.
pub(crate) struct DatasetJob {
    pub(crate) source: Arc<dyn Source<Record>>,
    pub(crate) decoder: Decoder,
    pub(crate) rows: Arc<dyn Sink<RecordBatch>>,
    pub(crate) failed: Arc<dyn Sink<RecordBatch>>,
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
    /// The job's graph.
    pub(crate) fn graph(self) -> impl Tail<Local> {
        let Self {
            source,
            decoder,
            rows,
            failed,
            stamp,
            panicked_at,
        } = self;
        let records = Producer::<Local, Record>::source(source)
            .flat_map(move |record: Record| panicked_at.watched(record));
        let pieces = records.flat_map(move |record: Record| match &stamp {
            None => decode(&decoder, record),
            Some(clock) => decode(&decoder, stamped(record, clock())),
        });
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

fn decode(decoder: &Decoder, record: Record) -> impl Iterator<Item = Piece> + use<> {
    let decoded = decoder.decode(&record.batch);
    let rows = (decoded.rows.num_rows() > 0).then_some(Piece::Rows(decoded.rows));
    let rejects = (!decoded.rejects.is_empty())
        .then(|| Piece::Rejects(rejects_as_rows(&decoded.rejects, &record.batch.header)));
    rows.into_iter().chain(rejects)
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
