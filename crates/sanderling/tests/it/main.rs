//! The whole way, in one process and in several.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod crash;
mod http;
mod ingest;
mod job;
mod seam;
mod support;
