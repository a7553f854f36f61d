//! Files as sources: the laws, and naive readings of the same files.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod kit;
mod lines;
