//! Time as a source: what lets batches close when nothing else comes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use store::{Clock, Progress};

use crate::{Error, ErrorKind, Result, Slice, Source, Timestamp};

const PART: &str = "ticks";

/// A source of one element each `every`, whose event time is that of the clock it is given. It never ends.
///
/// Merged into what a sum reads, and filtered out again, it moves the watermark on while all other parts are silent: they
/// hold it behind the ticks by no more than [`Closing::idleness`](crate::Closing::idleness).
///
/// Tick n is the time n × `every` since 1970, so the same ticks are read again after a crash. A new job begins with the tick
/// before now; one that goes on after a stop reads the ticks of the time between.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use flow::{Local, Producer, Source, Ticks, Timestamp, VecSource};
///
/// fn with_time(events: &Producer<Local, u64>, ticks: Ticks) -> Producer<Local, u64> {
///     let ticks = Producer::source(Arc::new(ticks) as Arc<dyn Source<()>>).name("ticks");
///     events.merge(&ticks.flat_map(|()| None))
/// }
/// ```
pub struct Ticks {
    clock: Arc<dyn Clock>,
    origin: i64,
    every: i64,
}

impl Ticks {
    /// Ticks by `clock`, which showed zero at the time `origin`.
    ///
    /// # Errors
    /// `Invalid` when `every` is not a whole number of milliseconds, at least one, or when `origin` is before 1970.
    pub fn new(clock: Arc<dyn Clock>, origin: Timestamp, every: Duration) -> Result<Self> {
        let millis = i64::try_from(every.as_millis()).unwrap_or(0);
        if millis == 0 || !every.subsec_nanos().is_multiple_of(1_000_000) || origin.0 < 0 {
            let text = format!(
                "ticks must be whole milliseconds apart, at least one, and begin in 1970 or later: every={every:?} \
                 origin={origin}"
            );
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        Ok(Self {
            clock,
            origin: origin.0,
            every: millis,
        })
    }

    fn now(&self) -> i64 {
        let shown = i64::try_from(self.clock.now().as_millis()).unwrap_or(i64::MAX);
        self.origin.saturating_add(shown)
    }

    /// The number of the first tick after now.
    fn next(&self) -> u64 {
        self.now()
            .div_euclid(self.every)
            .cast_unsigned()
            .saturating_add(1)
    }

    /// When a tick is.
    fn time_of(&self, tick: u64) -> i64 {
        i64::try_from(tick).unwrap_or(i64::MAX).saturating_mul(self.every)
    }
}

#[async_trait]
impl Source<()> for Ticks {
    async fn start(&self) -> Result<Progress> {
        Ok(Progress::from_iter([(PART, self.next() - 1)]))
    }

    async fn read(
        &self,
        from: &Progress,
        until: Option<&Progress>,
        bytes_max: usize,
    ) -> Result<Option<Vec<Slice<()>>>> {
        let first = from.of(PART);
        let tick_bytes = size_of::<(Timestamp, ())>();
        let end = match until {
            Some(until) if until.of(PART) <= first => return Ok(None),
            Some(until) => until.of(PART),
            None => {
                while self.next() <= first {
                    let wait = self.time_of(first).saturating_sub(self.now()).max(1);
                    self.clock
                        .sleep(Duration::from_millis(wait.cast_unsigned()))
                        .await;
                }
                self.next()
            }
        };
        let end = end.min(first.saturating_add((bytes_max / tick_bytes).max(1) as u64));
        let items: Vec<_> = (first..end)
            .map(|tick| (Timestamp(self.time_of(tick)), ()))
            .collect();
        Ok(Some(vec![Slice {
            part: PART.to_owned(),
            next: end,
            bytes: items.len() * tick_bytes,
            items,
        }]))
    }
}

#[cfg(test)]
mod tests {
    use store::ManualClock;

    use super::*;

    fn times(slices: Option<Vec<Slice<()>>>) -> Vec<i64> {
        let slices = slices.unwrap();
        let times = slices[0].items.iter().map(|(time, ())| time.0).collect();
        assert_eq!(
            slices[0].next,
            slices[0].items.last().unwrap().0.0 as u64 / 10 + 1
        );
        times
    }

    #[tokio::test]
    async fn ticks_go_with_the_clock_and_are_read_again() {
        let clock = ManualClock::default();
        let ticks = Ticks::new(
            Arc::new(clock.clone()),
            Timestamp(1005),
            Duration::from_millis(10),
        )
        .unwrap();
        let start = ticks.start().await.unwrap();
        assert_eq!(start.of(PART), 100);
        assert_eq!(times(ticks.read(&start, None, 1 << 10).await.unwrap()), [1000]);
        clock.advance(Duration::from_millis(27));
        assert_eq!(
            times(ticks.read(&start, None, 1 << 10).await.unwrap()),
            [1000, 1010, 1020, 1030]
        );
        assert_eq!(times(ticks.read(&start, None, 1).await.unwrap()), [1000]);
        // Waits for the next one; the clock is moved by that.
        let now = Progress::from_iter([(PART, 104)]);
        assert_eq!(times(ticks.read(&now, None, 1 << 10).await.unwrap()), [1040]);
        assert_eq!(ticks.clock.now(), Duration::from_millis(35));
        let until = Progress::from_iter([(PART, 102)]);
        assert_eq!(
            times(ticks.read(&start, Some(&until), 1 << 10).await.unwrap()),
            [1000, 1010]
        );
        assert_eq!(ticks.read(&until, Some(&until), 1 << 10).await.unwrap(), None);
    }

    #[test]
    fn what_is_refused() {
        let new = |origin, every| Ticks::new(Arc::new(ManualClock::default()), Timestamp(origin), every);
        for (origin, every) in [(-1, 1000), (0, 0), (0, 1500)] {
            let refused = new(origin, Duration::from_micros(every)).err().unwrap();
            assert_eq!(refused.kind(), ErrorKind::Invalid, "{origin} {every}");
        }
    }
}
