//! The engine that compiles and runs components, and the thread that looks at the time of calls.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};

use wasmtime::{Config, Engine};

use crate::limits::{STACK_BYTES_MAX, TICK};
use crate::{LoadError, LoadErrorKind};

/// What all functions of a process stand on: one compiler and one thread that ticks while calls run.
///
/// A clone is the same runtime. The thread ends with the last clone and the last function.
#[derive(Clone)]
pub struct Runtime {
    engine: Engine,
    ticker: Arc<Ticker>,
}

/// Ends the thread when it is dropped.
struct Ticker {
    calls: Arc<Calls>,
    thread: Thread,
}

#[derive(Default)]
struct Calls {
    running: AtomicUsize,
    ended: AtomicBool,
}

/// A call that runs; the ticks go on until it is dropped.
pub(crate) struct RunningCall<'a>(&'a Calls);

impl Runtime {
    /// A runtime whose answers are the same on each machine: floating point and vector instructions are those of the
    /// standard, to the bit.
    ///
    /// # Errors
    /// `Unavailable` where WebAssembly cannot be compiled for this processor, or a thread cannot be started.
    pub fn new() -> Result<Self, LoadError> {
        let mut config = Config::new();
        config
            .cranelift_nan_canonicalization(true)
            .relaxed_simd_deterministic(true)
            .epoch_interruption(true)
            .max_wasm_stack(STACK_BYTES_MAX)
            .wasm_backtrace_max_frames(None);
        let engine = Engine::new(&config).map_err(|error| {
            let text = format!("WebAssembly cannot be run here: {error:#}");
            LoadError::new(LoadErrorKind::Unavailable, text)
        })?;
        let calls = Arc::new(Calls::default());
        let (ticking, ticked) = (calls.clone(), engine.clone());
        let thread = thread::Builder::new()
            .name("udf-wasm-ticks".to_owned())
            .spawn(move || tick(&ticking, &ticked))
            .map_err(|error| {
                let text = format!("the thread that looks at the time cannot be started: {error}");
                LoadError::new(LoadErrorKind::Unavailable, text)
            })?;
        let thread = thread.thread().clone();
        let ticker = Arc::new(Ticker { calls, thread });
        Ok(Self { engine, ticker })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Has the engine tick as long as the call is kept.
    pub(crate) fn call(&self) -> RunningCall<'_> {
        let calls = &self.ticker.calls;
        if calls.running.fetch_add(1, Ordering::SeqCst) == 0 {
            self.ticker.thread.unpark();
        }
        RunningCall(calls)
    }
}

/// An unpark before the park makes the park return, so no first call is missed.
fn tick(calls: &Calls, engine: &Engine) {
    while !calls.ended.load(Ordering::SeqCst) {
        if calls.running.load(Ordering::SeqCst) == 0 {
            thread::park();
        } else {
            thread::sleep(TICK);
            engine.increment_epoch();
        }
    }
}

impl Drop for RunningCall<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.calls.ended.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").finish_non_exhaustive()
    }
}
