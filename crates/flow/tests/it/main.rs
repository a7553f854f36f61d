//! What jobs mean, and that `Local` means the same as `Memory` whatever fails.

mod crash;
mod engine;
mod graphs;
mod jobs;
mod kit;
