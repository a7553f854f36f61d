//! Costs: quantiles.
