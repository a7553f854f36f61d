//! A batch: the unit of sending, appending, acking and deduplicating; and its stored form.

use bytes::Bytes;
use jiff::Timestamp;
use uuid::Uuid;

use crate::limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX};
use crate::{DatasetName, Error, Result};

/// One running client instance; a UUIDv7 made when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct EmitterId(pub Uuid);

/// Counts the lives of an emitter that keeps its id across restarts; a higher epoch fences the lower ones.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u32);

/// Counts the batches of one emitter, epoch and dataset: 0, 1, 2 … without holes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The one after.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// What makes a batch itself: two batches of one dataset with the same key are the same batch sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchKey {
    /// Who sends.
    pub emitter: EmitterId,
    /// In which of its lives.
    pub epoch: Epoch,
    /// As which batch of the dataset.
    pub sequence: Sequence,
}

/// What a payload is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// An Arrow IPC stream: schema, dictionaries, one or more record batches, with or without the end marker.
    ArrowIpc,
    /// One JSON object a line, `\n` between lines; blank lines do not count.
    Ndjson,
    /// An Avro object container file whose blocks are not packed: see [`crate::avro`].
    Avro,
    /// Protobuf messages of the dataset's type, each behind its length: see [`crate::protobuf`].
    Protobuf,
}

impl Encoding {
    /// All of them; the place is the number in a stored header.
    const ALL: [Self; 4] = [Self::ArrowIpc, Self::Ndjson, Self::Avro, Self::Protobuf];
}

/// What travels beside a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Which batch it is.
    pub key: BatchKey,
    /// How many events the payload holds (lines of NDJSON that are not blank, rows, records
    /// or messages).
    pub events: u32,
    /// What the payload is made of.
    pub encoding: Encoding,
    /// When its oldest event was emitted, by the client's clock.
    pub generated_at: Timestamp,
    /// When the aggregator received it, by the aggregator's clock.
    pub received_at: Timestamp,
}

/// Events of one dataset from one emitter, sealed together, as they were sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The dataset they belong to.
    pub dataset: DatasetName,
    /// Who, when, how many.
    pub header: BatchHeader,
    /// The events.
    pub payload: Bytes,
}

impl Batch {
    /// Checks sizes against [`crate::limits`].
    pub fn check(&self) -> Result<()> {
        if self.payload.len() > BATCH_BYTES_MAX {
            return Err(Error::too_large(format_args!(
                "batch is too large, split it bytes={} bytes_max={BATCH_BYTES_MAX}",
                self.payload.len()
            )));
        }
        if self.header.events == 0 || self.header.events > BATCH_EVENTS_MAX {
            return Err(Error::invalid(format_args!(
                "a batch holds 1 to {BATCH_EVENTS_MAX} events events={}",
                self.header.events
            )));
        }
        Ok(())
    }
}

/// Bytes of an encoded [`BatchHeader`].
pub(crate) const HEADER_BYTES: usize = 50;
const HEADER_VERSION: u8 = 1;

impl BatchHeader {
    /// The length of [`BatchHeader::encode`]'s output, in bytes.
    pub const ENCODED_BYTES: usize = HEADER_BYTES;

    /// The stored form, little endian: version u8 = 1, encoding u8 (0 Arrow IPC, 1 NDJSON, 2 Avro, 3 Protobuf),
    /// emitter 16 bytes, epoch u32, sequence u64, events u32, generated i64 µs, received i64 µs (both since the Unix epoch, UTC).
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = HEADER_VERSION;
        bytes[1] = match self.encoding {
            Encoding::ArrowIpc => 0,
            Encoding::Ndjson => 1,
            Encoding::Avro => 2,
            Encoding::Protobuf => 3,
        };
        bytes[2..18].copy_from_slice(self.key.emitter.0.as_bytes());
        bytes[18..22].copy_from_slice(&self.key.epoch.0.to_le_bytes());
        bytes[22..30].copy_from_slice(&self.key.sequence.0.to_le_bytes());
        bytes[30..34].copy_from_slice(&self.events.to_le_bytes());
        bytes[34..42].copy_from_slice(&self.generated_at.as_microsecond().to_le_bytes());
        bytes[42..50].copy_from_slice(&self.received_at.as_microsecond().to_le_bytes());
        bytes
    }

    /// Reads what [`BatchHeader::encode`] wrote.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are too few, of another version, or say what cannot be.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let bytes: &[u8; HEADER_BYTES] = bytes
            .get(..HEADER_BYTES)
            .and_then(|head| head.try_into().ok())
            .ok_or_else(|| Error::corrupt(format_args!("batch header is cut short bytes={}", bytes.len())))?;
        if bytes[0] != HEADER_VERSION {
            return Err(Error::corrupt(format_args!(
                "unknown version of a batch header version={}",
                bytes[0]
            )));
        }
        let encoding = Encoding::ALL.get(usize::from(bytes[1])).copied().ok_or_else(|| {
            Error::corrupt(format_args!(
                "unknown encoding of a batch, a newer version may have written it encoding={}",
                bytes[1]
            ))
        })?;
        let time = |at: usize| {
            Timestamp::from_microsecond(i64::from_le_bytes(take(bytes, at)))
                .map_err(|e| Error::corrupt(format_args!("time of a batch header is out of range: {e}")))
        };
        Ok(Self {
            key: BatchKey {
                emitter: EmitterId(Uuid::from_bytes(take(bytes, 2))),
                epoch: Epoch(u32::from_le_bytes(take(bytes, 18))),
                sequence: Sequence(u64::from_le_bytes(take(bytes, 22))),
            },
            encoding,
            events: u32::from_le_bytes(take(bytes, 30)),
            generated_at: time(34)?,
            received_at: time(42)?,
        })
    }
}

fn take<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn header_round_trips(id: u128, epoch: u32, sequence: u64, events: u32, encoding in 0usize..4, at in 0i64..4_000_000_000_000_000) {
            let header = BatchHeader {
                key: BatchKey { emitter: EmitterId(Uuid::from_u128(id)), epoch: Epoch(epoch), sequence: Sequence(sequence) },
                events,
                encoding: Encoding::ALL[encoding],
                generated_at: Timestamp::from_microsecond(at).unwrap(),
                received_at: Timestamp::from_microsecond(at / 2).unwrap(),
            };
            prop_assert_eq!(BatchHeader::decode(&header.encode()).unwrap(), header);
        }

        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            let _ = BatchHeader::decode(&bytes);
        }
    }
}
