//! What makes a request's batches themselves, so that a request sent twice counts once.

use axum::http::{HeaderMap, HeaderValue};
use event::{BatchKey, DatasetName, EmitterId, Epoch, Sequence};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::header::{number, text_of};
use crate::aggregator::new_emitter;
use crate::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use crate::{Error, Result};

/// How the sender names a request, by headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RequestKey {
    /// `Idempotency-Key`.
    Named(Vec<u8>),
    /// `Sanderling-Emitter`, `Sanderling-Epoch` and `Sanderling-Sequence`.
    Given(BatchKey),
    /// None of these: the ids of the events decide, if they have some.
    Unnamed,
}

impl RequestKey {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self> {
        let idempotency = headers.get("idempotency-key").map(HeaderValue::as_bytes);
        let emitter = text_of(headers, "sanderling-emitter")?;
        let epoch = text_of(headers, "sanderling-epoch")?;
        let sequence = text_of(headers, "sanderling-sequence")?;
        match (idempotency, emitter, sequence) {
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) => Err(Error::invalid(
                "give either idempotency-key or sanderling-emitter and sanderling-sequence",
            )),
            (Some(key), None, None) => {
                if key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
                    return Err(Error::invalid(format_args!(
                        "idempotency-key must have 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes bytes={}",
                        key.len()
                    )));
                }
                Ok(Self::Named(key.to_vec()))
            }
            (None, Some(emitter), Some(sequence)) => Ok(Self::Given(BatchKey {
                emitter: EmitterId(Uuid::try_parse(emitter).map_err(|error| {
                    Error::invalid(format_args!("sanderling-emitter is not a UUID: {error}"))
                })?),
                epoch: Epoch(number("sanderling-epoch", epoch.unwrap_or("0"))?),
                sequence: Sequence(number("sanderling-sequence", sequence)?),
            })),
            (None, None, None) if epoch.is_none() => Ok(Self::Unnamed),
            _ => Err(Error::invalid(
                "sanderling-emitter and sanderling-sequence go together, give both or neither",
            )),
        }
    }

    /// The key of a dataset's first batch; those after it count on. `ids` are its events' ids in order; empty
    /// when one has none.
    pub(super) fn first(&self, dataset: &DatasetName, ids: &[EventId]) -> BatchKey {
        let emitter = match self {
            Self::Given(key) => return *key,
            Self::Named(key) => emitter_of(dataset, NAMED, key),
            Self::Unnamed if ids.is_empty() => new_emitter(),
            Self::Unnamed => emitter_of(dataset, EVENT_IDS, ids.as_flattened()),
        };
        BatchKey {
            emitter,
            epoch: Epoch(0),
            sequence: Sequence(0),
        }
    }
}

const NAMED: u8 = 0;
const EVENT_IDS: u8 = 1;

/// The emitter that a name stands for: always the same, and its first batch has sequence 0. Frozen: a retry may
/// come after an update of the server. A UUID of version 8 over the first 16 bytes of SHA-256.
fn emitter_of(dataset: &DatasetName, domain: u8, name: &[u8]) -> EmitterId {
    let mut hash = Sha256::new();
    hash.update(dataset.as_str());
    hash.update([domain]);
    hash.update(name);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    EmitterId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

/// What identifies one event among those of its dataset: the first 16 bytes of SHA-256 over its shape and the
/// texts of its id. Frozen, as the keys made of it are.
pub(super) type EventId = [u8; 16];

/// The kind of id, so that ids of different shapes never meet.
#[derive(Clone, Copy, Debug)]
pub(super) enum IdShape {
    /// `source` and `id`.
    CloudEvent = 1,
    /// `messageId`.
    Segment = 2,
    /// An event that was refused, as it was sent.
    Refused = 3,
}

pub(super) fn event_id(shape: IdShape, texts: &[&[u8]]) -> EventId {
    let mut hash = Sha256::new();
    hash.update([shape as u8]);
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    let mut id = [0; 16];
    id.copy_from_slice(&hash.finalize()[..16]);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_emitters_of_names_and_ids_are_frozen() {
        let dataset = |name: &str| name.parse::<DatasetName>().unwrap();
        let named = |name: &str, key: &str| {
            let key = RequestKey::Named(key.as_bytes().to_vec());
            key.first(&dataset(name), &[]).emitter.0.to_string()
        };
        assert_eq!(named("orders", "req-1"), "1684de3e-6e05-82ba-8af3-f7cda84c3802");
        assert_ne!(named("a", "k"), named("b", "k"));
        assert_ne!(named("a", "k"), named("a", "k2"));
        let one = event_id(IdShape::CloudEvent, &[b"/shop", b"1"]);
        let other = event_id(IdShape::CloudEvent, &[b"/shop1", b""]);
        let of = |ids: &[EventId]| RequestKey::Unnamed.first(&dataset("orders"), ids).emitter;
        assert_eq!(of(&[one]).0.to_string(), "a76f3447-78de-8310-a2a0-346982dcfb07");
        assert_ne!(of(&[one, other]), of(&[other, one]));
        assert_ne!(one, event_id(IdShape::Segment, &[b"/shop", b"1"]));
        assert_ne!(of(&[]), of(&[]), "without ids each request is a batch of its own");
    }
}
