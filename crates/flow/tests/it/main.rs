//! What jobs mean, and that `Local` means the same as `Memory` whatever fails.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod aggregated;
mod client;
mod closing;
mod counters;
mod crash;
mod effects;
mod engine;
mod faulty;
mod generations;
mod graphs;
mod graphs_of_old;
mod history;
mod hybrid;
mod jobs;
mod joins;
mod keyed;
mod kill;
mod kit;
mod late;
mod operators;
mod options;
mod planner;
mod rules;
mod snapshots;
mod workers;
