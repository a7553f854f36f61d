//! The instances for the types of the language and of std, and the small wrappers that choose a sum for them.

mod choices;
mod integers;
mod maps;
mod options;
mod sequences;
mod sets;
mod tuples;

pub use choices::{First, Last, Max, Min};
