//! Aggregators: how items become a value that can be summed, and how the sum is read.
