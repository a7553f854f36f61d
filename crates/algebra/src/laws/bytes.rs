//! What bytes promise.

use std::fmt::Debug;

use super::{Broken, Result, agree, plus};
use crate::Semigroup;
use crate::codec::{Codec, DecodeErrorKind};

/// `from_bytes(to_bytes(a)) = a`, and what was read is written alike.
///
/// # Errors
/// When it is not so.
pub fn round_trip<T: Codec + PartialEq + Debug>(a: &T) -> Result {
    let bytes = a.to_bytes();
    let read = T::from_bytes(&bytes)
        .map_err(|error| Broken(format!("from_bytes(to_bytes(a)) fails: {error}; a={a:?}")))?;
    agree("from_bytes(to_bytes(a)) = a", &read, a, T::eq)?;
    agree(
        "to_bytes(from_bytes(to_bytes(a))) = to_bytes(a)",
        &read.to_bytes(),
        &bytes,
        Vec::eq,
    )
}

/// Bytes that were cut short, lengthened or changed, or are anything at all, are refused or read; nothing panics, and
/// what is read can be written, read again and summed.
///
/// # Errors
/// When bytes cut short or lengthened are taken, or what was read from changed ones cannot be read again.
pub fn survives<T: Codec + Semigroup>(bytes: &[u8], changes: &[(usize, u8)]) -> Result {
    let mut changed = bytes.to_vec();
    for (at, byte) in changes {
        if !changed.is_empty() {
            let at = at % changed.len();
            changed[at] = *byte;
        }
    }
    if let Ok(value) = T::from_bytes(&changed) {
        let again = T::from_bytes(&value.to_bytes()).map_err(|error| {
            Broken(format!(
                "what was read cannot be read again: {error}; bytes={changed:02x?}"
            ))
        })?;
        let _ = plus(value, again).to_bytes();
    }
    if T::from_bytes(bytes).is_ok() {
        if !bytes.is_empty() && T::from_bytes(&bytes[..bytes.len() - 1]).is_ok() {
            return Err(Broken(format!(
                "bytes without their last one are taken: bytes={bytes:02x?}"
            )));
        }
        let longer = [bytes, &[0]].concat();
        if T::from_bytes(&longer).is_ok() {
            return Err(Broken(format!(
                "bytes with one more are taken: bytes={longer:02x?}"
            )));
        }
    }
    Ok(())
}

/// The bytes are refused for this reason.
///
/// # Errors
/// When they are taken, or refused for another.
pub fn refuses<T: Codec>(bytes: &[u8], kind: DecodeErrorKind) -> Result {
    match T::from_bytes(bytes).err().map(|error| error.kind()) {
        Some(found) if found == kind => Ok(()),
        found => Err(Broken(format!(
            "bytes should be refused as {kind:?}: found={found:?}"
        ))),
    }
}
