//! Protobuf messages as events: a payload is messages of one type, each behind its length as a varint.
//!
//! The type comes from a `FileDescriptorSet` (`protoc --include_imports --descriptor_set_out=events.binpb`, `buf build`)
//! and makes the columns, by the names in the `.proto`:
//!
//! | Protobuf | column |
//! |---|---|
//! | `bool` | Boolean |
//! | the integers | Int64; an unsigned one beyond 63 bits rejects the event |
//! | `float`, `double` | Float64 |
//! | `string` | Utf8View |
//! | `bytes` | BinaryView |
//! | an `enum` | Utf8View: the value's name, or its number if it has none |
//! | a message | Struct |
//! | `repeated` | List; never null |
//! | `map<k, v>` | List of Struct(`key`, `value`), by key; never null |
//! | the fields of a `oneof` | one column each; those that are not set are null |
//! | `google.protobuf.Timestamp` | Timestamp(µs, UTC); nanoseconds are cut |
//! | `google.protobuf.Duration` | Utf8View: seconds as in Protobuf's JSON, `1.5s` |
//! | `google.protobuf.Int64Value` and its like | that of the value; not set is null |
//! | `google.protobuf.Struct`, `Value`, `ListValue` | Utf8View: JSON |
//! | a message without fields, what nests too deep | none: values are JSON in `_extra` |
//!
//! A field that is not set is null if Protobuf can tell (`optional`, messages, `oneof`, proto2), else its default.
//! Fields that the type does not have are kept in `_extra` as `unknown fields`: base64 of their encoding.
//!
//! Not here: extensions (an event with one is rejected), the contents of `Any` (it is a message with `type_url` and
//! `value`), required fields of proto2 (declare them as required).

mod columns;
mod plan;
mod value;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};

use crate::limits::PROTOBUF_DESCRIPTORS_BYTES_MAX;
use crate::{Error, Result};
use plan::Plan;
use value::Message;

/// A type of messages. Clones share it.
#[derive(Clone)]
pub struct MessageType(Arc<Known>);

struct Known {
    descriptor: MessageDescriptor,
    plan: Plan,
}

impl fmt::Debug for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MessageType")
            .field(&self.0.descriptor.full_name())
            .finish()
    }
}

impl MessageType {
    /// The type of this full name (`shop.v1.Click`) in an encoded `FileDescriptorSet`.
    ///
    /// # Errors
    /// `Invalid`: the bytes are no such set, or a file that it imports is not in it; or it has no message of that name
    /// (the text lists those that it has). `TooLarge`: over [`PROTOBUF_DESCRIPTORS_BYTES_MAX`].
    pub fn new(descriptors: &[u8], message: &str) -> Result<Self> {
        let bytes = descriptors.len();
        if bytes > PROTOBUF_DESCRIPTORS_BYTES_MAX {
            return Err(Error::too_large(format_args!(
                "descriptors of protobuf messages are too large bytes={bytes} bytes_max={PROTOBUF_DESCRIPTORS_BYTES_MAX}"
            )));
        }
        let pool = DescriptorPool::decode(descriptors).map_err(|error| {
            Error::invalid(format_args!(
                "not a set of descriptors, make one by protoc --include_imports --descriptor_set_out: {error}"
            ))
        })?;
        let descriptor = pool.get_message_by_name(message).ok_or_else(|| {
            let all = pool
                .all_messages()
                .filter(|message| !message.full_name().starts_with("google.protobuf."));
            let names: Vec<String> = all
                .take(20)
                .map(|message| message.full_name().to_owned())
                .collect();
            Error::invalid(format_args!(
                "the descriptors have no such message, they have {} message={message:?}",
                names.join(", ")
            ))
        })?;
        let plan = Plan::of(&descriptor);
        Ok(Self(Arc::new(Known { descriptor, plan })))
    }

    /// The message's full name.
    pub fn name(&self) -> &str {
        self.0.descriptor.full_name()
    }

    /// A column for each field that can have one.
    pub(crate) fn columns(&self) -> Vec<FieldRef> {
        columns::columns(&self.0.plan)
    }

    /// A message, ready to be read.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Result<Message<'_>, String> {
        let message = DynamicMessage::decode(self.0.descriptor.clone(), bytes)
            .map_err(|error| format!("not a message of {}: {error}", self.name()))?;
        Ok(Message::new(&self.0.plan, message))
    }
}

/// The messages of a payload. One that is cut short is an error, with what is left, and the last.
pub(crate) fn messages(payload: &[u8]) -> impl Iterator<Item = Result<&[u8], (Error, &[u8])>> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let at = payload.len() - rest.len();
        let Some((message, after)) = delimited(rest) else {
            let error = Error::invalid(format_args!(
                "messages are broken: not a length, or fewer bytes than it says (write each message behind its length) byte={at}"
            ));
            return Some(Err((error, std::mem::take(&mut rest))));
        };
        rest = after;
        Some(Ok(message))
    })
}

fn delimited(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length: u64 = 0;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7F);
        if at == 9 && bits > 1 {
            return None;
        }
        length |= bits << (7 * at);
        if byte & 0x80 == 0 {
            return bytes[at + 1..].split_at_checked(usize::try_from(length).ok()?);
        }
    }
    None
}

/// How many messages a payload has; none is read.
///
/// # Errors
/// `Invalid`, with the place: a length that is not one, or that is more than there is.
pub fn count(payload: &[u8]) -> Result<u64> {
    messages(payload).try_fold(0, |sum, message| match message {
        Ok(_) => Ok(sum + 1),
        Err((error, _)) => Err(error),
    })
}
