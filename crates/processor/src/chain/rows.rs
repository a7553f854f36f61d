//! A batch on its way through a chain.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use event::{Reject, SystemColumn};
use queue::Record;

use super::ChainVersion;
use crate::limits::CALL_ROWS_MAX;
use crate::tap::{TapPoint, Taps};

/// A batch between two steps: its rows so far, and the events of it that were rejected.
#[derive(Clone, Debug)]
pub(crate) struct InChain {
    pub(super) record: Arc<Record>,
    pub(super) version: Arc<ChainVersion>,
    pub(super) parts: Vec<Part>,
    pub(super) rejects: Vec<Reject>,
    /// How many steps it has been through.
    pub(super) steps_done: usize,
    /// Who looks at it on its way.
    pub(super) taps: Option<Arc<Taps>>,
}

/// Rows with one schema, the system's columns first, and the place of the event that each is of.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) rows: RecordBatch,
    pub(super) lines: Vec<u32>,
}

/// Why events were rejected, by their places.
pub(super) type Reasons = BTreeMap<u32, String>;

impl Part {
    pub(super) fn slice(&self, from: usize, count: usize) -> Self {
        Self {
            rows: self.rows.slice(from, count),
            lines: self.lines[from..from + count].to_vec(),
        }
    }

    /// The rows of events that are not among these.
    fn without(&self, rejected: &Reasons) -> Self {
        let good: BooleanArray = self
            .lines
            .iter()
            .map(|line| Some(!rejected.contains_key(line)))
            .collect();
        let lines = self.lines.iter().zip(good.values());
        Self {
            rows: filter_record_batch(&self.rows, &good).expect("the filter has one flag a row"),
            lines: lines.filter_map(|(line, good)| good.then_some(*line)).collect(),
        }
    }
}

/// The parts without the rows of rejected events; neighbours of one schema as one, as far as a call takes them.
pub(super) fn settled(parts: Vec<Part>, rejected: &Reasons) -> Vec<Part> {
    let mut settled: Vec<Part> = Vec::with_capacity(parts.len());
    let mut run: Vec<Part> = Vec::new();
    for part in parts {
        let part = if rejected.is_empty() {
            part
        } else {
            part.without(rejected)
        };
        if part.rows.num_rows() == 0 {
            continue;
        }
        let run_rows: usize = run.iter().map(|part| part.rows.num_rows()).sum();
        let joins = run.last().is_none_or(|last| {
            last.rows.schema_ref() == part.rows.schema_ref()
                && run_rows + part.rows.num_rows() <= CALL_ROWS_MAX
        });
        if !joins {
            settled.push(joined(std::mem::take(&mut run)));
        }
        run.push(part);
    }
    if !run.is_empty() {
        settled.push(joined(run));
    }
    settled
}

fn joined(mut run: Vec<Part>) -> Part {
    if run.len() == 1 {
        return run.remove(0);
    }
    let schema = run[0].rows.schema();
    let rows = concat_batches(&schema, run.iter().map(|part| &part.rows)).expect("they are of one schema");
    Part {
        rows,
        lines: run.into_iter().flat_map(|part| part.lines).collect(),
    }
}

impl InChain {
    /// Takes rejected events out, with their raw bytes.
    pub(super) fn reject(&mut self, stage: &'static str, step: Option<&Arc<str>>, rejected: Reasons) {
        let lines: Vec<u32> = rejected.keys().copied().collect();
        let raw = self.version.decoder.raw(&self.record.batch, &lines);
        for ((line, reason), raw) in rejected.into_iter().zip(raw) {
            let mut reject = Reject::new(line, stage, reason, &raw);
            reject.step = step.cloned();
            self.rejects.push(reject);
        }
    }

    /// Of the schema that was declared when it came; 0 where there is none.
    pub(crate) fn schema_version(&self) -> u32 {
        self.version.schema_version
    }

    /// Puts it through the next step, if there is one.
    pub(crate) fn step(mut self) -> Self {
        let version = self.version.clone();
        let Some(step) = version.steps.get(self.steps_done) else {
            return self;
        };
        self.show(|| TapPoint::Before(step.name().to_string()));
        self.steps_done += 1;
        let (parts, rejected) = step.run(std::mem::take(&mut self.parts));
        self.parts = settled(parts, &rejected);
        if !rejected.is_empty() {
            self.reject("udf", Some(step.name()), rejected);
        }
        self.show(|| TapPoint::After(step.name().to_string()));
        self
    }

    /// Shows the rows as they are now.
    pub(super) fn show(&self, point: impl Fn() -> TapPoint) {
        if let Some(taps) = self.taps.as_ref().filter(|taps| taps.is_open()) {
            let point = point();
            for part in &self.parts {
                taps.rows(&point, &self.record, &part.rows, &part.lines);
            }
        }
    }

    /// Puts it through the steps that are left, and brings its rows to the table's columns: the rows, and the rejects by
    /// their places.
    pub(crate) fn finish(self) -> (Vec<RecordBatch>, Vec<Reject>, Arc<Record>) {
        let done = self.finished();
        let rows = done.parts.into_iter().map(|part| part.rows);
        let rows = rows.filter(|rows| rows.num_rows() > 0).collect();
        (rows, done.rejects, done.record)
    }

    /// The same, with the places of the rows' events.
    pub(crate) fn finish_parts(self) -> (Vec<(RecordBatch, Vec<u32>)>, Vec<Reject>) {
        let done = self.finished();
        let parts = done.parts.into_iter().map(|part| (part.rows, part.lines));
        (parts.collect(), done.rejects)
    }

    fn finished(mut self) -> Self {
        while self.steps_done < self.version.steps.len() {
            self = self.step();
        }
        if let Some(table) = self.version.fit.clone() {
            let mut rejected = Reasons::new();
            let fitted = std::mem::take(&mut self.parts).into_iter().map(|part| {
                let fitted = table.fit(&part.rows);
                for (row, reason) in fitted.rejects {
                    rejected.entry(part.lines[row as usize]).or_insert(reason);
                }
                let lines = match fitted.kept {
                    None => part.lines,
                    Some(kept) => kept.iter().map(|row| part.lines[*row as usize]).collect(),
                };
                Part {
                    rows: fitted.rows,
                    lines,
                }
            });
            let fitted = fitted.collect();
            self.parts = settled(fitted, &rejected);
            if !rejected.is_empty() {
                self.reject("validate", None, rejected);
            }
        }
        self.rejects.sort_by_key(|reject| reject.line);
        self.show(|| TapPoint::Inserted);
        if let Some(taps) = self.taps.as_ref().filter(|taps| taps.is_open()) {
            taps.rejects(&self.record, &self.rejects);
        }
        self
    }
}

/// How many columns are the system's.
pub(super) const SYSTEM: usize = SystemColumn::ALL.len();
