//! A live view of a dataset's events, at any point of their way.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use queue::{Offset, Partition, Record};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, watch};

use crate::limits::{TAP_EVENT_BYTES_MAX, TAP_EVENTS_MAX};
use crate::shown::json_rows;

/// Where a tap is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TapPoint {
    /// After decoding, before the first step.
    Decoded,
    /// Before the step of this name.
    Before(String),
    /// After the step of this name.
    After(String),
    /// Before the table: with the table's columns.
    Inserted,
    /// What is rejected, wherever: `stage`, `step`, `reason`, and `raw` as text.
    Rejected,
}

impl fmt::Display for TapPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decoded => f.write_str("decoded"),
            Self::Before(step) => write!(f, "before {step}"),
            Self::After(step) => write!(f, "after {step}"),
            Self::Inserted => f.write_str("inserted"),
            Self::Rejected => f.write_str("rejected"),
        }
    }
}

/// An event that a tap saw.
#[derive(Clone, Debug, PartialEq)]
pub struct Tapped {
    /// The partition of its batch in the queue.
    pub partition: Partition,
    /// The offset of its batch.
    pub offset: Offset,
    /// Its place in the batch, from 1.
    pub line: u32,
    /// The event as a JSON object; fields that are null are left out.
    pub event: Map<String, Value>,
}

/// Events that go by, from when it was opened until it is dropped. A job that starts again shows events again.
///
/// It never slows the job: what finds no room is dropped and counted. It costs the job the making of JSON for what finds
/// room; a dataset without taps pays one load of an atomic per batch and point.
#[derive(Debug)]
pub struct Tap {
    events: mpsc::Receiver<Tapped>,
    spout: Arc<Spout>,
    taps: Arc<Taps>,
    stop: watch::Receiver<bool>,
}

impl Tap {
    /// The next event; waits for it. `None` when the processor was told to stop and all that it showed was taken.
    pub async fn next(&mut self) -> Option<Tapped> {
        tokio::select! {
            biased;
            event = self.events.recv() => event,
            // An error means that the processor is gone, which is the same.
            _ = self.stop.wait_for(|stop| *stop) => None,
        }
    }

    /// How many events found no room since it was opened.
    pub fn dropped(&self) -> u64 {
        self.spout.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let mut spouts = self.taps.spouts();
        spouts.retain(|spout| !Arc::ptr_eq(spout, &self.spout));
        self.taps.open.store(spouts.len(), Ordering::Relaxed);
    }
}

/// The taps of a dataset.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    open: AtomicUsize,
    spouts: Mutex<Vec<Arc<Spout>>>,
}

#[derive(Debug)]
struct Spout {
    point: TapPoint,
    sender: mpsc::Sender<Tapped>,
    dropped: AtomicU64,
}

impl Taps {
    /// Opens a tap in which at most so many events wait, until `stop` says so.
    pub(crate) fn open(
        self: &Arc<Self>,
        point: TapPoint,
        events_max: usize,
        stop: watch::Receiver<bool>,
    ) -> Tap {
        let (sender, events) = mpsc::channel(events_max.clamp(1, TAP_EVENTS_MAX));
        let dropped = AtomicU64::new(0);
        let spout = Arc::new(Spout {
            point,
            sender,
            dropped,
        });
        let mut spouts = self.spouts();
        spouts.push(spout.clone());
        self.open.store(spouts.len(), Ordering::Relaxed);
        let taps = self.clone();
        Tap {
            events,
            spout,
            taps,
            stop,
        }
    }

    /// Whether anybody looks.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }

    /// Shows rows, with the places of their events, to those who look here.
    pub(crate) fn rows(&self, point: &TapPoint, record: &Record, rows: &RecordBatch, lines: &[u32]) {
        self.at(point, |spout| {
            let room = spout.sender.capacity().min(rows.num_rows());
            let shown = json_rows(&rows.slice(0, room));
            spout.count(rows.num_rows() - shown.len());
            shown
                .into_iter()
                .zip(lines)
                .for_each(|(event, line)| spout.send(record, *line, event));
        });
    }

    /// Shows rejects to those who look there.
    pub(crate) fn rejects(&self, record: &Record, rejects: &[event::Reject]) {
        self.at(&TapPoint::Rejected, |spout| {
            for reject in rejects {
                let mut event = Map::new();
                event.insert("stage".to_owned(), reject.stage.into());
                event.extend(
                    reject
                        .step
                        .as_deref()
                        .map(|step| ("step".to_owned(), step.into())),
                );
                event.insert("reason".to_owned(), reject.reason.as_str().into());
                event.insert("raw".to_owned(), String::from_utf8_lossy(&reject.raw).into());
                spout.send(record, reject.line, event);
            }
        });
    }

    fn at(&self, point: &TapPoint, show: impl Fn(&Spout)) {
        // Not under the lock: whoever opens or drops a tap does not wait for JSON.
        let here: Vec<Arc<Spout>> = self
            .spouts()
            .iter()
            .filter(|spout| spout.point == *point)
            .cloned()
            .collect();
        here.iter().for_each(|spout| show(spout));
    }

    fn spouts(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Spout>>> {
        self.spouts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spout {
    fn send(&self, record: &Record, line: u32, event: Map<String, Value>) {
        let bytes: usize = event
            .iter()
            .map(|(name, value)| name.len() + bytes_of(value))
            .sum();
        let tapped = Tapped {
            partition: record.partition,
            offset: record.offset,
            line,
            event,
        };
        if bytes > TAP_EVENT_BYTES_MAX || self.sender.try_send(tapped).is_err() {
            self.count(1);
        }
    }

    fn count(&self, dropped: usize) {
        self.dropped.fetch_add(dropped as u64, Ordering::Relaxed);
    }
}

/// About how much memory a value takes.
fn bytes_of(value: &Value) -> usize {
    const NODE: usize = 32;
    NODE + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(bytes_of).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| name.len() + bytes_of(value))
            .sum(),
        _ => 0,
    }
}
