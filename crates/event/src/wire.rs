//! The JSON that travels beside the data on Arrow Flight: headers and acks of `DoPut`, tickets and positions of
//! `DoGet`, bodies of `DoAction`. Times are microseconds since the Unix epoch, UTC.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::flags::Flags;
use crate::{
    BatchHeader, BatchKey, DatasetName, Durability, EmitterId, Encoding, Epoch, Error, Result, Sequence,
};

/// `app_metadata` of a batch on `DoPut`.
///
/// A client that leaves it out sends without a batch key: the server names an emitter for the stream and counts
/// its batches, so a resend after a lost ack is a second batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutHeader {
    /// The emitter's UUID.
    pub emitter: EmitterId,
    /// The emitter's life, 0 unless it keeps its id across restarts.
    #[serde(default)]
    pub epoch: Epoch,
    /// The batch's number for this dataset, from 0 without holes.
    pub sequence: Sequence,
    /// Needed for all but Arrow (messages without a data header); rows of Arrow are counted by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<u32>,
    /// What the body is; Arrow unless said.
    #[serde(default = "arrow_ipc")]
    pub encoding: Encoding,
    /// When the oldest event was emitted; the time of receipt unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated_at_us: Option<i64>,
    /// When an aggregator in front of this one received it. A server that does not trust its senders with it keeps
    /// its own time of receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at_us: Option<i64>,
    /// What the ack is to promise; what the server has for the dataset unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,
}

fn arrow_ipc() -> Encoding {
    Encoding::ArrowIpc
}

impl PutHeader {
    /// The header that the queue keeps. `events` is the count the server made or believes.
    pub fn into_header(self, events: u32, received_at: Timestamp) -> Result<BatchHeader> {
        let generated_at = match self.generated_at_us {
            None => received_at,
            Some(us) => Timestamp::from_microsecond(us).map_err(|_| {
                Error::invalid(format_args!(
                    "time is out of range: give µs since 1970 generated_at_us={us}"
                ))
            })?,
        };
        Ok(BatchHeader {
            key: BatchKey {
                emitter: self.emitter,
                epoch: self.epoch,
                sequence: self.sequence,
            },
            events,
            encoding: self.encoding,
            generated_at,
            received_at,
        })
    }
}

/// `app_metadata` of each `PutResult`: one a batch, in the order of the batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutAck {
    /// The batch that is kept.
    pub sequence: Sequence,
    /// How many events it holds.
    pub events: u32,
    /// Whether it had been kept before, by an earlier send.
    pub duplicate: bool,
    /// Whether it is on the disk of the server that answers and not in the queue yet, which is away. Whoever is
    /// answered so stays with that server until it answers without it: the queue does not know yet what it kept.
    #[serde(default, skip_serializing_if = "is_false")]
    pub spooled: bool,
    /// What the ack promises: what was asked for, or more.
    #[serde(default, skip_serializing_if = "Durability::is_default")]
    pub durability: Durability,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(given: &bool) -> bool {
    !given
}

/// What `DoGet` is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ticket {
    /// The rows of a query, then the end.
    Query {
        /// The query's text.
        sql: String,
    },
    /// A dataset's rows: history first, then live, without a gap or a double between them.
    Stream {
        /// Which dataset.
        dataset: DatasetName,
        /// Where to go on; absent: from the first row there is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Position>,
        /// Where to end exactly; absent: nowhere. Parts it does not name give nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Position>,
        /// Without `until`: whether to go on waiting for rows when all there are have been sent.
        follow: bool,
    },
}

/// A place in a dataset's stream: for each part of it (a partition of the queue, or a version of the history)
/// the number of slices taken. Opaque to clients, which only hand back what they were given.
pub type Position = BTreeMap<String, u64>;

/// `app_metadata` of each batch that a [`Ticket::Stream`] yields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamHeader {
    /// Where to go on after this batch.
    pub next: Position,
}

/// Names of the `DoAction` types.
pub mod action {
    /// Body [`super::StoreOpen`], answer empty.
    pub const STORE_OPEN: &str = "store.open";
    /// Body [`super::StoreName`], answer JSON of `Option<Position>`.
    pub const STORE_PROGRESS: &str = "store.progress";
    /// Body [`super::StoreGet`], answer JSON array, `null` where a key is absent.
    pub const STORE_GET: &str = "store.get";
    /// Body [`super::StoreCommit`], answer empty.
    pub const STORE_COMMIT: &str = "store.commit";
    /// Body [`super::StoreScan`], answer JSON array of `[key, value]`.
    pub const STORE_SCAN: &str = "store.scan";
    /// Body [`super::FlagsRequest`], answer [`super::FlagsAnswer`].
    pub const FLAGS: &str = "flags";
}

/// Opens (and makes) a store of a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoreOpen {
    /// The job's name, which names the store.
    pub name: String,
    /// What keys and values look like, for those who only read: JSON of Arrow fields.
    pub shape: serde_json::Value,
}

/// Names a store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoreName {
    /// The job's name.
    pub name: String,
}

/// Asks for the values of keys. Keys and values are JSON, as the store keeps them.
#[derive(Debug, Serialize, Deserialize)]
pub struct StoreGet {
    /// The job's name.
    pub name: String,
    /// The keys.
    pub keys: Vec<Box<serde_json::value::RawValue>>,
}

/// Writes values and the progress they stand for, all or nothing.
#[derive(Debug, Serialize, Deserialize)]
pub struct StoreCommit {
    /// The job's name.
    pub name: String,
    /// Key and value; no value removes the key.
    pub writes: Vec<(
        Box<serde_json::value::RawValue>,
        Option<Box<serde_json::value::RawValue>>,
    )>,
    /// The progress the store must hold now.
    pub expected: Option<Position>,
    /// The progress it holds afterwards.
    pub progress: Position,
}

/// Asks for pairs in key order.
#[derive(Debug, Serialize, Deserialize)]
pub struct StoreScan {
    /// The job's name.
    pub name: String,
    /// Start after this key.
    pub after: Option<Box<serde_json::value::RawValue>>,
    /// At most so many pairs.
    pub limit: usize,
}

/// Asks for the flags of clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagsRequest {
    /// The ETag of the flags that the client has; absent: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

/// The flags of clients, if they are not those that the client has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlagsAnswer {
    /// The ETag of the flags there are.
    pub etag: String,
    /// The flags, in the shape that [`Flags`] has; absent when the client has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<serde_json::Value>,
}

impl FlagsAnswer {
    /// What a server with these flags answers.
    pub fn new(flags: &Flags, request: &FlagsRequest) -> Self {
        let etag = flags.etag();
        let is_known = request.etag.as_ref() == Some(&etag);
        Self {
            flags: (!is_known).then(|| flags.to_json()),
            etag,
        }
    }
}
