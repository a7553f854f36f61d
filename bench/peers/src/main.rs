//! The contestants in Rust, one process a run: makes input, runs one contestant on it, and sums what others wrote.
//!
//! A run prints one line of JSON: seconds, CPU seconds and peak memory up to the moment when all sums are in memory, and
//! then, not timed, the digest of them.

mod dataflow;
mod digest;
mod generate;
mod hand;
mod input;
mod local;
mod measure;
mod workload;

use std::io;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::dataflow::Sends;
use crate::digest::Digest;
use crate::generate::Shape;
use crate::local::Elements;
use crate::measure::Clock;
use crate::workload::{Keyed, Words, Workload};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Results of a contestant: keys with their sums, in parts that have no key in common.
type Parts<K> = Vec<Box<dyn Iterator<Item = (K, u64)>>>;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Writes text: words, or lines of a key and a number.
    Generate {
        shape: Shape,
        path: PathBuf,
        /// Words or lines.
        elements: u64,
        /// Distinct words (about) or keys (exactly, when there are three times as many lines or more).
        keys: u64,
        #[arg(default_value_t = 1)]
        seed: u64,
    },
    /// Counts words, or sums numbers by key, of a file.
    Run {
        shape: Shape,
        contestant: Contestant,
        path: PathBuf,
        #[arg(long, default_value_t = 2)]
        threads: usize,
    },
    /// Counts numbers that the source makes, by 100,000 keys.
    Linear {
        contestant: Contestant,
        elements: u64,
        #[arg(long, default_value_t = 2)]
        threads: usize,
    },
    /// The digest of files with a line `key,sum` each.
    Digest { paths: Vec<PathBuf> },
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Contestant {
    /// A loop for each thread, merged at the end.
    Hand,
    /// Timely dataflow: each pair is sent to the worker that has its key.
    Timely,
    /// Timely dataflow: each worker sums its input, then sends the sums.
    TimelyPreAggregated,
    /// `Local` on a store in memory; elements are lines.
    Local,
    /// `Local` on a store in memory; elements are blocks of 64 KiB of lines.
    LocalBlocks,
    /// `Local` on a store on disk; elements are lines.
    LocalEmbedded,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match Arguments::parse().verb {
        Verb::Generate {
            shape,
            path,
            elements,
            keys,
            seed,
        } => generate::write(shape, &path, elements, keys, seed)?,
        Verb::Run {
            shape: Shape::Words,
            contestant,
            path,
            threads,
        } => run::<Words>(contestant, path, threads)?,
        Verb::Run {
            shape: Shape::Keyed,
            contestant,
            path,
            threads,
        } => run::<Keyed>(contestant, path, threads)?,
        Verb::Linear {
            contestant: Contestant::Hand,
            elements,
            threads,
        } => report(Clock::start(), || Ok(hand::linear(elements, threads)))?,
        Verb::Linear {
            contestant: Contestant::Local,
            elements,
            threads,
        } => report(Clock::start(), || local::linear(elements, threads))?,
        Verb::Linear { .. } => return Err("only `hand` and `local` run `linear`".into()),
        Verb::Digest { paths } => {
            let mut digest = Digest::default();
            paths.iter().try_for_each(|path| digest.add_file(path))?;
            println!("{}", digest.json());
        }
    }
    Ok(())
}

fn run<W: Workload>(contestant: Contestant, path: PathBuf, threads: usize) -> io::Result<()> {
    report(Clock::start(), || match contestant {
        Contestant::Hand => hand::run::<W>(&path, threads),
        Contestant::Timely => dataflow::run::<W>(&path, threads, Sends::Pairs),
        Contestant::TimelyPreAggregated => dataflow::run::<W>(&path, threads, Sends::Sums),
        Contestant::Local => local::run::<W>(&path, threads, Elements::Lines),
        Contestant::LocalBlocks => local::run::<W>(&path, threads, Elements::Blocks),
        Contestant::LocalEmbedded => local::run_embedded::<W>(&path, threads),
    })
}

/// Prints what a contestant took, and then the digest of what it found.
fn report<K: std::fmt::Display>(
    clock: Clock,
    contestant: impl FnOnce() -> io::Result<Parts<K>>,
) -> io::Result<()> {
    let parts = contestant()?;
    let taken = clock.stop()?;
    let mut digest = Digest::default();
    for (key, sum) in parts.into_iter().flatten() {
        digest.add(&key, sum);
    }
    let mut line = digest.json();
    taken.add_to(&mut line);
    println!("{line}");
    Ok(())
}
