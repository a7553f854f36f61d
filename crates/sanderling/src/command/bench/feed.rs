//! The load: synthetic user behaviour, numbered, emitted as it is due.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use client::Dataset;
use sanderling::generator::Generator;
use serde_arrow::schema::{SchemaLike, TracingOptions};
use tokio::time::MissedTickBehavior;

use super::super::Failure;
use super::schedule::Schedule;

const TICK: Duration = Duration::from_millis(1);
/// Events that are made ahead for lines and rows; then they come again, with other numbers.
const POOL: usize = 200_000;
/// Rows of a record batch, at most.
const ROWS: u64 = 1_000;
const SESSIONS: usize = 1_000;

/// As what events are given to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    /// Structs, made and written as JSON event by event.
    Structs,
    /// Lines of JSON, made ahead.
    Lines,
    /// Arrow record batches of up to 1,000 rows, made ahead.
    Arrow,
}

/// Emits numbered events to datasets in turn, each of which may have a client of its own.
pub(super) struct Feed {
    datasets: Vec<Dataset>,
    made: Made,
}

enum Made {
    Structs(Box<Generator>),
    /// The lines behind their numbers, and room for one line.
    Lines(Vec<Vec<u8>>, Vec<u8>),
    Arrow(RecordBatch),
}

impl Feed {
    pub(super) fn new(datasets: Vec<Dataset>, format: Format) -> Result<Self, Failure> {
        let mut generator = Generator::new(1, SESSIONS);
        let made = match format {
            Format::Structs => Made::Structs(Box::new(generator)),
            Format::Lines => {
                let line = |_| {
                    let line = serde_json::to_vec(&generator.event())?;
                    // The number is the first field.
                    let behind = line.iter().position(|byte| *byte == b',').unwrap_or_default();
                    Ok(line[behind..].to_vec())
                };
                let lines = (0..POOL).map(line).collect::<Result<_, serde_json::Error>>()?;
                Made::Lines(lines, Vec::new())
            }
            Format::Arrow => {
                let events: Vec<_> = (0..POOL).map(|_| generator.event()).collect();
                let options = TracingOptions::default().strings_as_large_utf8(false);
                let fields = Vec::<arrow::datatypes::FieldRef>::from_samples(&events, options);
                let rows = fields.and_then(|fields| serde_arrow::to_record_batch(&fields, &events));
                Made::Arrow(rows.map_err(|error| error.to_string())?)
            }
        };
        Ok(Self { datasets, made })
    }

    /// Emits what is due when it is due, to the end of the schedule.
    pub(super) async fn run(mut self, schedule: Arc<Schedule>) -> Result<(), Failure> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut emitted = 0;
        loop {
            ticks.tick().await;
            let (due, is_last) = schedule.due_by(Instant::now());
            while emitted < due {
                emitted += self.emit(emitted, due - emitted).await?;
                schedule.note(emitted);
            }
            if is_last {
                schedule.end();
                return Ok(());
            }
        }
    }

    /// Emits up to `count` events, numbered from `first`, and says how many.
    async fn emit(&mut self, first: u64, count: u64) -> Result<u64, Failure> {
        let datasets = &self.datasets;
        let of = |number: u64| &datasets[number as usize % datasets.len()];
        match &mut self.made {
            Made::Structs(generator) => {
                // The generator numbers its events itself, from 0.
                for number in first..first + count {
                    of(number).emit_wait(&generator.event()).await?;
                }
                Ok(count)
            }
            Made::Lines(lines, room) => {
                for number in first..first + count {
                    room.clear();
                    room.extend_from_slice(b"{\"number\":");
                    room.extend_from_slice(number.to_string().as_bytes());
                    room.extend_from_slice(&lines[number as usize % POOL]);
                    of(number).emit_json_line_wait(room).await?;
                }
                Ok(count)
            }
            Made::Arrow(pool) => {
                let from = first as usize % POOL;
                let count = count.min(ROWS).min((POOL - from) as u64);
                let numbers = (first..first + count).map(|number| number as i64);
                let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
                let rows = pool.slice(from, count as usize);
                let fields = rows.schema();
                let columns = fields.fields().iter().zip(rows.columns()).map(|(field, column)| {
                    let is_number = field.name() == "number";
                    let column = if is_number { &numbers } else { column };
                    (field.name().clone(), Arc::clone(column))
                });
                of(first / ROWS)
                    .emit_rows_wait(&RecordBatch::try_from_iter(columns)?)
                    .await?;
                Ok(count)
            }
        }
    }
}
