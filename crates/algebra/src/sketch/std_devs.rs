//! How wide bounds are.

use datasketches::common::NumStdDev;

/// How many standard deviations bounds are wide to each side: the truth is within them with this probability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StdDevs {
    /// 68.3 %.
    One,
    /// 95.4 %.
    Two,
    /// 99.7 %.
    Three,
}

impl StdDevs {
    /// The probability that the truth is outside, of normally distributed estimates.
    pub fn failure_probability(self) -> f64 {
        2.0 * self.of_library().tail_probability()
    }

    pub(crate) fn of_library(self) -> NumStdDev {
        match self {
            Self::One => NumStdDev::One,
            Self::Two => NumStdDev::Two,
            Self::Three => NumStdDev::Three,
        }
    }
}
