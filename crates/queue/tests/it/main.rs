//! The log seen from outside: what a process that is killed leaves behind.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod kill;
