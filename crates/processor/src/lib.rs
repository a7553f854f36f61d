//! From dataset settings to running jobs: each dataset of the queue gets a `flow` job that decodes its batches and
//! writes them to the warehouse, good events to the dataset's table and the others to `<dataset>$failed`.
//!
//! | name | what it is |
//! |---|---|
//! | [`Processor`] | starts, watches and restarts the jobs of all datasets |
//! | [`QueueSource`] | a dataset's queue as a `flow::Source` |
//! | [`DatasetStream`] | a dataset's rows from the first to the live ones, with an exact seam |
//! | [`Scaler`] | how many threads each job may use, by its lag, its tier and the others |
//! | [`Visibility`] | how long events took from being emitted to being visible in SQL |
//!
//! Not here: HTTP, SQL, user-defined functions; more than one machine.

mod dataset;
mod error;
mod limits;
mod place;
mod readers;
mod scale;
mod source;
mod stream;
mod supervisor;
mod visibility;

pub use error::{Error, ErrorKind, Result};
pub use scale::{
    Decision, Demand, JobScale, Lag, Limits, Measured, Observation, Reason, ScaleOptions, ScaleStatus,
    Scaler, State, capacity, decide, share,
};
pub use source::QueueSource;
pub use stream::DatasetStream;
pub use supervisor::{Clock, DatasetStatus, Processor, ProcessorOptions};
pub use visibility::Visibility;
