//! Rows as Arrow IPC messages, cut so that each record batch fits a batch.

use arrow::datatypes::SchemaRef;
use arrow::ipc::MetadataVersion;
use arrow::ipc::writer::{DictionaryTracker, EncodedData, IpcDataGenerator, IpcWriteOptions};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use event::limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX};

use crate::{Error, Result};

/// A record batch with its schema and its dictionaries, ready to send.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    pub(crate) count: u32,
    /// Flatbuffer of the schema's message.
    pub(crate) schema: Bytes,
    /// Header and body of each dictionary's message.
    pub(crate) dictionaries: Vec<(Bytes, Bytes)>,
    pub(crate) header: Bytes,
    pub(crate) body: Bytes,
}

/// What framing and padding may add to one message, in bytes.
const FRAME_BYTES_MAX: usize = 16;

impl Rows {
    /// What the server will store, or a little more, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let messages = self
            .dictionaries
            .iter()
            .map(|(header, body)| header.len() + body.len() + FRAME_BYTES_MAX);
        messages.sum::<usize>()
            + self.schema.len()
            + self.header.len()
            + self.body.len()
            + 2 * FRAME_BYTES_MAX
    }
}

/// Encodes a record batch; one that is too large for a batch is halved until it is not.
///
/// # Errors
/// `Invalid` when a single row with the dictionaries is too large, or the rows cannot be encoded.
pub(crate) fn encode(batch: &RecordBatch) -> Result<Vec<Rows>> {
    let mut out = Vec::new();
    encode_into(batch, &mut out)?;
    Ok(out)
}

fn encode_into(batch: &RecordBatch, out: &mut Vec<Rows>) -> Result<()> {
    if batch.num_rows() == 0 {
        return Ok(());
    }
    if let Ok(count) = u32::try_from(batch.num_rows())
        && count <= BATCH_EVENTS_MAX
    {
        let rows = encode_one(batch, count)?;
        if rows.bytes() <= BATCH_BYTES_MAX {
            out.push(rows);
            return Ok(());
        }
        if count == 1 {
            return Err(Error::invalid(format_args!(
                "row is too large bytes={} bytes_max={BATCH_BYTES_MAX}",
                rows.bytes()
            )));
        }
    }
    let half = batch.num_rows() / 2;
    encode_into(&batch.slice(0, half), out)?;
    encode_into(&batch.slice(half, batch.num_rows() - half), out)
}

fn encode_one(batch: &RecordBatch, count: u32) -> Result<Rows> {
    let cannot = |error| Error::invalid(format_args!("rows cannot be encoded: {error}"));
    let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5).map_err(cannot)?;
    let generator = IpcDataGenerator::default();
    let mut tracker = DictionaryTracker::new(false);
    let schema: SchemaRef = batch.schema();
    let schema = generator.schema_to_bytes_with_dictionary_tracker(&schema, &mut tracker, &options);
    let (dictionaries, rows) = generator
        .encode(batch, &mut tracker, &options, &mut Default::default())
        .map_err(cannot)?;
    let message = |data: EncodedData| (Bytes::from(data.ipc_message), Bytes::from(data.arrow_data));
    let (header, body) = message(rows);
    Ok(Rows {
        count,
        schema: schema.ipc_message.into(),
        dictionaries: dictionaries.into_iter().map(message).collect(),
        header,
        body,
    })
}
