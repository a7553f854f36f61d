//! Windows that overlap: an element counts in each window that its event time is in.
//!
//! Windows that do not are batches ([`Batcher`](crate::Batcher)); windows that end where nothing happens are a value,
//! `algebra::Sessions`.

use std::time::Duration;

use crate::limits::WINDOWS_OF_A_TIME_MAX;
use crate::{Error, ErrorKind, Result, Timestamp};

/// Hopping windows: of one length, a new one at each step, from 1970-01-01T00:00Z in both directions.
///
/// A window is named by its start and holds the times `start..start + length`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hopping {
    length: i64,
    step: i64,
}

impl Hopping {
    /// Windows of `length`, one each `step`.
    ///
    /// # Errors
    /// `Invalid` when one is not a whole number of milliseconds, at least one; when the step is longer than the windows,
    /// so that times would be in none; or when a time would be in more than 1,000.
    pub fn new(length: Duration, step: Duration) -> Result<Self> {
        let (length_ms, step_ms) = (whole_millis(length)?, whole_millis(step)?);
        if step_ms > length_ms || length_ms.div_euclid(step_ms) > WINDOWS_OF_A_TIME_MAX {
            let text = format!(
                "a window's step must be at most its length and at least a thousandth of it: length={length:?} \
                 step={step:?}"
            );
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        Ok(Self {
            length: length_ms,
            step: step_ms,
        })
    }

    /// The starts of the windows that hold a time, rising.
    pub fn starts_of(self, time: Timestamp) -> impl Iterator<Item = Timestamp> {
        let last = i128::from(time.0.div_euclid(self.step)) * i128::from(self.step);
        let (length, step) = (i128::from(self.length), i128::from(self.step));
        let count = (length - 1 - (i128::from(time.0) - last)) / step;
        // Windows that start before all time are not there.
        (0..=count)
            .rev()
            .filter_map(move |hop| i64::try_from(last - hop * step).ok())
            .map(Timestamp)
    }

    /// When the window that starts then ends; its end is not in it.
    pub fn end_of(self, start: Timestamp) -> Timestamp {
        Timestamp(start.0.saturating_add(self.length))
    }
}

fn whole_millis(length: Duration) -> Result<i64> {
    match i64::try_from(length.as_millis()) {
        Ok(millis) if millis > 0 && length.subsec_nanos().is_multiple_of(1_000_000) => Ok(millis),
        _ => Err(Error::new(
            ErrorKind::Invalid,
            format!("a window lasts a whole number of milliseconds, at least one: length={length:?}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hopping(length: u64, step: u64) -> Hopping {
        Hopping::new(Duration::from_millis(length), Duration::from_millis(step)).unwrap()
    }

    proptest! {
        #[test]
        fn those_that_hold_the_time(length in 1..60_u64, step in 1..60_u64, time in -500..500_i64) {
            prop_assume!(step <= length);
            let windows = hopping(length, step);
            let found: Vec<i64> = windows.starts_of(Timestamp(time)).map(|start| start.0).collect();
            let naive: Vec<i64> = (-700..700)
                .filter(|start| start % step as i64 == 0)
                .filter(|start| *start <= time && time < windows.end_of(Timestamp(*start)).0)
                .collect();
            prop_assert_eq!(found, naive);
        }

        #[test]
        fn at_any_time(length in 1..1_000_000_000_000_u64, share in 1..1_000_u64, time: i64) {
            let windows = hopping(length, (length / share).max(1).min(length));
            for start in windows.starts_of(Timestamp(time)) {
                prop_assert!(start.0 <= time && time - start.0 < length as i64);
            }
        }
    }

    #[test]
    fn what_is_refused() {
        let new = |length, step| Hopping::new(Duration::from_micros(length), Duration::from_micros(step));
        for (length, step) in [
            (0, 1000),
            (1000, 0),
            (1500, 500),
            (1000, 2000),
            (2_000_000, 1_000),
        ] {
            assert_eq!(
                new(length, step).unwrap_err().kind(),
                ErrorKind::Invalid,
                "{length} {step}"
            );
        }
        new(1_000_000, 1_000).unwrap();
    }
}
