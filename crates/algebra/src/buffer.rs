//! Buffers that sum before they pass on: what is summed in comes out.
