//! kll.
