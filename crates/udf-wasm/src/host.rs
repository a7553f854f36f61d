//! What the host keeps of one instance: what it may still use, and what it did that is not allowed.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::{Error, ResourceLimiter, Result, StoreContextMut, Trap, UpdateDeadline};

use crate::limits::{Limits, PARTS_MAX, TABLE_ELEMENTS_MAX, TEXT_BYTES_MAX};

/// The state of an instance's store.
pub(crate) struct Host {
    limits: Limits,
    memory_bytes: usize,
    table_elements: usize,
    ends_at: Duration,
    refused: Option<String>,
    stderr: Vec<u8>,
    draws: u64,
}

impl Host {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            memory_bytes: 0,
            table_elements: 0,
            ends_at: Duration::MAX,
            refused: None,
            stderr: Vec::new(),
            draws: 0,
        }
    }

    /// A call begins: its time is counted from here, and nothing is held against it yet.
    pub(crate) fn begin(&mut self) {
        self.ends_at = thread_time().saturating_add(self.limits.time_max);
        self.refused = None;
        self.stderr.clear();
        self.draws = 0;
    }

    /// Bytes of all memories of the instance.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Ends the call for a reason that [`Host::why`] will tell.
    pub(crate) fn refuse(&mut self, reason: String) -> Error {
        self.refused = Some(reason);
        Error::from(Trap::Interrupt)
    }

    /// Keeps what the guest wrote to standard error, up to a limit.
    pub(crate) fn write_stderr(&mut self, bytes: impl Iterator<Item = u8>) {
        let room = TEXT_BYTES_MAX.saturating_sub(self.stderr.len());
        self.stderr.extend(bytes.take(room));
    }

    /// The next of a sequence that is the same in each call (SplitMix64: Steele, Lea, Flood, "Fast splittable
    /// pseudorandom number generators", OOPSLA 2014).
    pub(crate) fn draw(&mut self) -> u64 {
        self.draws = self.draws.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.draws;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Why a call ended with this error: the limit that it met, or the trap and what was said before it.
    pub(crate) fn why(&self, error: &Error) -> String {
        let why = match (&self.refused, error.downcast_ref::<Trap>()) {
            (Some(refused), _) => refused.clone(),
            (None, Some(Trap::StackOverflow)) => {
                format!(
                    "its calls nest too deep stack_bytes_max={}",
                    crate::limits::STACK_BYTES_MAX
                )
            }
            (None, Some(trap)) => format!("it crashed: {trap}"),
            (None, None) => format!("it crashed: {}", error.root_cause()),
        };
        match String::from_utf8_lossy(&self.stderr).trim() {
            "" => why,
            said => format!("{why} stderr={said:?}"),
        }
    }
}

/// Called at a tick on the thread of the call.
pub(crate) fn at_tick(mut store: StoreContextMut<'_, Host>) -> Result<UpdateDeadline> {
    let host = store.data_mut();
    if thread_time() < host.ends_at {
        return Ok(UpdateDeadline::Continue(1));
    }
    let max = host.limits.time_max;
    Err(host.refuse(format!(
        "it took more processor time than a call may: give it less to do, or raise the limit time_max={max:?}"
    )))
}

/// Processor time that this thread has used. A guest runs on the thread that calls it, and cannot wait for anything.
fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

impl ResourceLimiter for Host {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        let total = self.memory_bytes + desired.saturating_sub(current);
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        if total > self.limits.memory_bytes_max {
            self.refused = Some(format!(
                "it wanted more memory than an instance may: let it keep less, or raise the limit wanted={total} \
                 memory_bytes_max={}",
                self.limits.memory_bytes_max
            ));
            return Ok(false);
        }
        self.memory_bytes = total;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        let total = self.table_elements + desired.saturating_sub(current);
        let fits = maximum.is_none_or(|maximum| desired <= maximum);
        if fits && total > TABLE_ELEMENTS_MAX {
            self.refused = Some(format!(
                "it wanted larger tables than an instance may elements={total} elements_max={TABLE_ELEMENTS_MAX}"
            ));
        }
        let grows = fits && total <= TABLE_ELEMENTS_MAX;
        if grows {
            self.table_elements = total;
        }
        Ok(grows)
    }

    fn instances(&self) -> usize {
        PARTS_MAX
    }

    fn tables(&self) -> usize {
        PARTS_MAX
    }

    fn memories(&self) -> usize {
        PARTS_MAX
    }
}
