//! What one would write by hand: a loop for each thread over its part of the input, and merges at the end, a table by
//! each thread.

use std::io;
use std::path::Path;
use std::thread;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};

use crate::Parts;
use crate::input::Blocks;
use crate::workload::{Sums, Workload, merge};

/// Sums a file.
pub(crate) fn run<W: Workload>(path: &Path, threads: usize) -> io::Result<Parts<W::Key>> {
    let hasher = RandomState::default();
    let read = in_threads((0..threads).collect(), |index| {
        let mut sums = Sums::new(threads, &hasher);
        let mut blocks = Blocks::part(path, index, threads)?;
        while let Some(text) = blocks.next()? {
            sums.add_all::<W>(text);
        }
        io::Result::Ok(sums.take())
    });
    let mut read = read.into_iter().collect::<io::Result<Vec<_>>>()?;
    let mergeable: Vec<Vec<HashTable<_>>> = (0..threads)
        .map(|_| read.iter_mut().filter_map(Vec::pop).collect())
        .collect();
    let merged = in_threads(mergeable, |tables| merge(tables, &hasher));
    Ok(merged
        .into_iter()
        .map(|table| Box::new(table.into_iter()) as _)
        .collect())
}

/// Counts numbers that are made in the loop.
pub(crate) fn linear(elements: u64, threads: usize) -> Parts<u64> {
    let count = threads as u64;
    let counted = in_threads((0..count).collect(), |index| {
        let (from, until) = (elements * index / count, elements * (index + 1) / count);
        let mut sums = HashMap::<u64, u64, RandomState>::default();
        for number in from..until {
            *sums.entry(crate::generate::key_of(number)).or_default() += 1;
        }
        sums
    });
    let merged = counted.into_iter().reduce(|mut one, other| {
        for (key, sum) in other {
            *one.entry(key).or_default() += sum;
        }
        one
    });
    vec![Box::new(merged.unwrap_or_default().into_iter())]
}

/// A thread for each input.
fn in_threads<I: Send, O: Send>(inputs: Vec<I>, work: impl Fn(I) -> O + Sync) -> Vec<O> {
    thread::scope(|scope| {
        let spawn = |input| {
            scope.spawn({
                let work = &work;
                move || work(input)
            })
        };
        let spawned: Vec<_> = inputs.into_iter().map(spawn).collect();
        spawned
            .into_iter()
            .map(|thread| thread.join().expect("no loop panics"))
            .collect()
    })
}
