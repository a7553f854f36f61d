//! Costs: numbers.
