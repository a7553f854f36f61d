//! The program `sanderling`: one binary, one verb for each thing to do.

mod command;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;

use crate::command::{Command, Failure};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is logged unless `SANDERLING_LOG` says otherwise. The queue tells what it deletes. DataFusion warns at each query that it cannot use the
/// statistics of a file that this project has pruned by already.
const LOG: &str = "warn,sanderling=info,queue=info,datafusion_common=error";

/// An event pipeline and write-once aggregation in one: emit an event, and a moment later it is in SQL.
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// Memory that was freed stays with the process for so long: tails and files come and go many times a minute, and
/// to get each page anew from the system costs more than to fill it.
const FREED_MEMORY_STAYS_MS: std::ffi::c_long = 10_000;
/// `mi_option_purge_delay` of `mimalloc.h`, to which the crate gives no name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// The environment's `MIMALLOC_PURGE_DELAY` wins.
#[expect(unsafe_code, reason = "the allocator's options are set in C")]
fn keep_freed_memory() {
    // SAFETY: it must not be called by several threads at a time; there are no others yet.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, FREED_MEMORY_STAYS_MS) }
}

fn main() -> ExitCode {
    keep_freed_memory();
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("SANDERLING_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(LOG));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(arguments.command.run());
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            match failure {
                Failure::Settings(_) => ExitCode::from(78),
                Failure::Other(_) => ExitCode::FAILURE,
            }
        }
    }
}
