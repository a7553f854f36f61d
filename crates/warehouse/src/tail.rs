//! The hot tail: batches in arrival order, merged as they come so that there are few.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, StructArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef};
use tokio::time::Instant;

use crate::Result;
use crate::limits::{CHUNK_FAN_IN, CHUNK_ROWS_MAX};

/// Batches that a flush has taken (`frozen`), then those that came since (`live`).
#[derive(Debug, Default)]
pub(crate) struct Tail {
    frozen: Vec<Chunk>,
    live: Vec<Chunk>,
    /// When the oldest row of each half came.
    frozen_since: Option<Instant>,
    live_since: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Chunk {
    batch: RecordBatch,
    bytes: usize,
}

impl Chunk {
    fn new(batch: RecordBatch) -> Self {
        let bytes = batch.get_array_memory_size();
        Self { batch, bytes }
    }
}

impl Tail {
    /// Adds a batch of the tail's schema. Each row is copied at most once per level of merging, of which there are
    /// log(rows of a chunk) to the base of the fan-in.
    pub(crate) fn push(&mut self, batch: RecordBatch, now: Instant) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.live_since.get_or_insert(now);
        self.live.push(Chunk::new(batch));
        self.merge()
    }

    fn merge(&mut self) -> Result<()> {
        while let Some(last) = self.live.last() {
            let top = level(last.batch.num_rows());
            if last.batch.num_rows() >= CHUNK_ROWS_MAX {
                break;
            }
            let run = self
                .live
                .iter()
                .rev()
                .take_while(|chunk| level(chunk.batch.num_rows()) <= top)
                .count();
            if run < CHUNK_FAN_IN {
                break;
            }
            let start = self.live.len() - run;
            let batches = self.live[start..].iter().map(|chunk| &chunk.batch);
            let merged = concat_batches(last.batch.schema_ref(), batches).map_err(crate::Error::arrow)?;
            self.live.truncate(start);
            self.live.push(Chunk::new(compact_batch(&merged)));
        }
        Ok(())
    }

    /// Hands all rows to a flush; those of a flush that came to nothing are among them.
    pub(crate) fn freeze(&mut self) -> Vec<RecordBatch> {
        self.frozen.append(&mut self.live);
        let live_since = self.live_since.take();
        self.frozen_since = self.frozen_since.or(live_since);
        self.frozen.iter().map(|chunk| chunk.batch.clone()).collect()
    }

    /// Lets go of what a flush has written.
    pub(crate) fn drop_frozen(&mut self) {
        self.frozen = Vec::new();
        self.frozen_since = None;
    }

    /// Brings every batch to a schema that has grown.
    pub(crate) fn grow(&mut self, schema: &SchemaRef) -> Result<()> {
        let grow = |chunks: &[Chunk]| -> Result<Vec<Chunk>> {
            chunks
                .iter()
                .map(|chunk| Ok(Chunk::new(event::conform(&chunk.batch, schema)?)))
                .collect()
        };
        let (frozen, live) = (grow(&self.frozen)?, grow(&self.live)?);
        (self.frozen, self.live) = (frozen, live);
        Ok(())
    }

    /// All batches, in arrival order.
    pub(crate) fn batches(&self) -> Arc<[RecordBatch]> {
        self.frozen
            .iter()
            .chain(&self.live)
            .map(|chunk| chunk.batch.clone())
            .collect()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.frozen
            .iter()
            .chain(&self.live)
            .map(|chunk| chunk.bytes)
            .sum()
    }

    pub(crate) fn rows(&self) -> u64 {
        self.frozen
            .iter()
            .chain(&self.live)
            .map(|chunk| chunk.batch.num_rows() as u64)
            .sum()
    }

    /// When the oldest row will be `age` old; `None` where there is no row.
    pub(crate) fn due(&self, age: Duration) -> Option<Instant> {
        self.frozen_since.or(self.live_since).map(|since| since + age)
    }
}

/// How often rows of a chunk of this size have been merged, about.
fn level(rows: usize) -> u32 {
    rows.max(1).ilog2() / CHUNK_FAN_IN.ilog2()
}

/// Concatenation keeps the buffers of every view: without this a chunk of thousands of batches holds as many buffers.
fn compact_batch(batch: &RecordBatch) -> RecordBatch {
    let columns = batch.columns().iter().map(compact).collect();
    RecordBatch::try_new(batch.schema(), columns).expect("compaction changes neither type nor length")
}

fn compact(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        DataType::Struct(fields) if !fields.is_empty() => {
            let array = array.as_struct();
            let columns = array.columns().iter().map(compact).collect();
            Arc::new(StructArray::new(fields.clone(), columns, array.nulls().cloned()))
        }
        DataType::List(item) => {
            let array = array.as_list::<i32>();
            let values = compact(array.values());
            Arc::new(ListArray::new(
                item.clone(),
                array.offsets().clone(),
                values,
                array.nulls().cloned(),
            ))
        }
        _ => array.clone(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringViewArray};
    use arrow::datatypes::{Field, Int64Type, Schema};
    use proptest::prelude::*;

    use super::*;

    fn batch(ids: std::ops::Range<i64>) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("text", DataType::Utf8View, false),
        ]);
        let text: StringViewArray = ids
            .clone()
            .map(|id| Some(format!("a text that is not inlined {id}")))
            .collect();
        RecordBatch::try_new(
            Arc::new(schema),
            vec![Arc::new(Int64Array::from_iter_values(ids)), Arc::new(text)],
        )
        .unwrap()
    }

    fn ids(batches: &[RecordBatch]) -> Vec<i64> {
        batches
            .iter()
            .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec())
            .collect()
    }

    proptest! {
        #[test]
        fn rows_stay_in_order_and_batches_stay_few(steps in prop::collection::vec((1i64..600, any::<u8>()), 1..300)) {
            let (mut tail, mut expected, mut next) = (Tail::default(), Vec::new(), 0);
            for (rows, what) in steps {
                tail.push(batch(next..next + rows), Instant::now()).unwrap();
                expected.extend(next..next + rows);
                next += rows;
                match what {
                    0..8 => drop(tail.freeze()),
                    8..16 => {
                        let frozen = ids(&tail.freeze());
                        prop_assert_eq!(&frozen, &expected);
                        tail.drop_frozen();
                        expected.clear();
                    }
                    _ => {}
                }
                prop_assert_eq!(ids(&tail.batches()), &expected[..]);
                prop_assert_eq!(tail.rows(), expected.len() as u64);
            }
        }
    }

    #[test]
    fn thousands_of_tiny_batches_become_a_few() {
        let mut tail = Tail::default();
        for start in 0..20_000 {
            tail.push(batch(start * 3..start * 3 + 3), Instant::now())
                .unwrap();
        }
        let batches = tail.batches();
        assert!(batches.len() < 8 * 6, "{}", batches.len());
        assert!(
            batches
                .iter()
                .all(|b| b.column(1).as_string_view().data_buffers().len() < 16)
        );
        assert_eq!(ids(&batches), (0..60_000).collect::<Vec<_>>());
    }
}
