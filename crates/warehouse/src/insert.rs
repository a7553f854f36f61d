//! How rows get into a table: at once, in windows, or as load and lag have it.

use std::time::Duration;

use crate::auto::{AutoOptions, Decision, Observation, Steering, decide};

/// How rows get into a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum InsertMode {
    /// Rows are visible as soon as they are taken, in the hot tail.
    #[default]
    Streaming,
    /// Rows gather unseen; when the first is as old as the window they become files in one commit and are visible
    /// with it. A commit comes earlier when [`crate::WarehouseOptions::flush_bytes`] have gathered. It costs less: rows
    /// are neither merged nor published as they come, and there are fewer commits.
    MicroBatch {
        /// From the first row of a window to its commit.
        window: Duration,
    },
    /// One of the two, as [`Table::steer`](crate::Table::steer) finds cheaper within an objective of lag; `Streaming` at
    /// first.
    Auto(AutoOptions),
}

/// How rows get into a table now, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct InsertStatus {
    /// What was asked for.
    pub mode: InsertMode,
    /// The window of micro-batches; `None` while streaming.
    pub window: Option<Duration>,
    /// Why it is so.
    pub reason: String,
    /// How often `auto` has changed it.
    pub changes: u64,
}

/// A table's insert mode and what decides it.
#[derive(Debug)]
pub(crate) struct Insert {
    status: InsertStatus,
    steering: Steering,
}

impl Insert {
    pub(crate) fn new(mode: InsertMode) -> Self {
        let window = match &mode {
            InsertMode::MicroBatch { window } => Some(*window),
            InsertMode::Streaming | InsertMode::Auto(_) => None,
        };
        let reason = match &mode {
            InsertMode::Auto(_) => "auto begins with streaming",
            _ => "it was asked for",
        };
        Self {
            status: InsertStatus {
                mode,
                window,
                reason: reason.to_owned(),
                changes: 0,
            },
            steering: Steering::default(),
        }
    }

    pub(crate) fn status(&self) -> &InsertStatus {
        &self.status
    }

    pub(crate) fn window(&self) -> Option<Duration> {
        self.status.window
    }

    /// What `auto` makes of an observation; `None` where nothing changes.
    pub(crate) fn steer(&mut self, observation: &Observation) -> Option<Decision> {
        let InsertMode::Auto(options) = &self.status.mode else {
            return None;
        };
        let (steering, decision) = decide(options, &self.steering, observation);
        self.steering = steering;
        if let Some(decision) = &decision {
            self.status.window = decision.window;
            self.status.reason.clone_from(&decision.reason);
            self.status.changes += 1;
        }
        decision
    }
}
