//! t_digest.
