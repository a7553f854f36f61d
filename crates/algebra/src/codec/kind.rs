//! The kinds of named values: the first of the two bytes that open one. A number is never used again.

use std::fmt;

/// A kind of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(pub u8);

macro_rules! kinds {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        $(#[doc = concat!("`", $text, "`.")] pub const $name: Kind = Kind($number);)*

        impl fmt::Display for Kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {
                    $($number => f.write_str($text),)*
                    other => write!(f, "unknown({other})"),
                }
            }
        }
    };
}

kinds! {
    // Numbers.
    SUM = 0x10, "Sum";
    EXACT_SUM = 0x11, "ExactSum";
    CHECKED = 0x12, "Checked";
    SATURATING = 0x13, "Saturating";
    AVERAGE = 0x14, "Average";
    MOMENTS = 0x15, "Moments";
    CORRELATION = 0x16, "Correlation";
    DECAYED_VALUE = 0x17, "DecayedValue";
    DECAYED_VECTOR = 0x18, "DecayedVector";
    EXPONENTIAL_AVERAGE = 0x19, "ExponentialAverage";
    FORWARD_DECAY = 0x1a, "ForwardDecay";
    WINDOW = 0x1b, "Window";
    INTERVAL = 0x1c, "Interval";
    APPROXIMATE = 0x1d, "Approximate";
    MIN_PLUS = 0x1e, "MinPlus";
    AFFINE = 0x1f, "Affine";
    ADJOINED_UNIT = 0x20, "AdjoinedUnit";
    APPROXIMATE_BOOL = 0x21, "ApproximateBool";
    SESSIONS = 0x22, "Sessions";
    // Structures.
    EVENTUALLY = 0x40, "Eventually";
    ADAPTIVE_VECTOR = 0x41, "AdaptiveVector";
    SPARSE_MAP = 0x42, "SparseMap";
    POINTWISE = 0x43, "Pointwise";
    // Sketches of our own.
    HLL_SERIES = 0x60, "HyperLogLogSeries";
    MIN_HASH = 0x61, "MinHash";
    SKETCH_MAP = 0x62, "SketchMap";
    DD_SKETCH = 0x63, "DdSketch";
    RANGE_SUMS = 0x64, "RangeSums";
    EXPONENTIAL_HISTOGRAM = 0x65, "ExponentialHistogram";
    DECAYING_COUNT_MIN = 0x66, "DecayingCountMin";
    TOP_K = 0x67, "TopK";
    SAMPLE = 0x68, "Sample";
    HEAVY_HITTERS = 0x69, "HeavyHitters";
    HISTOGRAM = 0x6a, "Histogram";
}
