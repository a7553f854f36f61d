//! The hot tail: batches in arrival order, merged as they come so that there are few.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, StructArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef};
use tokio::time::Instant;

use crate::limits::{CHUNK_FAN_IN, CHUNK_ROWS_MAX};
use crate::{Result, Times, encode};

/// Batches that a flush has taken (`frozen`), then those that came since (`live`). Those that readers do not see yet
/// are the last ones.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    frozen: Half,
    live: Half,
}

#[derive(Debug, Default)]
struct Half {
    chunks: Vec<Chunk>,
    bytes: usize,
    rows: u64,
    /// When its oldest row came.
    since: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Chunk {
    batch: RecordBatch,
    bytes: usize,
    times: Times,
    hidden: bool,
}

impl Chunk {
    fn new(batch: RecordBatch, hidden: bool) -> Self {
        let bytes = batch.get_array_memory_size();
        let times = encode::times_of(&batch);
        Self {
            batch,
            bytes,
            times,
            hidden,
        }
    }
}

impl Half {
    fn push(&mut self, chunk: Chunk) {
        self.bytes += chunk.bytes;
        self.rows += chunk.batch.num_rows() as u64;
        self.chunks.push(chunk);
    }

    fn truncate(&mut self, len: usize) {
        for chunk in self.chunks.drain(len..) {
            self.bytes -= chunk.bytes;
            self.rows -= chunk.batch.num_rows() as u64;
        }
    }

    fn append(&mut self, other: &mut Self) {
        let Self {
            mut chunks,
            bytes,
            rows,
            since,
        } = std::mem::take(other);
        self.chunks.append(&mut chunks);
        (self.bytes, self.rows) = (self.bytes + bytes, self.rows + rows);
        self.since = self.since.or(since);
    }

    fn grow(&self, schema: &SchemaRef) -> Result<Self> {
        let mut grown = Self {
            since: self.since,
            ..Self::default()
        };
        for chunk in &self.chunks {
            grown.push(Chunk::new(event::conform(&chunk.batch, schema)?, chunk.hidden));
        }
        Ok(grown)
    }
}

impl Tail {
    /// Adds a batch of the tail's schema, and shows all. Each row is copied at most once per level of merging, of
    /// which there are log(rows of a chunk) to the base of the fan-in.
    pub(crate) fn push(&mut self, batch: RecordBatch, now: Instant) -> Result<()> {
        self.reveal();
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.live.since.get_or_insert(now);
        self.live.push(Chunk::new(batch, false));
        self.merge()
    }

    /// Adds a batch that is not shown, and copies nothing.
    pub(crate) fn gather(&mut self, batch: RecordBatch, now: Instant) {
        if batch.num_rows() > 0 {
            self.live.since.get_or_insert(now);
            self.live.push(Chunk::new(batch, true));
        }
    }

    /// Whether some rows are not shown.
    pub(crate) fn hides(&self) -> bool {
        let last = self.live.chunks.last().or(self.frozen.chunks.last());
        last.is_some_and(|chunk| chunk.hidden)
    }

    /// Shows all rows.
    pub(crate) fn reveal(&mut self) {
        if self.hides() {
            let chunks = self.frozen.chunks.iter_mut().chain(&mut self.live.chunks);
            chunks.for_each(|chunk| chunk.hidden = false);
        }
    }

    fn merge(&mut self) -> Result<()> {
        while let Some(last) = self.live.chunks.last() {
            let top = level(last.batch.num_rows());
            if last.batch.num_rows() >= CHUNK_ROWS_MAX {
                break;
            }
            let run = self
                .live
                .chunks
                .iter()
                .rev()
                .take_while(|chunk| level(chunk.batch.num_rows()) <= top)
                .count();
            if run < CHUNK_FAN_IN {
                break;
            }
            let start = self.live.chunks.len() - run;
            let batches = self.live.chunks[start..].iter().map(|chunk| &chunk.batch);
            let merged = concat_batches(last.batch.schema_ref(), batches).map_err(crate::Error::arrow)?;
            self.live.truncate(start);
            self.live.push(Chunk::new(compact_batch(&merged), false));
        }
        Ok(())
    }

    /// Hands all rows to a flush; those of a flush that came to nothing are among them.
    pub(crate) fn freeze(&mut self) -> Vec<RecordBatch> {
        self.frozen.append(&mut self.live);
        self.frozen
            .chunks
            .iter()
            .map(|chunk| chunk.batch.clone())
            .collect()
    }

    /// Lets go of what a flush has written.
    pub(crate) fn drop_frozen(&mut self) {
        self.frozen = Half::default();
    }

    /// Brings every batch to a schema that has grown.
    pub(crate) fn grow(&mut self, schema: &SchemaRef) -> Result<()> {
        (self.frozen, self.live) = (self.frozen.grow(schema)?, self.live.grow(schema)?);
        Ok(())
    }

    /// All batches that are shown, in arrival order.
    pub(crate) fn batches(&self) -> Arc<[RecordBatch]> {
        let chunks = self.frozen.chunks.iter().chain(&self.live.chunks);
        chunks
            .filter(|chunk| !chunk.hidden)
            .map(|chunk| chunk.batch.clone())
            .collect()
    }

    /// Of each of [`Tail::batches`].
    pub(crate) fn times(&self) -> Arc<[Times]> {
        let chunks = self.frozen.chunks.iter().chain(&self.live.chunks);
        let shown = chunks.filter(|chunk| !chunk.hidden);
        shown.map(|chunk| chunk.times).collect()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.frozen.bytes + self.live.bytes
    }

    pub(crate) fn rows(&self) -> u64 {
        self.frozen.rows + self.live.rows
    }

    /// When the oldest row will be `age` old; `None` where there is no row, or no such time.
    pub(crate) fn due(&self, age: Duration) -> Option<Instant> {
        let since = self.frozen.since.or(self.live.since)?;
        since.checked_add(age)
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
