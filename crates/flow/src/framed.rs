//! A job's progress beside facts of ours, in the one [`Progress`] that a store keeps with its values.
//!
//! Facts are parts of their own (`floor`, `build`), the job's parts have the prefix `job/`, and the part `job` says
//! that the job has some progress, if only an empty one. So facts, the job's progress and the values change in one
//! atomic commit, and the store's fence guards all three. Any other progress is kept within a progress in the same way.

use store::{Error, ErrorKind, Progress, Result};

use crate::BatchId;

const JOB: &str = "job";

/// The job's progress in a store's progress; `None` before its first commit.
pub(crate) fn job_in(held: &Progress) -> Option<Progress> {
    inner(held, JOB)
}

/// Adds the job's progress to our facts.
pub(crate) fn put_job(facts: &mut Progress, job: Option<&Progress>) {
    put(facts, JOB, job);
}

/// The progress that is kept under a name within another one.
pub(crate) fn inner(held: &Progress, name: &str) -> Option<Progress> {
    let own = |(part, offset): (&String, &u64)| {
        let part = part.strip_prefix(name)?.strip_prefix('/')?;
        Some((part.to_owned(), *offset))
    };
    held.0
        .contains_key(name)
        .then(|| held.0.iter().filter_map(own).collect())
}

/// Keeps a progress under a name within another one.
pub(crate) fn put(held: &mut Progress, name: &str, inner: Option<&Progress>) {
    let Some(inner) = inner else { return };
    held.advance(name, 1);
    for (part, offset) in &inner.0 {
        held.advance(&format!("{name}/{part}"), *offset);
    }
}

/// A batch as an offset; later batches have larger ones.
pub(crate) fn offset_of(batch: BatchId) -> u64 {
    batch.0.cast_unsigned() ^ (1 << 63)
}

/// The batch of an [`offset_of`].
pub(crate) fn batch_at(offset: u64) -> BatchId {
    BatchId((offset ^ (1 << 63)).cast_signed())
}

const BATCHER: &str = "batcher/";

/// The batcher that a store remembers, as text.
pub(crate) fn batcher_in(held: &Progress) -> Option<String> {
    held.0
        .keys()
        .find_map(|part| part.strip_prefix(BATCHER))
        .map(str::to_owned)
}

/// Adds the batcher to our facts.
pub(crate) fn put_batcher(facts: &mut Progress, batcher: Option<&str>) {
    if let Some(batcher) = batcher {
        facts.advance(&format!("{BATCHER}{batcher}"), 1);
    }
}

/// The batcher of a store, given the one it remembers and the one it is used with.
///
/// # Errors
/// `Invalid` when they differ.
pub(crate) fn one_batcher(held: Option<String>, ours: Option<&str>) -> Result<Option<String>> {
    match (held, ours) {
        (Some(held), Some(ours)) if held != ours => {
            let text = "the store's sums are by other batches, which are not the same numbers: give it the batcher that \
                        it was filled with, or fill a new generation with the new one (`HybridJob::backfill`)";
            Err(Error::new(
                ErrorKind::Invalid,
                format!("{text} batcher={ours:?} held={held:?}"),
            ))
        }
        (held, ours) => Ok(held.or_else(|| ours.map(str::to_owned))),
    }
}

/// The error of all that is asked of a store that was dropped.
pub(crate) fn dropped() -> Error {
    let text = "the store has been dropped, because another generation has replaced it or its backfill was abandoned: \
                stop the job, and read the current generation";
    Error::new(ErrorKind::NotFound, text)
}
