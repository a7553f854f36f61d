//! The chain of a dataset: steps that its events go through between decoding and the table.
//!
//! ```text
//! decode ▸ step 1 ▸ … ▸ step n ▸ fit to the table's columns
//!    └─────────┴──────────┴──────────┴── rejects ▸ <dataset>$failed, with the event's raw bytes
//! ```
//!
//! An event is afterwards in exactly one place: in the table (with one row or several), in `<dataset>$failed` (once,
//! whichever of its rows failed), or nowhere, where a step filtered it. Rows keep the order of their events.
//!
//! A step is called with at most [`limits::CALL_ROWS_MAX`](crate::limits::CALL_ROWS_MAX) rows:
//!
//! * it fails by a row ([`UdfErrorKind::Row`](event::UdfErrorKind::Row)): halves are called until the bad rows are found,
//!   in at most [`limits::CALLS_MAX`](crate::limits::CALLS_MAX) calls and the time of one; what is not found by then is
//!   rejected. A step that knows its bad rows says so in the column `_error`, which costs one call;
//! * it is broken, panics, or gives what breaks its contract: all rows of the call are rejected;
//! * it does not return in time: the same. Its thread cannot be killed: it goes on until the function returns or the
//!   process ends. Until it does, the step is not called, its rows are rejected at once, and the job goes on;
//!   [`StepStatus::stuck_calls`] says so. Replacing the chain helps the rows to come; only the end of the process ends the
//!   thread.
//!
//! The columns that go into a chain are inferred from the events alone, beside those of the table, which are what comes
//! out. They are kept in memory: after a start they are inferred anew, so a field may get another type (an integer, where
//! the first event of the last process had a fraction), and one that no event has had since is not among the columns. The
//! first chain of a dataset that had none begins with the columns of the table.
//!
//! What a row becomes depends on the row, on the others of its batch and on the chain; and on the clock where a call takes
//! too long: a job that starts again after a crash may then give another answer than before.

mod call;
mod check;
mod rows;
mod size;
mod step;
mod versions;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use event::Udf;

use crate::limits::{CHAIN_STEPS_MAX, STEP_NAME_BYTES_MAX};
use crate::{Error, ErrorKind, Result};

pub(crate) use self::call::CallThreads;
pub(crate) use self::rows::InChain;
pub use self::versions::check_settings;
pub(crate) use self::versions::{ChainVersion, Chains};

/// How long a call of a step may take, unless the chain says otherwise.
const CALL_TIME_MAX: Duration = Duration::from_secs(10);

/// Steps in their order, checked; none by default. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Chain {
    steps: Arc<[Arc<dyn Udf>]>,
    call_time_max: Duration,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            steps: Arc::new([]),
            call_time_max: CALL_TIME_MAX,
        }
    }
}

impl Chain {
    /// A chain of steps.
    ///
    /// # Errors
    /// `Invalid` when there are too many, or a name is empty, too long, has control characters, or stands twice.
    pub fn new(steps: Vec<Arc<dyn Udf>>) -> Result<Self> {
        let invalid = |text: String| Err(Error::new(ErrorKind::Invalid, text));
        if steps.len() > CHAIN_STEPS_MAX {
            return invalid(format!(
                "a chain has too many steps, join some steps={} steps_max={CHAIN_STEPS_MAX}",
                steps.len()
            ));
        }
        for (index, step) in steps.iter().enumerate() {
            let name = step.name();
            if name.is_empty() || name.len() > STEP_NAME_BYTES_MAX || name.contains(char::is_control) {
                return invalid(format!(
                    "a step needs a name of 1 to {STEP_NAME_BYTES_MAX} bytes without control characters name={name:?}"
                ));
            }
            if steps[..index].iter().any(|other| other.name() == name) {
                return invalid(format!(
                    "two steps of a chain have one name, rename one name={name:?}"
                ));
            }
        }
        Ok(Self {
            steps: steps.into(),
            ..Self::default()
        })
    }

    /// The same with another limit of the time of one call. Default 10 s.
    pub fn with_call_time_max(mut self, limit: Duration) -> Self {
        self.call_time_max = limit;
        self
    }

    /// The names of the steps, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().map(|step| step.name())
    }

    /// Whether it has no steps.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// The chain of a dataset that new batches go through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainStatus {
    /// Counts the chains that the dataset has had since the process began, from 1.
    pub version: u64,
    /// Its steps.
    pub steps: Vec<StepStatus>,
}

/// What a step has done since its chain was set; work that a job did again, or a stream, is counted again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepStatus {
    /// Its name.
    pub name: String,
    /// Calls, those among them that look for bad rows.
    pub calls: u64,
    /// Calls that were broken: a crash, a breach of the contract, or too long a time.
    pub broken_calls: u64,
    /// Calls that were too long and have not returned yet: each has a thread of its own that cannot be killed.
    pub stuck_calls: u64,
    /// Rows that went in.
    pub rows_in: u64,
    /// Rows that came out.
    pub rows_out: u64,
    /// Events that it rejected.
    pub rejects: u64,
    /// The time that its calls took.
    pub time: Duration,
    /// Why a call last failed.
    pub last_error: Option<String>,
}
