//! The frame of an object container file: header, blocks, marks between them.

use crate::limits::AVRO_SCHEMA_BYTES_MAX;
use crate::{Error, Result};

const MAGIC: [u8; 4] = *b"Obj\x01";
const SYNC_BYTES: usize = 16;

/// What the blocks of a container are packed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Not packed.
    Null,
    /// DEFLATE (RFC 1951), without a header.
    Deflate,
    /// Snappy, then the CRC-32 of the unpacked bytes, big endian.
    Snappy,
    /// Zstandard.
    Zstandard,
}

impl Codec {
    /// Its name in the header of a container.
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Deflate => "deflate",
            Self::Snappy => "snappy",
            Self::Zstandard => "zstandard",
        }
    }

    fn of(name: &[u8]) -> Result<Self> {
        let all = [Self::Null, Self::Deflate, Self::Snappy, Self::Zstandard];
        let found = all.into_iter().find(|codec| codec.name().as_bytes() == name);
        found.ok_or_else(|| {
            Error::invalid(format_args!(
                "unknown codec of an avro container, use null, deflate, snappy or zstandard codec={:?}",
                String::from_utf8_lossy(name)
            ))
        })
    }
}

/// A container whose header has been read.
///
/// ```
/// use event::avro::{Codec, Container, write_block, write_header};
/// let schema = br#"{"type":"record","name":"e","fields":[{"name":"n","type":"long"}]}"#;
/// let mut file = Vec::new();
/// write_header(&mut file, schema, [7; 16]);
/// write_block(&mut file, 2, &[2, 4], [7; 16]); // n = 1, n = 2
/// let container = Container::open(&file).unwrap();
/// assert_eq!(container.codec(), Codec::Null);
/// assert_eq!(container.blocks().next().unwrap().unwrap().records, 2);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Container<'a> {
    schema: &'a [u8],
    codec: Codec,
    sync: [u8; SYNC_BYTES],
    blocks: &'a [u8],
    header_bytes: usize,
}

/// Some records of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// How many it says they are.
    pub records: u64,
    /// The records one after the other, packed with the container's codec.
    pub bytes: &'a [u8],
    /// Where the bytes begin in the container.
    pub at: usize,
}

impl<'a> Container<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// `Invalid`: this is not a container, its header is cut short or has no schema, its codec is not one of [`Codec`].
    /// `TooLarge`: the schema is over [`AVRO_SCHEMA_BYTES_MAX`].
    pub fn open(bytes: &'a [u8]) -> Result<Self> {
        let mut input = Input::new(bytes);
        if input.take(MAGIC.len()) != Some(&MAGIC) {
            return Err(Error::invalid(
                "not an avro container file: it begins with other bytes than Obj1",
            ));
        }
        let cut =
            || Error::invalid("not an avro container file: its header is cut short or is no map of bytes");
        let (mut schema, mut codec) = (None, Codec::Null);
        loop {
            let mut entries = input.long().ok_or_else(cut)?;
            if entries == 0 {
                break;
            }
            if entries < 0 {
                input.long().ok_or_else(cut)?;
                entries = entries.checked_neg().ok_or_else(cut)?;
            }
            for _ in 0..entries {
                let key = input.bytes().ok_or_else(cut)?;
                let value = input.bytes().ok_or_else(cut)?;
                match key {
                    b"avro.schema" => schema = Some(value),
                    b"avro.codec" => codec = Codec::of(value)?,
                    _ => {}
                }
            }
        }
        let sync = input.take(SYNC_BYTES).ok_or_else(cut)?;
        let schema = schema.ok_or_else(|| Error::invalid("avro container has no schema in its header"))?;
        if schema.len() > AVRO_SCHEMA_BYTES_MAX {
            return Err(Error::too_large(format_args!(
                "schema of an avro container is too large bytes={} bytes_max={AVRO_SCHEMA_BYTES_MAX}",
                schema.len()
            )));
        }
        Ok(Self {
            schema,
            codec,
            sync: sync.try_into().map_err(|_| cut())?,
            blocks: input.rest,
            header_bytes: bytes.len() - input.rest.len(),
        })
    }

    /// The schema that the records were written with, as JSON.
    pub fn schema(&self) -> &'a [u8] {
        self.schema
    }

    /// What the blocks are packed with.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The mark behind each block.
    pub fn sync(&self) -> [u8; SYNC_BYTES] {
        self.sync
    }

    /// The blocks in order; the first that is not whole is an error and the last.
    pub fn blocks(&self) -> impl Iterator<Item = Result<Block<'a>>> + use<'a> {
        let (sync, all, before) = (self.sync, self.blocks.len(), self.header_bytes);
        let mut input = Input::new(self.blocks);
        let mut broken = false;
        std::iter::from_fn(move || {
            if broken || input.rest.is_empty() {
                return None;
            }
            let at = before + all - input.rest.len();
            let block = input.block(before + all, &sync);
            broken = block.is_none();
            Some(block.ok_or_else(|| {
                Error::invalid(format_args!(
                    "avro container is broken: a block is cut short or the mark behind it is another byte={at}"
                ))
            }))
        })
    }
}

/// Writes the header of a container that is not packed.
pub fn write_header(out: &mut Vec<u8>, schema: &[u8], sync: [u8; SYNC_BYTES]) {
    out.extend_from_slice(&MAGIC);
    write_long(out, 2);
    for (key, value) in [("avro.schema", schema), ("avro.codec", b"null")] {
        write_long(out, key.len() as i64);
        out.extend_from_slice(key.as_bytes());
        write_long(out, value.len() as i64);
        out.extend_from_slice(value);
    }
    write_long(out, 0);
    out.extend_from_slice(&sync);
}

/// Writes a block behind a header or another block.
pub fn write_block(out: &mut Vec<u8>, records: u64, bytes: &[u8], sync: [u8; SYNC_BYTES]) {
    write_long(out, records as i64);
    write_long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
    out.extend_from_slice(&sync);
}

fn write_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Avro's binary encoding, from the front; `None` when it is not what was expected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(crate) fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }

    /// A long: zigzag, seven bits a byte, lowest first.
    pub(crate) fn long(&mut self) -> Option<i64> {
        let mut value: u64 = 0;
        for (at, byte) in self.rest.iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7F);
            if at == 9 && bits > 1 {
                return None;
            }
            value |= bits << (7 * at);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[at + 1..];
                return Some((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        None
    }

    /// Bytes behind their length.
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let bytes = usize::try_from(self.long()?).ok()?;
        self.take(bytes)
    }

    fn block(&mut self, end: usize, sync: &[u8; SYNC_BYTES]) -> Option<Block<'a>> {
        let records = u64::try_from(self.long()?).ok()?;
        let bytes = usize::try_from(self.long()?).ok()?;
        let at = end - self.rest.len();
        let bytes = self.take(bytes)?;
        (self.take(SYNC_BYTES)? == sync).then_some(Block { records, bytes, at })
    }
}
