//! How many threads each job is given, and when: the decision, the shares, the turns, and the loop that applies them.
//!
//! Each second, of each job: what is behind and how long ([`Observation`]) → how many workers it wants ([`decide`]) → how
//! many it gets beside the others ([`share`]) → at most so many of its chunks of work have a turn at once. The first three
//! are pure functions; [`Scaler`] is the loop.

mod cpu;
mod decide;
mod lag;
mod scaler;
mod share;
mod turns;

pub use decide::{Decision, Limits, Observation, Reason, State, decide};
pub use lag::{Lag, Measured};
pub use scaler::{JobScale, ScaleOptions, ScaleStatus, Scaler};
pub use share::{Demand, capacity, share};
