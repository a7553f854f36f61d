//! The derives of the crate `algebra`: a struct is what all its fields are.
