//! What time takes away: sums, averages and windows whose older parts count less, or not at all.
//!
//! Time is the caller's: a plain number (milliseconds, say) given with each part. Nothing here knows a clock.
//!
//! | older parts | type |
//! |---|---|
//! | fade by half in each half-life | [`DecayedValue`], [`DecayedVector`] for each key |
//! | fade by a share with each later item | [`ExponentialAverage`] |
//! | fade as a power of their age since a landmark | [`ForwardDecay`] |
//! | are gone after `N` later items | [`Window`] |
//!
//! Those that are approximate are sketches: [`exponential_histogram`](crate::sketch::exponential_histogram) counts in a
//! window of time, [`decaying_count_min`](crate::sketch::decaying_count_min) fades for each of very many keys.

mod exponential_average;
mod forward;
pub(crate) mod half_lives;
mod value;
mod vector;
mod window;

pub use exponential_average::ExponentialAverage;
pub use forward::ForwardDecay;
pub use value::DecayedValue;
pub use vector::DecayedVector;
pub use window::Window;
