//! The client against the aggregator's Flight door on real ports, before a memory queue.

#![expect(
    clippy::unwrap_used,
    reason = "a test may fail where it stands; the setting knows test functions only"
)]

mod access;
mod acks;
mod connector;
mod emit;
mod failover;
mod flags;
mod read;
mod server;
mod spool;
mod store;
mod tracers;
mod validation;
