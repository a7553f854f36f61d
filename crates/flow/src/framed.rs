//! A job's progress beside facts of ours, in the one [`Progress`] that a store keeps with its values.
//!
//! Facts are parts of their own (`floor`, `build`), the job's parts have the prefix `job/`, and the part `job` says
//! that the job has some progress, if only an empty one. So facts, the job's progress and the values change in one
//! atomic commit, and the store's fence guards all three.

use store::Progress;

use crate::BatchId;

const JOB: &str = "job";
const JOB_PARTS: &str = "job/";

/// The job's progress in a store's progress; `None` before its first commit.
pub(crate) fn job_in(held: &Progress) -> Option<Progress> {
    let own = |(part, offset): (&String, &u64)| Some((part.strip_prefix(JOB_PARTS)?.to_owned(), *offset));
    held.0
        .contains_key(JOB)
        .then(|| held.0.iter().filter_map(own).collect())
}

/// Adds the job's progress to our facts.
pub(crate) fn put_job(facts: &mut Progress, job: Option<&Progress>) {
    let Some(job) = job else { return };
    facts.advance(JOB, 1);
    for (part, offset) in &job.0 {
        facts.advance(&format!("{JOB_PARTS}{part}"), *offset);
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
