//! A job's progress beside facts of ours, in the one [`Progress`] that a store keeps with its values.
//!
//! Facts are parts of their own (`floor`, `build`), the job's parts have the prefix `job/`, and the part `job` says
//! that the job has some progress, if only an empty one. So facts, the job's progress and the values change in one
//! atomic commit, and the store's fence guards all three. Any other progress is kept within a progress in the same way.

use store::Progress;

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
