//! The whole way, in one process and in several.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod access;
mod bench;
mod crash;
mod datasets;
mod faults;
mod graph;
mod http;
mod ingest;
mod job;
mod plain;
mod process;
mod program;
mod retention;
mod seam;
mod service;
mod support;
mod verify;
