//! The maxima of the queue. Everything that input can grow names one of these.

/// Datasets of one queue.
pub const DATASETS_MAX: usize = 10_000;
/// Partitions of one dataset.
pub const PARTITIONS_MAX: u32 = 64;
/// Partitions of a dataset that nobody made with a number of its own.
pub const PARTITIONS_DEFAULT: u32 = 4;
/// Emitters that one partition remembers; beyond, the one whose last batch is the oldest is forgotten.
pub const EMITTERS_MAX: usize = 100_000;
/// Payload bytes that are appended but not yet durable, per queue, unless settings say otherwise.
pub const IN_FLIGHT_BYTES_MAX: usize = 64 << 20;
/// What an append in flight counts beside its payload, so that tiny batches are bounded as well.
pub const IN_FLIGHT_OVERHEAD_BYTES: usize = 256;
/// Payload bytes that one write and one fsync carry, apart from the batch that reaches it.
pub const GROUP_BYTES_MAX: usize = 16 << 20;
/// The last offset a segment may begin with; a file whose name says more is none of the log's.
pub const OFFSET_MAX: u64 = 1 << 62;
/// Size at which a segment ends and the next begins, unless settings say otherwise.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;
/// The largest size that settings may ask for.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// The most that is allocated ahead of the data at a time.
pub const PREALLOCATE_BYTES_MAX: u64 = 8 << 20;
/// The least that is allocated ahead of the data at a time.
pub const PREALLOCATE_BYTES_MIN: u64 = 64 << 10;
/// Newest bytes of each partition's active segment that stay in the page cache of the system.
pub const CACHED_BYTES_MAX: u64 = 16 << 20;
/// What the page cache is told to let go of at a time.
pub const UNCACHE_BYTES: u64 = 1 << 20;
/// Newest payload bytes that each partition keeps in memory for readers that follow closely.
pub const TAIL_BYTES_MAX: usize = 2 << 20;
/// Newest batches that each partition keeps in memory for readers that follow closely.
pub const TAIL_BATCHES_MAX: usize = 4_096;
/// Threads that write.
pub const WRITERS_MAX: usize = 64;
/// Consumers of one dataset that can be registered.
pub const CONSUMERS_MAX: usize = 1_000;
/// Characters of a consumer's name.
pub const CONSUMER_NAME_CHARS_MAX: usize = 200;
/// The file that holds the consumers of a dataset.
pub const CONSUMERS_FILE_BYTES_MAX: usize = 4 << 20;
/// The file that holds the settings of a dataset.
pub const META_FILE_BYTES_MAX: usize = 4 << 10;
/// Damaged places that a recovery or a verification names one by one.
pub const DAMAGES_MAX: usize = 1_000;
/// Body of the largest record: a batch, or a snapshot of the emitters.
pub const RECORD_BODY_BYTES_MAX: usize = event::limits::BATCH_BYTES_MAX + 4096;

const _: () = assert!(
    CONSUMERS_MAX * (CONSUMER_NAME_CHARS_MAX + 48 + 21 * PARTITIONS_MAX as usize) < CONSUMERS_FILE_BYTES_MAX
);
const _: () = assert!(EMITTERS_MAX * crate::dedup::SNAPSHOT_ENTRY_BYTES + 16 <= RECORD_BODY_BYTES_MAX);
const _: () = assert!(event::limits::BATCH_BYTES_MAX + 50 <= RECORD_BODY_BYTES_MAX);
const _: () = assert!(IN_FLIGHT_BYTES_MAX >= event::limits::BATCH_BYTES_MAX + IN_FLIGHT_OVERHEAD_BYTES);
