//! Bytes that last: a versioned, documented form for every value that can be kept.
//!
//! A named type opens with two bytes, its [`kind`] and its version, then its shape (the parameters of its type), then
//! its content. Numbers are little-endian; lengths are `u32`; maps and sets are written in the order of their keys, so
//! equal values have equal bytes. Plain elements (integers, floats, strings, tuples, options, collections) have no
//! header of their own.
//!
//! Families that Apache DataSketches has are, as a whole value ([`Codec::to_bytes`]), that project's bytes, which other
//! languages read; inside another value they are a length and those bytes.
//!
//! ```
//! use algebra::codec::Codec;
//!
//! let bytes = ("ant".to_owned(), 7_u16).to_bytes();
//! assert_eq!(bytes, [3, 0, 0, 0, b'a', b'n', b't', 7, 0]);
//! assert_eq!(<(String, u16)>::from_bytes(&bytes)?, ("ant".to_owned(), 7));
//! # Ok::<(), algebra::codec::DecodeError>(())
//! ```

mod elements;
mod error;
pub mod kind;
mod text;

pub use error::{DecodeError, DecodeErrorKind};
pub(crate) use text::through_bytes;
pub use text::{deserialize, serialize};

/// A value with bytes that last.
///
/// Laws ([`laws::round_trip`](crate::laws::round_trip)): `from_bytes(to_bytes(a)) = a`, and what `from_bytes` takes it
/// gives back: `to_bytes(from_bytes(b)) = b` wherever the form is canonical. No bytes make `decode` panic or allocate
/// more than a small multiple of their length.
#[diagnostic::on_unimplemented(message = "`{Self}` has no bytes that last: it does not implement `Codec`")]
pub trait Codec: Sized {
    /// Appends the bytes.
    fn encode(&self, out: &mut Vec<u8>);

    /// Takes the bytes of one value from the front of `input`.
    ///
    /// # Errors
    /// [`Corrupt`](DecodeErrorKind::Corrupt), [`Version`](DecodeErrorKind::Version) or
    /// [`Shape`](DecodeErrorKind::Shape).
    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError>;

    /// The value as a whole.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    /// A value from the whole of `bytes`.
    ///
    /// # Errors
    /// As [`decode`](Self::decode), and `Corrupt` when bytes are left over.
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Input::new(bytes);
        let value = Self::decode(&mut input)?;
        input.finish()?;
        Ok(value)
    }
}

/// Bytes being read, front to back.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    /// Reads from the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// `Corrupt` when there are fewer.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        if count > self.remaining() {
            return Err(self.corrupt(format!(
                "bytes end early: needed={count} left={}",
                self.remaining()
            )));
        }
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// `Corrupt` when there are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("take gives as many bytes as asked for"))
    }

    /// A length, of elements that take at least `element_bytes_min` bytes each: so it cannot claim more than there is.
    ///
    /// # Errors
    /// `Corrupt` when that many elements cannot be left.
    pub fn length(&mut self, element_bytes_min: usize) -> Result<usize, DecodeError> {
        let length = u32::from_le_bytes(self.array()?) as usize;
        if length.saturating_mul(element_bytes_min.max(1)) > self.remaining() {
            return Err(self.corrupt(format!(
                "length exceeds what is left: length={length} left={}",
                self.remaining()
            )));
        }
        Ok(length)
    }

    /// The two bytes that open a named type.
    ///
    /// # Errors
    /// `Corrupt` when it is another kind, `Version` when it is another version.
    pub fn header(&mut self, kind: kind::Kind, version: u8) -> Result<(), DecodeError> {
        let [found_kind, found_version] = self.array()?;
        if found_kind != kind.0 {
            return Err(self.corrupt(format!(
                "another kind of value: expected={kind} found={}",
                kind::Kind(found_kind)
            )));
        }
        if found_version != version {
            return Err(self.error(
                DecodeErrorKind::Version,
                format!("another version of the form, take the release that wrote it: kind={kind} expected={version} found={found_version}"),
            ));
        }
        Ok(())
    }

    /// A parameter of the type, which must be this one.
    ///
    /// # Errors
    /// `Shape` when it is another.
    pub fn shape(&mut self, name: &str, expected: u64) -> Result<(), DecodeError> {
        let found = u64::from_le_bytes(self.array()?);
        if found != expected {
            return Err(self.error(
                DecodeErrorKind::Shape,
                format!("made with another parameter, read it as the type that has it: parameter={name} expected={expected} found={found}"),
            ));
        }
        Ok(())
    }

    /// An error here: the bytes are not what was ever written.
    pub fn corrupt(&self, text: impl Into<String>) -> DecodeError {
        self.error(DecodeErrorKind::Corrupt, text)
    }

    /// An error here.
    pub fn error(&self, kind: DecodeErrorKind, text: impl Into<String>) -> DecodeError {
        DecodeError::new(kind, text, self.at)
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// `Corrupt` when something is.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(self.corrupt(format!("bytes are left over: left={left}"))),
        }
    }
}

/// Appends the two bytes that open a named type.
pub fn put_header(out: &mut Vec<u8>, kind: kind::Kind, version: u8) {
    out.extend_from_slice(&[kind.0, version]);
}

/// Appends a parameter of the type, for [`Input::shape`].
pub fn put_shape(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a length, for [`Input::length`].
///
/// # Panics
/// When it does not fit a `u32`: then the value has more than four thousand million elements.
pub fn put_length(out: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).expect("a value with 2^32 elements is beyond what bytes are for");
    out.extend_from_slice(&length.to_le_bytes());
}
