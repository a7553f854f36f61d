//! exponential_histogram.
