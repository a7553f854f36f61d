//! What jobs mean, and that `Local` means the same as `Memory` whatever fails.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod aggregated;
mod client;
mod counters;
mod crash;
mod engine;
mod faulty;
mod graphs;
mod graphs_of_old;
mod history;
mod hybrid;
mod jobs;
mod joins;
mod keyed;
mod kit;
mod late;
mod operators;
mod options;
mod planner;
mod rules;
mod snapshots;
