//! Taking a request's body: read, unpacked and made ready, under the limits.

use axum::body::Body;
use axum::http::HeaderMap;
use bytes::{Bytes, BytesMut};
use event::DatasetName;
use futures::StreamExt;

use super::Door;
use super::encoding::{encoding_of, is_packed_container, unpacked};
use super::header::text_of;
use super::room::Room;
use crate::{Error, ErrorKind, Result};

/// Bodies larger than this are made ready on a thread that may block.
const INLINE_BYTES_MAX: usize = 64 << 10;
const FIRST_STEP_BYTES: usize = 16 << 10;

/// A request with its body still to come.
pub(super) struct Incoming<'a> {
    /// Whose share of memory it takes: the dataset that is named, else one that events may go to.
    pub(super) dataset: DatasetName,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: Body,
    /// What the body may have, as sent and unpacked.
    pub(super) bytes_max: usize,
}

/// Reads a body and makes something of it. The room that both take comes with it, to be held until the answer.
///
/// # Errors
/// `TooLarge`, `Unsupported`, `Busy`, `Invalid`; `Retry` when the server is closing; and those of `make`.
pub(super) async fn receive<T: Send + 'static>(
    door: &Door,
    incoming: Incoming<'_>,
    make: impl FnOnce(Bytes, &mut Room) -> Result<T> + Send + 'static,
) -> Result<(T, Room)> {
    if door.aggregator.is_closing() {
        return Err(Error::new(
            ErrorKind::Retry,
            "this server is shutting down, send it again later",
        ));
    }
    let Incoming {
        dataset,
        headers,
        body,
        bytes_max,
    } = incoming;
    let encoding = encoding_of(headers)?;
    let length = text_of(headers, "content-length")?.and_then(|length| length.parse::<usize>().ok());
    if length.is_some_and(|length| length > bytes_max) {
        return Err(too_large(bytes_max));
    }
    let mut room = Room::new(door.aggregator.clone(), dataset);
    let body = read(body, length, bytes_max, &mut room).await?;
    let turn = match encoding.is_some() || is_packed_container(&body) {
        false => None,
        // The semaphore is never closed.
        true => Some(door.unpacking.clone().acquire_owned().await),
    };
    let inline = turn.is_none() && body.len() <= INLINE_BYTES_MAX;
    let prepare = move || {
        let _turn = turn;
        let body = match encoding {
            None => body,
            Some(encoding) => {
                let unpacked = unpacked(&body, encoding, bytes_max, &mut room)?;
                drop(body);
                unpacked
            }
        };
        make(body, &mut room).map(|made| (made, room))
    };
    if inline {
        return prepare();
    }
    tokio::task::spawn_blocking(prepare)
        .await
        .map_err(|error| Error::new(ErrorKind::Retry, error))?
}

/// `length` is what `Content-Length` says.
async fn read(body: Body, length: Option<usize>, bytes_max: usize, room: &mut Room) -> Result<Bytes> {
    let mut bytes = BytesMut::new();
    if let Some(length) = length {
        room.cover(length)?;
        bytes.reserve(length);
    }
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Error::invalid(format_args!("body cannot be read: {error}")))?;
        let needed = bytes.len() + chunk.len();
        if needed > bytes_max {
            return Err(too_large(bytes_max));
        }
        if needed > bytes.capacity() {
            let capacity = needed.max(2 * bytes.capacity()).max(FIRST_STEP_BYTES);
            room.cover(capacity)?;
            bytes.reserve(capacity - bytes.len());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

fn too_large(bytes_max: usize) -> Error {
    Error::too_large(format_args!("body is too large, split it bytes_max={bytes_max}"))
}
