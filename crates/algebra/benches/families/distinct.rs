//! Costs: distinct.
