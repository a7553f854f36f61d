//! Client, aggregator and queue in a simulated world: whatever goes wrong, what was acked is there, once and in order.
//!
//! # The model
//!
//! 1 to 4 processes with the real client (lines and rows for 1 to 3 datasets) and 1 or 2 aggregators with the real
//! `do_put` behind the real gRPC server, over a simulated network ([`turmoil`]), before one queue that is a model
//! (`queue.rs`): it obeys the laws of [`::queue::Queue`], but what it takes is durable only after a sync. One seed makes one
//! world: hosts, options, what is emitted when, what goes wrong when. Time is simulated, all hosts run on one thread, and the same seed
//! gives the same batches at the same times (tested).
//!
//! What goes wrong for 3 s, several things at a time (`world.rs`): links that lose all messages, in one direction or both; links that hold them
//! and let them go later; slow links; connections cut in the middle of a write, at either end; processes and aggregators that crash, with or
//! without the other side hearing of it, and start again; a queue that loses its power with all that is not synced but for some prefix; aggregators whose
//! answers stall; a queue that is busy, slow, or fails to sync; batches that it refuses for good; clocks that jump by days. Then all is mended, and the clients must come to their end.
//!
//! What must hold then (`judge.rs`), of every life of every process, crashed or not:
//! * what its client counts as acked is in the queue; what it counts as refused is what the queue refused;
//! * nothing is there twice, nothing out of the order it was emitted in, nothing that was not emitted, nothing that `emit` said it did not take
//!   or counted as dropped;
//! * of a life that was not cut short, everything emitted is acked or counted as refused.
//!
//! # Not modelled
//!
//! Files (the client's spool and `LogQueue` have models of their own), threads, TLS, the text door, an aggregator that
//! is closed gently, messages that are lost one by one (TCP sends them again; here a lost message stalls its connection for good), and a queue that loses its power while an
//! aggregator before it lives on: a stream that survives would bring batches from the middle of what was lost, and
//! of an emitter that is not known the law *no holes* lets any sequence be the first.
//!
//! # Running
//!
//! `SANDERLING_SIM_SEED=7` runs one world and prints what happened in it, `SANDERLING_SIM_SEEDS=5000` runs the first so many.

pub(crate) mod chance;
mod emitter;
mod judge;
mod queue;
mod wire;
mod world;

use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use world::{Summary, run};

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

fn checked(seed: u64) -> Summary {
    let what = match catch_unwind(|| run(seed)) {
        Ok(Ok(summary)) => return summary,
        Ok(Err(what)) => what,
        Err(_) => "a panic, see above".to_owned(),
    };
    panic!("seed {seed}: {what}\nreplay it: {SEED}={seed} cargo test -p aggregator --test it sim::every_seed")
}

#[test]
fn every_seed_keeps_what_it_acked() {
    if let Some(seed) = setting(SEED) {
        println!("{:#?}", checked(seed));
        return;
    }
    let seeds = setting(SEEDS).unwrap_or(SEEDS_DEFAULT);
    let (next, sum) = (AtomicU64::new(0), Mutex::new(Summary::default()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= seeds {
                        return;
                    }
                    let summary = checked(seed);
                    sum.lock().unwrap().add(&summary);
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap();
    println!("{sum:#?}");
    let never = sum.counts.iter().find(|(_, count)| **count == 0);
    assert!(
        seeds < SEEDS_DEFAULT || never.is_none(),
        "a simulation without {never:?}"
    );
}

#[test]
fn a_seed_is_a_world() {
    for seed in 0..6 {
        assert_eq!(checked(seed), checked(seed), "seed={seed}");
    }
}
