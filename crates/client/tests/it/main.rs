//! The client against the aggregator's Flight door on real ports, before a memory queue.

#![expect(
    clippy::unwrap_used,
    reason = "a test may fail where it stands; the setting knows test functions only"
)]

mod connector;
mod emit;
mod failover;
mod read;
mod relay;
mod server;
mod spool;
mod store;
mod validation;
