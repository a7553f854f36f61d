//! Costs: decay.
