//! Counters: what functions of a job count on the way, by name.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;

use crate::limits::COUNTERS_MAX;

/// What has been counted, by the counters' names.
pub type Counts = BTreeMap<Arc<str>, u64>;

/// A named count that functions of a job add to; cheap to clone. Two with one name are one.
///
/// It needs no job and no registration: what a function adds belongs to the job that calls it, whenever the
/// counter was made. An epoch's counts are added when it is committed, so elements whose epoch is tried again count once.
/// They are not stored: the next run counts what it does itself. Of an epoch that the end of a process left half committed
/// it does less, as what lies below sums that were committed is not called again, so that is in neither run's counts.
/// Outside of a job it counts nothing.
///
/// ```
/// use flow::{Memory, Platform, Producer, Timestamp, counter};
///
/// let empty = counter("empty lines");
/// let lines = Producer::<Memory, _>::source(vec![(Timestamp(0), ""), (Timestamp(1), "a bird")]);
/// let lines = lines.filter(move |line| {
///     empty.add(u64::from(line.is_empty()));
///     counter("lines").add(1);
///     !line.is_empty()
/// });
/// let counts = Memory::run(&lines.write(<Memory as Platform>::Sink::default()));
/// assert_eq!((counts["empty lines"], counts["lines"]), (1, 2));
/// ```
#[derive(Clone, Debug)]
pub struct Counter(Arc<str>);

/// The counter of this name. A job has up to 1000; what goes to more of them is counted as `other`.
pub fn counter(name: impl Into<Arc<str>>) -> Counter {
    Counter(name.into())
}

thread_local! {
    /// What the job that runs on this thread has counted; `None` when there is none.
    static COUNTS: RefCell<Option<Counts>> = const { RefCell::new(None) };
}

impl Counter {
    /// Adds `n`. Costs a look-up of the name: in a loop, add once after it.
    pub fn add(&self, n: u64) {
        COUNTS.with_borrow_mut(|counts| {
            if let Some(counts) = counts {
                add(counts, &self.0, n);
            }
        });
    }
}

fn add(counts: &mut Counts, name: &Arc<str>, n: u64) {
    if let Some(count) = counts.get_mut(name) {
        *count = count.saturating_add(n);
        return;
    }
    let full = counts.len() >= COUNTERS_MAX;
    let name = if full { "other".into() } else { name.clone() };
    let count = counts.entry(name).or_default();
    *count = count.saturating_add(n);
}

/// Adds all counts of `more`.
pub(crate) fn add_all(counts: &mut Counts, more: &Counts) {
    more.iter().for_each(|(name, n)| add(counts, name, *n));
}

/// Runs `f`, and adds what it counts to `counts`.
pub(crate) fn counting<R>(counts: &mut Counts, f: impl FnOnce() -> R) -> R {
    let outer = COUNTS.replace(Some(std::mem::take(counts)));
    let result = f();
    *counts = COUNTS.replace(outer).unwrap_or_default();
    result
}

/// Awaits `future`, and adds what it counts, on whichever threads, to `counts`.
pub(crate) async fn counting_while<F: Future>(counts: &mut Counts, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| counting(counts, || future.as_mut().poll(context))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_of_a_job_nothing_counts_and_inside_the_inner_one_does() {
        counter("a").add(1);
        let (mut outer, mut inner) = (Counts::new(), Counts::new());
        counting(&mut outer, || {
            counter("a").add(1);
            counting(&mut inner, || counter("a").add(20));
            counter("a").add(300);
        });
        assert_eq!((outer["a"], inner["a"]), (301, 20));
    }

    #[test]
    fn names_beyond_the_limit_are_counted_together() {
        let mut counts = Counts::new();
        counting(&mut counts, || {
            (0..COUNTERS_MAX + 5).for_each(|n| counter(n.to_string()).add(2));
        });
        assert_eq!((counts.len(), counts["other"]), (COUNTERS_MAX + 1, 10));
    }
}
