//! Where the open streams of each dataset stand, so that the queue keeps what they have yet to read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use event::DatasetName;
use queue::Offset;
use store::Progress;

/// The streams that are open, by dataset.
#[derive(Default)]
pub(crate) struct Readers(Mutex<BTreeMap<DatasetName, Vec<Weak<Mutex<Progress>>>>>);

/// One stream that is open; it ends with this.
pub(crate) struct Reader(Arc<Mutex<Progress>>);

impl Readers {
    /// A stream that may read from the first offset on, until it says where it stands.
    pub(crate) fn begin(&self, dataset: &DatasetName) -> Reader {
        let reader = Arc::default();
        let mut readers = locked(&self.0);
        let of_dataset = readers.entry(dataset.clone()).or_default();
        of_dataset.retain(|reader| reader.strong_count() > 0);
        of_dataset.push(Arc::downgrade(&reader));
        Reader(reader)
    }

    /// For each partition: the offset before which every open stream has read all. `None` when none is open.
    pub(crate) fn least(&self, dataset: &DatasetName, partitions: usize) -> Option<Vec<Offset>> {
        let readers = locked(&self.0);
        let open = readers.get(dataset)?.iter().filter_map(Weak::upgrade);
        open.map(|reader| offsets(&locked(&reader), partitions))
            .reduce(least)
    }
}

impl Reader {
    /// The stream will not ask for what is before `position`.
    pub(crate) fn stands_at(&self, position: &Progress) {
        locked(&self.0).clone_from(position);
    }
}

/// The offsets of a progress in the queue, by partition.
pub(crate) fn offsets(progress: &Progress, partitions: usize) -> Vec<Offset> {
    (0..partitions)
        .map(|partition| Offset(progress.of(&partition.to_string())))
        .collect()
}

/// Of each partition the lower offset.
pub(crate) fn least(left: Vec<Offset>, right: Vec<Offset>) -> Vec<Offset> {
    left.into_iter().zip(right).map(|(l, r)| l.min(r)).collect()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reader_that_is_furthest_behind_counts_in_each_partition() {
        let (readers, name) = (Readers::default(), "d".parse().expect("a name"));
        assert_eq!(readers.least(&name, 2), None);
        let (one, other) = (readers.begin(&name), readers.begin(&name));
        one.stands_at(&Progress::from_iter([("0", 5), ("1", 2), ("history@3", 1)]));
        assert_eq!(readers.least(&name, 2), Some(vec![Offset(0), Offset(0)]));
        other.stands_at(&Progress::from_iter([("0", 3), ("1", 7)]));
        assert_eq!(readers.least(&name, 2), Some(vec![Offset(3), Offset(2)]));
        drop(other);
        assert_eq!(readers.least(&name, 2), Some(vec![Offset(5), Offset(2)]));
        drop(one);
        assert_eq!(readers.least(&name, 2), None);
    }
}
