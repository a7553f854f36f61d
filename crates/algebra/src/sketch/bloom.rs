//! bloom.
