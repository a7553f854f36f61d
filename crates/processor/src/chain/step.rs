//! One step of a chain: calls within limits, bad rows found, and what comes out tied to the events it is of.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, AsArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, TimestampMicrosecondType};
use event::{ROW_COLUMN, SystemColumn, Udf, UdfError, UdfErrorKind, times_of};

use super::call::{CallThreads, NoAnswer};
use super::check::{Output, check};
use super::rows::{Part, Reasons, SYSTEM};
use super::size::bytes_of;
use super::{Chain, StepStatus};
use crate::limits::{CALL_ROWS_MAX, CALLS_MAX, STEP_OUT_BYTES_MAX};

/// A step as it runs.
#[derive(Debug)]
pub(crate) struct Step {
    udf: Arc<dyn Udf>,
    name: Arc<str>,
    call_time_max: Duration,
    threads: Arc<CallThreads>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    broken: AtomicU64,
    stuck: Arc<AtomicU64>,
    rows_in: AtomicU64,
    rows_out: AtomicU64,
    rejects: AtomicU64,
    time_us: AtomicU64,
    last_error: Mutex<Option<String>>,
}

/// What has come out of a step so far.
#[derive(Default)]
struct Out {
    parts: Vec<Part>,
    rejected: Reasons,
    bytes: usize,
}

impl Step {
    pub(super) fn all(chain: &Chain, threads: &Arc<CallThreads>) -> Vec<Self> {
        let step = |udf: &Arc<dyn Udf>| Self {
            name: udf.name().into(),
            udf: udf.clone(),
            call_time_max: chain.call_time_max,
            threads: threads.clone(),
            counts: Counts::default(),
        };
        chain.steps.iter().map(step).collect()
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn status(&self) -> StepStatus {
        let counts = &self.counts;
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        StepStatus {
            name: self.name.to_string(),
            calls: of(&counts.calls),
            broken_calls: of(&counts.broken),
            stuck_calls: of(&counts.stuck),
            rows_in: of(&counts.rows_in),
            rows_out: of(&counts.rows_out),
            rejects: of(&counts.rejects),
            time: Duration::from_micros(of(&counts.time_us)),
            last_error: counts
                .last_error
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }

    /// Puts a batch's rows through: what comes out, and the events that are rejected. Rows of these may be among what
    /// comes out.
    pub(super) fn run(&self, parts: Vec<Part>) -> (Vec<Part>, Reasons) {
        let mut out = Out::default();
        let mut rows_in = 0;
        for part in parts {
            rows_in += part.rows.num_rows() as u64;
            for from in (0..part.rows.num_rows()).step_by(CALL_ROWS_MAX) {
                let count = CALL_ROWS_MAX.min(part.rows.num_rows() - from);
                self.run_rows(&part.slice(from, count), &mut out);
            }
        }
        let rows_out = out.parts.iter().map(|part| part.rows.num_rows() as u64).sum();
        let add = |count: &AtomicU64, by: u64| count.fetch_add(by, Ordering::Relaxed);
        add(&self.counts.rows_in, rows_in);
        add(&self.counts.rows_out, rows_out);
        add(&self.counts.rejects, out.rejected.len() as u64);
        (out.parts, out.rejected)
    }

    /// Calls for these rows, and for halves of those that fail by a row, from the first to the last.
    fn run_rows(&self, part: &Part, out: &mut Out) {
        let begun = Instant::now();
        let mut calls = 0;
        let mut last_error = String::new();
        let all = 0..part.rows.num_rows();
        let mut ranges = Vec::from([all]);
        while let Some(range) = ranges.pop() {
            if calls >= CALLS_MAX || (calls > 0 && begun.elapsed() > self.call_time_max) {
                let reason = format!(
                    "not tried without its neighbours, as bad rows were too many: give them in the column _error \
                     calls={calls} error={last_error}"
                );
                out.reject(part, range, &reason);
                continue;
            }
            calls += 1;
            let rows = part.slice(range.start, range.len());
            match self.call(&rows) {
                Ok(output) if out.bytes + bytes_of(&output.fields) > STEP_OUT_BYTES_MAX => {
                    let reason = format!("too much came out for one batch bytes_max={STEP_OUT_BYTES_MAX}");
                    out.reject(part, range, &reason);
                }
                Ok(output) => out.take(&rows, output),
                Err(error) => {
                    *self
                        .counts
                        .last_error
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                    if error.kind() == UdfErrorKind::Row && range.len() > 1 {
                        let middle = range.start + range.len() / 2;
                        ranges.push(middle..range.end);
                        ranges.push(range.start..middle);
                        last_error = error.to_string();
                    } else {
                        out.reject(part, range, &error.to_string());
                    }
                }
            }
        }
    }

    fn call(&self, part: &Part) -> Result<Output, UdfError> {
        let broken = |text: String| UdfError::new(UdfErrorKind::Broken, text);
        let stuck = self.counts.stuck.load(Ordering::Relaxed);
        if stuck > 0 {
            return Err(broken(format!(
                "an earlier call has not returned: mend the function, replace the chain, and start the process again \
                 stuck_calls={stuck}"
            )));
        }
        let (udf, rows) = (self.udf.clone(), input(&part.rows));
        let begun = Instant::now();
        let called = self
            .threads
            .call(self.call_time_max, &self.counts.stuck, move || udf.apply(&rows));
        let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.counts.time_us.fetch_add(took, Ordering::Relaxed);
        self.counts.calls.fetch_add(1, Ordering::Relaxed);
        let result = match called {
            Ok(result) => result.and_then(|out| check(out, part.rows.num_rows())),
            Err(NoAnswer::Panicked(text)) => Err(broken(format!("the function panicked panic={text:?}"))),
            Err(NoAnswer::TooLong) => Err(broken(format!(
                "the function took too long rows={} time_max={:?}",
                part.rows.num_rows(),
                self.call_time_max
            ))),
            Err(NoAnswer::NoThread(text)) => Err(broken(format!("no thread for the function: {text}"))),
        };
        if result
            .as_ref()
            .is_err_and(|error| error.kind() == UdfErrorKind::Broken)
        {
            self.counts.broken.fetch_add(1, Ordering::Relaxed);
        }
        result
    }
}

/// The rows with the column that counts them.
fn input(rows: &RecordBatch) -> RecordBatch {
    let places: UInt32Array = (0..rows.num_rows() as u32).collect();
    let row = Arc::new(Field::new(ROW_COLUMN, DataType::UInt32, false));
    let fields = rows
        .schema()
        .fields()
        .iter()
        .cloned()
        .chain([row])
        .collect::<Vec<_>>();
    let columns = rows
        .columns()
        .iter()
        .cloned()
        .chain([Arc::new(places) as ArrayRef]);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.collect()).expect("there is one place a row")
}

impl Out {
    fn reject(&mut self, part: &Part, range: Range<usize>, reason: &str) {
        for line in &part.lines[range] {
            self.rejected.entry(*line).or_insert_with(|| reason.to_owned());
        }
    }

