//! dd_sketch.
