//! From arguments to an exit code.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};

use super::answers::Answers;
use super::arguments::{Arguments, Drawing, PlatformFlag, examples};
use super::declared::{Declared, check_options};
use super::error::Failure;
use super::plan::Plan;
use super::session::{Opening, Session};
use super::{Program, hybrid, local, look, memory, print};
use crate::told_to_end;

/// What is logged unless `SANDERLING_LOG` says otherwise.
const LOG: &str = "warn";
/// The exit code of arguments that cannot be.
const ARGUMENTS: u8 = 78;

pub(super) fn main<J: Program>() -> ExitCode {
    let arguments = match parse::<J>() {
        Ok(arguments) => arguments,
        Err(error) => {
            // A closed pipe is nothing to complain about.
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(ARGUMENTS),
            };
        }
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("SANDERLING_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(LOG));
    // Fails when the program has a subscriber of its own, which is as good.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
    let outcome = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let outcome = run::<J>(&arguments, &runtime);
            runtime.shutdown_timeout(Duration::from_secs(1));
            outcome
        }
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            match failure {
                Failure::Arguments(_) => ExitCode::from(ARGUMENTS),
                Failure::Other(_) => ExitCode::FAILURE,
            }
        }
    }
}

fn parse<J: Program>() -> Result<Arguments<J::Flags>, clap::Error> {
    let program = std::env::args().next().unwrap_or_default();
    let program = std::path::Path::new(&program)
        .file_name()
        .map_or(J::NAME.into(), |name| name.to_string_lossy());
    let command = Arguments::<J::Flags>::command()
        .name(J::NAME)
        .about(J::ABOUT.trim())
        .after_help(examples(&program));
    Arguments::from_arg_matches(&command.try_get_matches()?)
}

fn run<J: Program>(
    Arguments { flags, own }: &Arguments<J::Flags>,
    runtime: &tokio::runtime::Runtime,
) -> Result<(), Failure> {
    let declared = Declared::of::<J>(own)?;
    if let Some(drawing) = flags.graph {
        let text = match drawing {
            Drawing::Dot => declared.graph.to_dot(),
            Drawing::Mermaid => declared.graph.to_mermaid(),
        };
        return Ok(std::io::stdout().write_all(text.as_bytes())?);
    }
    let plan = Plan::new(J::NAME, &declared, flags)?;
    check_options::<J>(own, &plan.options.plan).map_err(Failure::arguments)?;
    let _entered = runtime.enter();
    let looks = flags.dry_run || flags.get.is_some();
    let opening = if looks {
        Opening::OnlyWhatIsThere
    } else {
        Opening::Making
    };
    let session = Session::new(plan, runtime.handle().clone(), opening)?;
    if flags.dry_run {
        let said = look::dry_run::<J>(&session, own)?;
        return Ok(std::io::stdout().write_all(said.as_bytes())?);
    }
    if let Some(key) = &flags.get {
        let answers = look::answers::<J>(&session, own)?;
        return runtime.block_on(print::one(&answers, key, flags.at, flags.format));
    }
    let answers: Vec<Box<dyn Answers>> = match flags.platform {
        PlatformFlag::Memory => {
            // Nothing is kept, so there is nothing to wait for.
            runtime.spawn(async {
                if told_to_end().await.is_ok() {
                    std::process::exit(0);
                }
            });
            memory::run::<J>(&session, own)?
        }
        PlatformFlag::Local => local::run::<J>(&session, own)?,
        PlatformFlag::Batch | PlatformFlag::Hybrid => hybrid::run::<J>(&session, own)?,
    };
    runtime.block_on(print::sums(&answers, flags.at, flags.print, flags.format))
}
