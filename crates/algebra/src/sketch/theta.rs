//! theta.
