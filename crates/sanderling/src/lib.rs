//! An event pipeline and write-once aggregation in one: emit an event, and a moment later it is in SQL and in
//! every aggregate you defined.
//!
//! A job is written once and runs on every platform:
//!
//! ```
//! use sanderling::prelude::*;
//!
//! fn word_count<P: Platform>(lines: Producer<P, String>, counts: P::Store<String, u64>) -> impl Tail<P> {
//!     lines
//!         .flat_map(|line| line.split_whitespace().map(|word| (word.to_owned(), 1)).collect::<Vec<_>>())
//!         .sum_by_key(counts)
//! }
//!
//! let counts = <Memory as Platform>::Store::default();
//! let lines = vec![(Timestamp(0), "run with every wave".to_owned())];
//! Memory::run(&word_count(Producer::source(lines), counts.clone()));
//! assert_eq!(counts.lock().unwrap()["wave"], 1);
//! ```
//!
//! | module | what is in it |
//! |---|---|
//! | [`prelude`] | what a job needs |
//! | [`job`] | a job as a program: [`job!`] and the command line it gives |
//! | [`remote`] | a dataset's stream, rows by key and a job's store on a running server, for `Local` |
//! | [`client`] | the client library: emit events |
//! | [`Server`], [`Settings`] | a server in this process |
//! | [`NativeUdf`], [`NativeUdfs`] | functions of a program of yours as steps of a dataset |
//! | [`Edge`] | an aggregator in this process that passes batches on to a server |
//! | [`generator`] | synthetic user behaviour, for demos and measurements |
//!
//! Nothing below this crate reads the environment or a settings file.

mod edge;
mod entrance;
mod flight;
pub mod generator;
mod http;
pub mod job;
mod limits;
mod live;
mod metrics;
pub mod remote;
mod retention;
mod server;
mod settings;
mod shape;
mod signal;
mod steps;
mod stores;
mod tables;

pub use algebra;
pub use client;
pub use edge::Edge;
pub use processor::{NativeUdf, NativeUdfs};
pub use server::{Server, ServerError};
pub use settings::{
    DatasetSettings, Insert, Keep, LimitSettings, Plain, PlainSettings, QuerySettings, QueueSettings,
    RelaySettings, Settings, SettingsError, StepSettings, TimeRange, TlsSettings, WarehouseSettings,
};
pub use signal::{Signals, Told, told_to_end};
pub use steps::chains;

/// What a job needs.
pub mod prelude {
    pub use algebra::{Group, Monoid, Semigroup};
    pub use flow::{
        BatchId, Batcher, CalendarUnit, ClientStore, Closing, GenerationStore, Generations, History, Hopping,
        Hybrid, HybridJob, HybridSource, Job, JobOptions, Live, Local, Memory, Open, Platform, Producer,
        Sink, SnapshotOptions, Snapshots, Source, Tail, Ticks, Timestamp, VecSource,
    };
    pub use store::{MemoryStore, Progress, Store};

    pub use crate::remote::Remote;
}
