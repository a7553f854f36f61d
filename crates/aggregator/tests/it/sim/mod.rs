//! Client, aggregator and queue in a simulated world: whatever goes wrong, what was acked is there, once and in order.
//!
//! # The model
//!
//! 1 to 4 processes with the real client (lines and rows for 1 to 3 datasets) and 1 or 2 aggregators with the real
//! `do_put` behind the real gRPC server, over a simulated network ([`turmoil`]), before one queue that is a model
//! (`queue.rs`): it obeys the laws of [`::queue::Queue`], but what it takes is durable only after a sync. In some worlds
//! 1 or 2 relays stand between. One seed makes one world: hosts, options, what is emitted when, what goes wrong when. Time
//! is simulated and all hosts run on one thread. What goes wrong when is the same each time (tested). What comes of it
//! mostly is, to the number that `trace` prints, but not always: something below this module is not under the seed. A seed
//! that fails may have to be run more than once to fail again.
//!
//! What goes wrong for 3 s, several things at a time (`world.rs`): links that lose all messages, in one direction or
//! both; links that hold them and let them go later; slow links; connections cut in the middle of a write, at either
//! end; processes, relays and aggregators that crash, unheard, and start again; a
//! queue that loses its power with all that is not synced but for some prefix; aggregators whose answers stall; a queue
//! that is busy, slow, or fails to sync; batches that it refuses for good; clocks that jump by a day. Then all is
//! mended, and the clients must come to their end.
//!
//! What must hold then (`judge.rs`), of every life of every process, crashed or not:
//! * what its client counts as acked is in the queue; what it counts as refused is what the queue refused;
//! * nothing is there twice, nothing out of the order it was emitted in, nothing that was not emitted, nothing that
//!   `emit` said it did not take or counted as dropped;
//! * of a life that was not cut short, everything emitted is acked or counted as refused.
//!
//! # Not modelled
//!
//! Files (the client's spool and `LogQueue` have models of their own; a relay's spool is on the real disk, so its worlds
//! are not the same each time), threads, TLS, the text door, an aggregator that is closed gently, messages that are lost
//! one by one (TCP sends them again; here a lost message stalls its connection for good), batches of a relay's spool that
//! the queue refuses for good, and a queue that loses its power while an aggregator before it lives on: a stream
//! that survives would bring batches from the middle of what was lost, and of an emitter that is not known the law *no
//! holes* lets any sequence be the first.
//!
//! # Running
//!
//! `SANDERLING_SIM_SEED=7` runs one world and prints what happened in it, `SANDERLING_SIM_SEEDS=5000` runs the first
//! so many.

pub(crate) mod chance;
mod emitter;
mod judge;
mod queue;
mod wire;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use world::{Edges, Summary, run};

const SEED: &str = "SANDERLING_SIM_SEED";
const SEEDS: &str = "SANDERLING_SIM_SEEDS";
const SEEDS_DEFAULT: u64 = 120;
/// Worlds at a time; each is on one of them.
const THREADS: usize = 2;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} must be a number, it is {text:?}")))
}

fn checked(seed: u64, edges: Edges) -> Summary {
    // On a thread of its own: what a thread remembers is no part of a world.
    let what = match std::thread::spawn(move || run(seed, edges)).join() {
        Ok(Ok(summary)) => return summary,
        Ok(Err(what)) => what,
        Err(_) => "a panic, see above".to_owned(),
    };
    let test = match edges {
        Edges::None => "sim::every_seed",
        Edges::Waiting => "sim::relays_that_wait",
        Edges::Spooling => "sim::relays_that_spool",
    };
    panic!("seed {seed}: {what}\nreplay it: {SEED}={seed} cargo test -p aggregator --test it {test}")
}

/// Runs the worlds that are asked for, on some threads, and sums up what happened in them.
fn all(seeds_default: u64, edges: Edges) -> Option<Summary> {
    if let Some(seed) = setting(SEED) {
        println!("{:#?}", checked(seed, edges));
        return None;
    }
    let seeds = setting(SEEDS).unwrap_or(seeds_default);
    let (next, sum) = (AtomicU64::new(0), Mutex::new(Summary::default()));
    let work = || {
        while let seed = next.fetch_add(1, Ordering::SeqCst)
            && seed < seeds
        {
            let summary = checked(seed, edges);
            sum.lock().unwrap().add(&summary);
        }
    };
    std::thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(work))));
    let sum = sum.into_inner().unwrap();
    println!("{sum:#?}");
    (seeds >= seeds_default).then_some(sum)
}

#[test]
fn every_seed_keeps_what_it_acked() {
    if let Some(sum) = all(SEEDS_DEFAULT, Edges::None) {
        let never = sum.counts.iter().find(|(_, count)| **count == 0);
        assert!(never.is_none(), "a simulation without {never:?}");
    }
}

#[test]
fn relays_that_wait_keep_what_they_acked() {
    all(SEEDS_DEFAULT / 10, Edges::Waiting);
}

#[test]
fn relays_that_spool_keep_what_they_acked() {
    all(SEEDS_DEFAULT / 20, Edges::Spooling);
}

#[test]
fn a_seed_is_a_plan() {
    for seed in 0..6 {
        let (one, other) = (checked(seed, Edges::None), checked(seed, Edges::None));
        assert!(!one.plan.is_empty(), "seed={seed}");
        assert_eq!(one.plan, other.plan, "seed={seed}");
    }
}
