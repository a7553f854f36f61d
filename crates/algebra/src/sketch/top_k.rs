//! top_k.
