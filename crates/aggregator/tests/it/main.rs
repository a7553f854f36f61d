//! Both doors on real ports, before a memory queue.

#![expect(
    clippy::unwrap_used,
    reason = "a test may fail where it stands; the setting knows test functions only"
)]

mod door;
mod fuzz;
mod http;
mod put;
mod relay;
mod sim;
