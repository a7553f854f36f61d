//! Client, aggregator and queue in a simulated world: whatever goes wrong, what was acked is there once and in order.

pub(crate) mod chance;
mod emitter;
mod judge;
mod queue;
mod wire;
mod world;

use std::time::Instant;

use world::{Summary, run};

const SEED: &str = "SANDERLING_SIM_SEED";
const SEEDS: &str = "SANDERLING_SIM_SEEDS";
const SEEDS_DEFAULT: u64 = 100;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, it is {text:?}")),
    )
}

fn checked(seed: u64) -> Summary {
    run(seed).unwrap_or_else(|what| {
        panic!(
            "seed {seed}: {what}\nreplay it: {SEED}={seed} cargo test -p aggregator --test it sim::every_seed"
        )
    })
}

#[test]
fn every_seed_keeps_what_it_acked() {
    let start = Instant::now();
    if let Some(seed) = setting(SEED) {
        println!("{:#?}", checked(seed));
        return;
    }
    let mut all: Vec<Summary> = Vec::new();
    for seed in 0..setting(SEEDS).unwrap_or(SEEDS_DEFAULT) {
        all.push(checked(seed));
    }
    println!("{all:#?} {:?}", start.elapsed());
}

#[test]
fn a_seed_is_a_world() {
    for seed in 0..6 {
        assert_eq!(checked(seed).trace, checked(seed).trace, "seed={seed}");
    }
}
