//! The maxima of events and batches. Everything that input can grow names one of these.

/// One event as text.
pub const EVENT_BYTES_MAX: usize = 1 << 20;
/// One batch's payload as sent.
pub const BATCH_BYTES_MAX: usize = 16 << 20;
/// Events in one batch.
pub const BATCH_EVENTS_MAX: u32 = 1 << 20;
/// A dataset's name, in characters (ASCII).
pub const DATASET_NAME_CHARS_MAX: usize = 128;
/// Columns an inferred schema may grow to, at the top level; fields beyond go to `_extra`.
pub const SCHEMA_COLUMNS_MAX: usize = 1_000;
/// How deep inferred structs may nest; deeper values are kept as JSON text.
pub const SCHEMA_DEPTH_MAX: usize = 8;
/// The raw text kept of a rejected event; the rest is cut and the cut is said in the reason.
pub const REJECT_RAW_BYTES_MAX: usize = 64 << 10;
/// The schema of an Avro container, as JSON.
pub const AVRO_SCHEMA_BYTES_MAX: usize = 1 << 20;
/// How deep records of Avro or Protobuf may nest.
pub const RECORD_DEPTH_MAX: usize = 64;
/// Values of a batch of Avro that take no bytes (nulls that are no branch of a union, records without a byte).
pub const ZERO_BYTE_VALUES_MAX: usize = 1 << 20;
/// The descriptors of Protobuf messages, encoded.
pub const PROTOBUF_DESCRIPTORS_BYTES_MAX: usize = 4 << 20;
/// The text of why an event was rejected; the rest is cut.
pub const REJECT_REASON_BYTES_MAX: usize = 4 << 10;
/// Flags as text, for all datasets.
pub const FLAGS_BYTES_MAX: usize = 1 << 20;

const _: () = assert!(EVENT_BYTES_MAX <= BATCH_BYTES_MAX);
const _: () = assert!(ZERO_BYTE_VALUES_MAX >= BATCH_EVENTS_MAX as usize);
const _: () = assert!(REJECT_RAW_BYTES_MAX <= EVENT_BYTES_MAX);
