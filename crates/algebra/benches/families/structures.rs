//! Costs: structures.
