//! What each family costs: update, merge, bytes; beside the exact structure and the bare library.
//!
//! `cargo bench -p algebra`.

mod aggregates;
mod counts;
mod decay;
mod distinct;
mod numbers;
mod quantiles;
mod structures;

fn main() {
    divan::main();
}
