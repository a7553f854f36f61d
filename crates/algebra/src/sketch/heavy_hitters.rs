//! heavy_hitters.
