//! The client against the aggregator's Flight door on real ports, before a memory queue.

mod emit;
mod read;
mod server;
mod store;