    /// Ties what came out to the events, with their system's columns.
    fn take(&mut self, rows: &Part, output: Output) {
        let Output {
            from,
            fields,
            time,
            error,
        } = output;
        self.bytes += bytes_of(&fields);
        let lines: Vec<u32> = from
            .values()
            .iter()
            .map(|row| rows.lines[*row as usize])
            .collect();
        if let Some(error) = &error {
            for (row, text) in error.as_string_view().iter().enumerate() {
                if let Some(text) = text {
                    self.rejected.entry(lines[row]).or_insert_with(|| text.to_owned());
                }
            }
        }
        let all =
            from.len() == rows.lines.len() && from.values().iter().zip(0..).all(|(row, place)| *row == place);
        let mut system: Vec<ArrayRef> = rows.rows.columns()[..SYSTEM]
            .iter()
            .map(|column| {
                if all {
                    column.clone()
                } else {
                    take(column, &from, None).expect("each row is there")
                }
            })
            .collect();
        if let Some(time) = time {
            let now = system[2].as_primitive::<TimestampMicrosecondType>();
            let times = times_of(&time, now.values());
            for (time, line) in times.iter().zip(&lines) {
                if let Err(reason) = time {
                    self.rejected.entry(*line).or_insert_with(|| reason.clone());
                }
            }
            // A row whose time is none is rejected; it needs some number until it is taken out.
            let times: TimestampMicrosecondArray = times
                .into_iter()
                .map(Result::unwrap_or_default)
                .collect::<Vec<_>>()
                .into();
            system[2] = Arc::new(times.with_timezone("UTC"));
        }
        let own = fields.schema();
        let schema = SystemColumn::ALL.iter().map(|column| Arc::new(column.field()));
        let schema = Schema::new(schema.chain(own.fields().iter().cloned()).collect::<Vec<_>>());
        system.extend(fields.columns().iter().cloned());
        let options = RecordBatchOptions::new().with_row_count(Some(lines.len()));
        let rows = RecordBatch::try_new_with_options(Arc::new(schema), system, &options)
            .expect("all columns are of the rows that came out");
        self.parts.push(Part { rows, lines });
    }
}
