//! The instances for the types of the language and of std, and the small wrappers that choose a sum for them.

mod adaptive_vector;
mod arrays;
mod choices;
mod endo;
mod eventually;
mod integers;
mod keyed_choices;
mod maps;
mod options;
mod pointwise;
mod results;
mod sequences;
mod sets;
mod sparse_maps;
mod truths;
mod tuples;
mod wrappers;

pub use adaptive_vector::AdaptiveVector;
pub use choices::{First, Last, Max, Min};
pub use endo::Endo;
pub use eventually::{Condense, Eventually};
pub use keyed_choices::{Earliest, Latest, MaxBy, MinBy};
pub use maps::sum_by_key;
pub use pointwise::Pointwise;
pub use sparse_maps::{SparseHashMap, SparseMap};
pub use truths::{All, Any};
