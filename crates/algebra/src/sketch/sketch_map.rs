//! sketch_map.
