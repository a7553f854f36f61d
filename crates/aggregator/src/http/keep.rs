//! Giving the parts of a request to the queue.

use event::wire::PutAck;
use event::{BatchHeader, BatchKey, DatasetName, Durability, Encoding, Sequence};
use futures::future::join_all;
use jiff::Timestamp;

use super::Door;
use super::key::RequestKey;
use super::rows::Part;
use crate::counters::add;
use crate::{Error, Result};

/// What became of a part.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) dataset: DatasetName,
    pub(super) events: u32,
    pub(super) rejected: u32,
    /// Whether an earlier request had brought it.
    pub(super) duplicate: bool,
    /// What the acks of its batches promise: the least of them.
    pub(super) durability: Durability,
    /// Whether one of them is on this machine alone.
    pub(super) spooled: bool,
    pub(super) failure: Option<Error>,
}

/// Appends all parts, each on its own: one that fails does not keep the others out.
///
/// # Errors
/// `Invalid` or `TooLarge` when the sender counts batches itself and this is more than one, `Invalid` when it asks for a
/// durability that there is not, `Denied` when the caller
/// may not send to one of the datasets; nothing is kept then.
pub(super) async fn keep(door: &Door, parts: Vec<Part>, key: &RequestKey) -> Result<Vec<Kept>> {
    if let (RequestKey::Given(_), [] | [_, _, ..]) = (key, parts.as_slice()) {
        return Err(Error::invalid(
            "sanderling-sequence numbers batches of one dataset, and the events belong to none or several: name the dataset or use idempotency-key",
        ));
    }
    let durability = door.durability.clone()?;
    for part in &parts {
        door.check_caller(&part.dataset)?;
    }
    let keep = parts.into_iter().map(async |part| {
        let outcome = keep_part(door, &part, (key, durability)).await;
        let acks = outcome.as_deref().unwrap_or_default();
        Kept {
            dataset: part.dataset,
            events: part.events,
            rejected: part.rejected,
            duplicate: outcome.is_ok() && acks.iter().all(|ack| ack.duplicate),
            durability: acks.iter().map(|ack| ack.durability).min().unwrap_or_default(),
            spooled: acks.iter().any(|ack| ack.spooled),
            failure: outcome.err(),
        }
    });
    Ok(join_all(keep).await)
}

/// The acks of its batches.
async fn keep_part(
    door: &Door,
    part: &Part,
    (key, durability): (&RequestKey, Option<Durability>),
) -> Result<Vec<PutAck>> {
    if part.batches.len() > 1 && matches!(key, RequestKey::Given(_)) {
        return Err(Error::too_large(
            "rows of the body are more than the one batch that sanderling-sequence numbers, split it",
        ));
    }
    let opened = door.aggregator.open(part.dataset.clone()).await?;
    opened.check_rate()?;
    let first = key.first(&part.dataset, &part.ids);
    let now = door.aggregator.now();
    let mut appends = Vec::with_capacity(part.batches.len());
    let mut refused = None;
    for ((payload, events), count) in part.batches.iter().zip(0..) {
        let key = BatchKey {
            sequence: Sequence(first.sequence.0 + count),
            ..first
        };
        match door.aggregator.append(
            &opened,
            header_of(key, part.encoding, *events, now),
            payload.clone(),
            durability,
        ) {
            Ok(append) => appends.push(append),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let acks: Vec<PutAck> = join_all(appends).await.into_iter().collect::<Result<_>>()?;
    if let Some(error) = refused {
        return Err(error);
    }
    if !acks.iter().all(|ack| ack.duplicate) {
        add(&opened.known.counters.rejected, u64::from(part.rejected));
    }
    Ok(acks)
}

/// The header of a batch from the text door.
fn header_of(key: BatchKey, encoding: Encoding, events: u32, now: Timestamp) -> BatchHeader {
    BatchHeader {
        key,
        events,
        encoding,
        generated_at: now,
        received_at: now,
    }
}
