//! Bodies of Avro containers and of Protobuf messages: counted by their frames, no event is read.

use axum::http::HeaderMap;
use bytes::Bytes;
use event::limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX};
use event::{DatasetName, Encoding, avro, protobuf};

use super::encoding::unpacked_container;
use super::header::media_type;
use super::room::Room;
use super::rows::Made;
use crate::{Error, Result};

/// What the body is by its content type, if it is one of these.
pub(super) fn format_of(headers: &HeaderMap) -> Option<Encoding> {
    match media_type(headers).as_str() {
        "application/avro" | "application/vnd.apache.avro" | "application/x-avro" | "avro/binary" => {
            Some(Encoding::Avro)
        }
        "application/protobuf" | "application/x-protobuf" | "application/vnd.google.protobuf" => {
            Some(Encoding::Protobuf)
        }
        _ => None,
    }
}

/// Whether the body says by itself that it is a container.
pub(super) fn is_container(body: &[u8]) -> bool {
    body.starts_with(b"Obj\x01")
}

/// A container, unpacked if it is packed.
///
/// # Errors
/// `Invalid` when it is not a container of records, is broken, or holds none; `TooLarge`; `Busy`.
pub(super) fn of_avro(dataset: DatasetName, body: Bytes, room: &mut Room) -> Result<Made> {
    let payload = unpacked_container(body, room)?;
    let events = events(avro::count(&payload)?, payload.len())?;
    Ok(Made::of_payload(dataset, Encoding::Avro, (payload, events)))
}

/// Messages, each behind its length.
///
/// # Errors
/// `Invalid` when a length is not one, or there is no message; `TooLarge`.
pub(super) fn of_protobuf(dataset: DatasetName, body: Bytes) -> Result<Made> {
    let events = events(protobuf::count(&body)?, body.len())?;
    Ok(Made::of_payload(dataset, Encoding::Protobuf, (body, events)))
}

fn events(counted: u64, bytes: usize) -> Result<u32> {
    if bytes > BATCH_BYTES_MAX {
        return Err(Error::too_large(format_args!(
            "body is too large, split it bytes={bytes} bytes_max={BATCH_BYTES_MAX}"
        )));
    }
    match u32::try_from(counted) {
        Ok(0) => Err(Error::invalid("body holds no event")),
        Ok(events) if events <= BATCH_EVENTS_MAX => Ok(events),
        _ => Err(Error::too_large(format_args!(
            "body holds too many events, split it events={counted} events_max={BATCH_EVENTS_MAX}"
        ))),
    }
}
