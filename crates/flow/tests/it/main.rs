//! What jobs mean, and that `Local` means the same as `Memory` whatever fails.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod client;
mod crash;
mod engine;
mod faulty;
mod graphs;
mod history;
mod hybrid;
mod jobs;
mod keyed;
mod kit;
mod snapshots;
