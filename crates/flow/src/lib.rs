//! Write-once aggregation: a job is `source → flat_map → sum_by_key(store)` with a semigroup in the middle, and
//! the same function runs on every [`Platform`].
//!
//! | name | what it is |
//! |---|---|
//! | [`Producer`] | a node of the graph, typed by its platform and its elements |
//! | [`Written`] | a producer with an effect; it is a [`Tail`], and a job needs at least one |
//! | [`SumByKey`] | a written sum by key, which other producers may join |
//! | [`counter`] | what functions count on the way |
//! | [`Platform`] | what can plan and run a job: [`Memory`] (the meaning), [`Local`] (this machine's cores), [`Hybrid`] (history in batch, live after it) |
//! | [`NodeOptions`], [`Planner`] | options of nodes by name; how the graph is rewritten before it runs |
//! | [`Graph`] | a job's graph as written, as planned, or with live counts; draws itself |
//! | [`Snapshots`], [`Live`], [`ClientStore`] | sums of history, sums since then, and the read of both |
//! | [`Generations`], [`GenerationStore`] | another definition of a job: filled beside the current one, and swapped in |
//! | [`Closing`], [`Ticks`] | when sums by key and batch are final, from watermarks; time for sources that fall silent |
//! | [`Source`], [`Sink`], [`Service`], `store::Store` | where elements come from and go, for `Local` |
//! | [`Workers`] | how many threads a job may use, and when, while it runs |
//! | [`laws`] | what a `Source` must do, as a suite |
//!
//! ```
//! use flow::{Memory, Platform, Producer, Tail};
//!
//! fn word_count<P: Platform>(lines: Producer<P, String>, counts: P::Store<String, u64>) -> impl Tail<P> {
//!     lines.flat_map(|line| line.split(' ').map(|w| (w.to_owned(), 1)).collect::<Vec<_>>()).sum_by_key(counts)
//! }
//!
//! let counts = <Memory as Platform>::Store::default();
//! let lines = vec![(flow::Timestamp(0), "to be or not to be".to_owned())];
//! Memory::run(&word_count(Producer::source(lines), counts.clone()));
//! assert_eq!(counts.lock().unwrap()["be"], 2);
//! ```
//!
//! Not here: events, HTTP, SQL. Nothing below reads a clock or a setting.

mod batch;
mod client;
mod closing;
mod counter;
mod element;
mod error;
mod framed;
mod generations;
mod graph;
mod history;
mod hybrid;
pub mod laws;
mod limits;
mod live;
mod local;
mod memory;
mod node;
mod options;
mod planner;
mod platform;
mod ports;
mod producer;
mod recent;
mod snapshots;
mod ticks;
mod windows;

pub use ::either::Either;
pub use batch::{BatchId, Batcher, CalendarUnit};
pub use client::{Answer, ClientStore, Coverage};
pub use closing::{CloseRule, Closed, Closing, Open, Window};
pub use counter::{Counter, Counts, counter};
pub use element::{Element, Key, Timestamp, Value};
pub use error::{Error, ErrorKind, Result};
pub use generations::{Filling, Generation, GenerationState, GenerationStore, Generations};
pub use graph::{Graph, NodeElements, NodeId, NodeInfo, NodeKind};
pub use history::{History, Within};
pub use hybrid::{Hybrid, HybridJob, HybridPlan, HybridSource};
pub use limits::{BUILD_BATCHES_MAX, LIVE_BATCHES_MAX, LIVE_VALUES_MAX, SNAPSHOTS_MAX};
pub use live::Live;
pub use local::{ClosingStatus, Job, JobOptions, JobState, JobStatus, JobView, Local, Turn, Workers};
pub use memory::Memory;
pub use options::{NodeOptions, PlanOptions};
pub use planner::{Draft, Form, Planner, Rule, rules};
pub use platform::{DeltaFn, FlatMapFn, JoinedSum, KeyFn, Platform, Summed};
pub use ports::{FromStore, Service, Sink, Slice, Source, VecSink, VecSource};
pub use producer::{ClosedWithLate, Corrected, Joined, Producer, SumByKey, Tail, Tails, Written};
pub use recent::Recent;
pub use snapshots::{Build, PruneFn, Read, SnapshotOptions, Snapshots, Totals, Versions};
pub use ticks::Ticks;
pub use windows::Hopping;
