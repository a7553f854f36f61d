//! Avro object container files: events as records, with the schema that they were written with.
//!
//! Format: <https://avro.apache.org/docs/1.12.0/specification/>. The schema of the file makes the columns:
//!
//! | Avro | column |
//! |---|---|
//! | `boolean` | Boolean |
//! | `int`, `long` | Int64 |
//! | `float`, `double` | Float64 |
//! | `string`, `enum`, `uuid` | Utf8View |
//! | `bytes`, `fixed` | BinaryView |
//! | `decimal(p,s)` of up to 38 digits | Decimal128(38, s) |
//! | `date` | Date32 |
//! | `timestamp-millis`, `-micros`, `-nanos` | Timestamp(µs, UTC); nanoseconds are cut |
//! | `local-timestamp-*`, `time-*` | Utf8View: a time without a zone as text |
//! | `array` | List |
//! | `map` | List of Struct(`key`, `value`) |
//! | `record` | Struct |
//! | `["null", t]` | that of t |
//! | a union of several types | Struct with a field for each, named as in Avro's JSON: `{"int": 5}` |
//! | `null`, a record without fields, what nests too deep | none: values are JSON in `_extra` |
//!
//! Logical types that are not named here are their underlying type, as the specification has it.
//!
//! A queue holds containers whose blocks are not packed (codec `null`): the doors unpack others. A record that is not
//! good is a reject of its own where its end can be told, else with the rest of its block.
//!
//! Not here: single objects with a fingerprint, resolution against a reader's schema beyond names, defaults, aliases.

mod columns;
mod container;
mod schema;
mod value;

pub use container::{Block, Codec, Container, write_block, write_header};

pub(crate) use columns::columns;
pub(crate) use schema::Schema;
pub(crate) use value::Records;

use crate::{Error, Result};

/// How many events a container holds, by the counts of its blocks; no record is read.
///
/// # Errors
/// `Invalid`: the bytes are not a container (with the place), its schema is not of a record, or its blocks are packed.
pub fn count(payload: &[u8]) -> Result<u64> {
    let (container, _) = open(payload)?;
    container
        .blocks()
        .try_fold(0_u64, |sum, block| Ok(sum.saturating_add(block?.records)))
}

/// A container whose blocks are not packed, with its schema.
pub(crate) fn open(payload: &[u8]) -> Result<(Container<'_>, Schema)> {
    let container = Container::open(payload)?;
    let schema = Schema::parse(container.schema())?;
    if container.codec() != Codec::Null {
        return Err(Error::invalid(format_args!(
            "blocks of the container are packed, send them with the codec null codec={}",
            container.codec().name()
        )));
    }
    Ok((container, schema))
}

/// The bytes of each record, in order, up to the first whose end cannot be told.
pub(crate) fn raw_records(payload: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    let Ok(container) = Container::open(payload) else {
        return all;
    };
    let Ok(schema) = Schema::parse(container.schema()) else {
        return all;
    };
    let mut records = Records::new(&schema);
    for block in container.blocks().map_while(Result::ok) {
        records.go_to(block.bytes);
        for _ in 0..block.records {
            let start = records.rest();
            if records.skip().is_err() {
                return all;
            }
            all.push(&start[..start.len() - records.rest().len()]);
        }
    }
    all
}
