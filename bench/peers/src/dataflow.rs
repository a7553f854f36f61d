//! The same in timely dataflow: a source for each worker, an exchange by key, a map for each worker.

use std::cell::RefCell;
use std::hash::BuildHasher;
use std::io;
use std::path::Path;
use std::rc::Rc;

use foldhash::fast::{FixedState, RandomState};
use hashbrown::HashMap;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::{Operator, source};
use timely::dataflow::{Scope, StreamVec};

use crate::Parts;
use crate::input::Blocks;
use crate::workload::{Sums, Workload};

type Received<K> = HashMap<K, u64, RandomState>;

/// What a worker sends to the worker that has a key.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Sends {
    /// Each pair as it is read.
    Pairs,
    /// The sums of its part of the input, at the end.
    Sums,
}

/// Sums a file.
pub(crate) fn run<W: Workload>(path: &Path, workers: usize, sends: Sends) -> io::Result<Parts<W::Key>> {
    let path = path.to_owned();
    let config = timely::Config::process(workers);
    let guards = timely::execute(config, move |worker| {
        let blocks = Blocks::part(&path, worker.index(), worker.peers())?;
        let received = Rc::new(RefCell::new(Received::<W::Key>::default()));
        let sums = received.clone();
        worker.dataflow::<u64, _, _>(|scope| {
            let by_key = Exchange::new(|(key, _): &(W::Key, u64)| FixedState::default().hash_one(key));
            pairs::<W>(scope, blocks, sends).sink(by_key, "sums", move |(input, _)| {
                let mut sums = sums.borrow_mut();
                input.for_each(|_, pairs| {
                    for (key, number) in pairs.drain(..) {
                        *sums.entry(key).or_default() += number;
                    }
                });
            });
        });
        while worker.step_or_park(None) {}
        Ok(received.take())
    });
    let guards = guards.map_err(io::Error::other)?;
    let sums: Vec<io::Result<Received<W::Key>>> = guards
        .join()
        .into_iter()
        .map(|sums| sums.map_err(io::Error::other)?)
        .collect();
    let mut parts: Parts<W::Key> = Vec::new();
    for sums in sums {
        parts.push(Box::new(sums?.into_iter()));
    }
    Ok(parts)
}

/// Reads a block each time it is scheduled.
fn pairs<'scope, W: Workload>(
    scope: Scope<'scope, u64>,
    blocks: Blocks,
    sends: Sends,
) -> StreamVec<'scope, u64, (W::Key, u64)> {
    source(scope, "pairs", |capability, info| {
        let activator = scope.activator_for(info.address);
        let mut reading = Some((capability, blocks));
        let mut sums = Sums::<W::Key>::new(1, &RandomState::default());
        move |output| {
            let Some((capability, blocks)) = &mut reading else {
                return;
            };
            let mut session = output.session(capability);
            match (blocks.next().expect("the input can be read"), sends) {
                (Some(text), Sends::Pairs) => {
                    W::pairs(text, |seen, number| session.give((W::own(seen), number)))
                }
                (Some(text), Sends::Sums) => sums.add_all::<W>(text),
                (None, _) => {
                    session.give_iterator(sums.take().into_iter().flatten());
                    drop(session);
                    reading = None;
                    return;
                }
            }
            activator.activate();
        }
    })
}
