//! Events as data: what a batch of events is, who sent it, what its dataset is called, how its rows are laid
//! out, and how large any of it may grow.
//!
//! | name | shape |
//! |---|---|
//! | [`DatasetName`] | a checked name such as `user_behavior_events` |
//! | [`BatchKey`] | `(emitter, epoch, sequence)`: what makes a batch itself, and a retry its twin |
//! | [`Batch`] | a [`BatchHeader`] and a payload as it was sent: Arrow IPC, NDJSON, Avro or Protobuf |
//! | [`avro`], [`protobuf`] | these formats: their frames, and what their types become |
//! | [`DatasetSchema`] | the columns of a dataset as they are now; grows by adding columns |
//! | [`Decoder`] | batch → Arrow rows with system columns, and the events that were rejected |
//! | [`SchemaSettings`], [`evolve`] | a declared schema, and what may change from one to the next |
//! | [`Checker`] | a schema as a check of one event, before it is sent |
//! | [`Durability`] | what an ack promises |
//! | [`Fitted`] | rows that a chain made, with the columns of the table |
//! | [`conform`] | rows with fewer columns → rows with all of a schema |
//! | [`Udf`] | a step of a dataset's chain: rows → rows |
//! | [`flags`] | switches of clients that can be set from afar |
//! | [`wire`] | the JSON of headers, acks and tickets |
//!
//! Not here: HTTP, SQL, files, clocks. Every time comes in by argument.

pub mod avro;
mod batch;
mod chained;
mod check;
mod column;
mod conform;
mod constraint;
mod declared;
mod decode;
mod durability;
mod error;
mod evolve;
mod field_type;
mod fit;
pub mod flags;
mod infer;
mod json;
pub mod limits;
mod loose;
mod name;
pub mod protobuf;
mod reading;
mod scalar;
mod schema;
mod settings;
mod stored;
mod udf;
pub mod wire;

pub use batch::{Batch, BatchHeader, BatchKey, EmitterId, Encoding, Epoch, Sequence};
pub use chained::{Fitted, move_to_extra, times_of};
pub use check::Checker;
pub use conform::conform;
pub use declared::{FieldSettings, SchemaSettings, UnknownFields};
pub use decode::{Decoded, Decoder, Reject};
pub use durability::Durability;
pub use error::{Error, ErrorKind, Result};
pub use evolve::{Change, Incompatible, Rule, evolve};
pub use field_type::FieldType;
pub use infer::infer_fields;
pub use name::DatasetName;
pub use schema::{DatasetSchema, FAILED_SUFFIX, SystemColumn, TRACERS, failed_schema};
pub use settings::{DatasetSettings, ProtobufSettings, Tier, TimeRange};
pub use stored::{canonical, storable};
pub use udf::{ERROR_COLUMN, ROW_COLUMN, Udf, UdfError, UdfErrorKind};
