//! Costs: counts.
