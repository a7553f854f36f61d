//! Both doors on real ports, before a memory queue.

#![expect(
    clippy::unwrap_used,
    reason = "a test may fail where it stands; the setting knows test functions only"
)]

mod access;
mod door;
mod durability;
mod fuzz;
mod http;
mod http_binary;
mod http_cloudevents;
mod http_encodings;
mod http_fuzz;
mod http_logs;
mod http_segment;
mod memory;
mod put;
mod put_only;
mod relay;
mod serve;
mod sim;
mod tls;
