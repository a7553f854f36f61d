//! Costs: aggregates.
