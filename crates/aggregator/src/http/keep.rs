//! Giving the parts of a request to the queue.

use event::{BatchHeader, BatchKey, DatasetName, Encoding, Sequence};
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
    pub(super) failure: Option<Error>,
}

/// Appends all parts, each on its own: one that fails does not keep the others out.
///
/// # Errors
/// `Invalid` or `TooLarge` when the sender counts batches itself and this is more than one; nothing is kept then.
pub(super) async fn keep(door: &Door, parts: Vec<Part>, key: &RequestKey) -> Result<Vec<Kept>> {
    if let (RequestKey::Given(_), [] | [_, _, ..]) = (key, parts.as_slice()) {
        return Err(Error::invalid(
            "sanderling-sequence numbers batches of one dataset, and the events belong to none or several: name the dataset or use idempotency-key",
        ));
    }
    let keep = parts.into_iter().map(async |part| {
        let (failure, duplicate) = match keep_part(door, &part, key).await {
            Ok(duplicate) => (None, duplicate),
            Err(error) => (Some(error), false),
        };
        Kept {
            dataset: part.dataset,
            events: part.events,
            rejected: part.rejected,
            duplicate,
            failure,
        }
    });
    Ok(join_all(keep).await)
}

/// Says whether all of it was kept before.
async fn keep_part(door: &Door, part: &Part, key: &RequestKey) -> Result<bool> {
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
        match door
            .aggregator
            .append(&opened, header_of(key, *events, now), payload.clone(), None)
        {
            Ok(append) => appends.push(append),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let mut duplicate = true;
    for ack in join_all(appends).await {
        duplicate &= ack?.duplicate;
    }
    if let Some(error) = refused {
        return Err(error);
    }
    if !duplicate {
        add(&opened.known.counters.rejected, u64::from(part.rejected));
    }
    Ok(duplicate)
}

/// The header of a batch from the text door.
fn header_of(key: BatchKey, events: u32, now: Timestamp) -> BatchHeader {
    BatchHeader {
        key,
        events,
        encoding: Encoding::Ndjson,
        generated_at: now,
        received_at: now,
    }
}
