//! The maxima of steps in WebAssembly: those that can be set, and those that stand.

use std::time::Duration;

/// A component's bytes. (A small guest in Rust has 1.4 MB.)
pub const COMPONENT_BYTES_MAX: usize = 64 << 20;
/// The rows of one call as an Arrow IPC stream. A larger call is asked for in halves.
pub const INPUT_BYTES_MAX: usize = 64 << 20;
/// Instances of one function that wait for their next call; more are dropped. With [`IDLE_MEMORY_BYTES_MAX`]: what a
/// function that is not called keeps.
pub const IDLE_INSTANCES_MAX: usize = 16;
/// The memory with which an instance still waits for its next call; what has grown beyond is dropped.
pub const IDLE_MEMORY_BYTES_MAX: usize = 32 << 20;
/// The stack of calls within a component, without what the guest's compiler keeps in memory.
pub const STACK_BYTES_MAX: usize = 512 << 10;
/// Core instances, memories and tables in one instance of a component.
pub const PARTS_MAX: usize = 64;
/// Elements of all tables of an instance.
pub const TABLE_ELEMENTS_MAX: usize = 1 << 20;
/// What is kept of a guest's text: a reason, or what it wrote to standard error in one call.
pub const TEXT_BYTES_MAX: usize = 4 << 10;
/// How often the time of a call that runs is looked at.
pub const TICK: Duration = Duration::from_millis(10);

/// What one call of a function may use. Each call on another thread has as much again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory that an instance may grow to, all its memories together. Default 256 MiB; at most 4 GiB.
    pub memory_bytes_max: usize,
    /// Processor time of one call, looked at every [`TICK`]. A machine that is busy with other things does not shorten
    /// it. Default 10 s.
    pub time_max: Duration,
    /// Bytes of the Arrow IPC stream that comes out of one call. Default 128 MiB.
    pub output_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 256 << 20,
            time_max: Duration::from_secs(10),
            output_bytes_max: 128 << 20,
        }
    }
}

// Offsets of text in one batch are 32 bits.
const _: () = assert!(INPUT_BYTES_MAX < i32::MAX as usize);
