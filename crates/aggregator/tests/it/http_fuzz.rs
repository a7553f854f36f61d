//! Bodies that are not what they say.
