//! From dataset settings to running jobs: each dataset of the queue gets a `flow` job that decodes its batches, puts them
//! through the dataset's chain of functions and writes them to the warehouse, good events to the dataset's table and the
//! others to `<dataset>$failed`.
//!
//! | name | what it is |
//! |---|---|
//! | [`Processor`] | starts, watches and restarts the jobs of all datasets |
//! | [`Chain`] | the steps that a dataset's events go through, each an [`event::Udf`] |
//! | [`NativeUdf`] | a function of the program as a step |
//! | [`ChainTest`] | events, and the rows and rejects that a chain is to make of them |
//! | [`Tap`] | a live view of a dataset's events, before or after any step |
//! | [`FailedFilter`] | which rejects [`Processor::replay_failed`] sends again |
//! | [`PlainSinks`] | which datasets have plain files by hour, beside their table |
//! | [`QueueSource`] | a dataset's queue as a `flow::Source` |
//! | [`DatasetStream`] | a dataset's rows from the first to the live ones, with an exact seam |
//! | [`Scaler`] | how many threads each job may use, by its lag, its tier and the others |
//! | [`Visibility`] | how long events took from being emitted to being visible in SQL |
//!
//! Not here: HTTP, SQL; more than one machine. What a chain was is not stored: after the process has ended, batches that were
//! not committed go through the chain that the next one begins with. After a crash one of a dataset's two tables may be
//! committed further than the other; a chain that has changed meanwhile is then not the one that made the rows there, so
//! change it with [`Processor::set_chain`], or after an orderly end.

mod chain;
mod dataset;
mod error;
mod fixture;
pub mod limits;
mod native;
mod pace;
mod place;
mod plain;
mod readers;
mod replay;
mod scale;
mod shown;
mod source;
mod stream;
mod supervisor;
mod tap;
mod visibility;

pub use chain::{Chain, ChainStatus, StepStatus, check_settings};
pub use error::{Error, ErrorKind, Result};
pub use fixture::{ChainReport, ChainTest, ExpectedReject};
pub use native::{NativeUdf, NativeUdfs};
pub use plain::{PlainOf, PlainSinks};
pub use replay::{FailedFilter, REPLAYS, Replayed};
pub use scale::{
    Decision, Demand, JobScale, Lag, Limits, Measured, Observation, Reason, ScaleOptions, ScaleStatus,
    Scaler, State, capacity, decide, share,
};
pub use source::QueueSource;
pub use stream::DatasetStream;
pub use supervisor::{ChainOf, Clock, DatasetStatus, Processor, ProcessorOptions};
pub use tap::{Tap, TapPoint, Tapped};
pub use visibility::Visibility;
