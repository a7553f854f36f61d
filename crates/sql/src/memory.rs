//! What one query holds in memory: its own bound within the bound of all.

use std::fmt;
use std::sync::Arc;

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};

/// Begins the text of an error that is one query's own.
const OF_ONE: &str = "query needs more memory than one may have";
/// Begins the text of an error that is for other queries' sake.
const OF_ALL: &str = "queries need more memory than they may have together";

/// The memory of one query. Its operators share its bound fairly; what it takes is taken from the memory of all.
pub(crate) struct QueryMemory {
    own: FairSpillPool,
    bytes_max: usize,
    all: Arc<dyn MemoryPool>,
}

impl QueryMemory {
    pub(crate) fn new(bytes_max: usize, all: Arc<dyn MemoryPool>) -> Self {
        Self {
            own: FairSpillPool::new(bytes_max),
            bytes_max,
            all,
        }
    }
}

/// Whether an error's text is of this bound, and then whether waiting helps.
pub(crate) fn is_for_others(text: &str) -> Option<bool> {
    [(OF_ALL, true), (OF_ONE, false)]
        .into_iter()
        .find(|(begin, _)| text.contains(begin))
        .map(|(_, others)| others)
}

impl MemoryPool for QueryMemory {
    fn name(&self) -> &str {
        "query"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.own.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.own.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.own.grow(reservation, additional);
        self.all.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.own.shrink(reservation, shrink);
        self.all.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let step = reservation.consumer().name();
        self.own.try_grow(reservation, additional).map_err(|_| {
            DataFusionError::ResourcesExhausted(format!(
                "{OF_ONE} and could not put it off to disk, ask for less or raise \
                 query.query_memory_bytes_max step={step} query_memory_bytes_max={}",
                self.bytes_max
            ))
        })?;
        self.all.try_grow(reservation, additional).map_err(|_| {
            self.own.shrink(reservation, additional);
            DataFusionError::ResourcesExhausted(format!(
                "{OF_ALL}, try again later or raise query.memory_bytes_max step={step}"
            ))
        })
    }

    fn reserved(&self) -> usize {
        self.own.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes_max)
    }
}

impl fmt::Debug for QueryMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryMemory")
            .field("bytes_max", &self.bytes_max)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for QueryMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "query(bytes_max={})", self.bytes_max)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    use super::*;

    #[test]
    fn a_query_has_its_bound_within_that_of_all() {
        let all: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(150));
        let pool = || Arc::new(QueryMemory::new(100, all.clone())) as Arc<dyn MemoryPool>;
        let (one, two) = (pool(), pool());
        let first = MemoryConsumer::new("sort").register(&one);
        let second = MemoryConsumer::new("sort").register(&two);
        first.try_grow(100).unwrap();
        let text = first.try_grow(1).unwrap_err().to_string();
        assert_eq!(is_for_others(&text), Some(false), "{text}");
        second.try_grow(50).unwrap();
        let text = second.try_grow(1).unwrap_err().to_string();
        assert_eq!(is_for_others(&text), Some(true), "{text}");
        assert_eq!((one.reserved(), two.reserved(), all.reserved()), (100, 50, 150));
        drop((first, second));
        assert_eq!((one.reserved(), two.reserved(), all.reserved()), (0, 0, 0));
    }
}
