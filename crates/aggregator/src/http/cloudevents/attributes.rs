//! The attributes that every CloudEvent must have.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::http::key::{EventId, IdShape, event_id};
use crate::{Error, Result};

/// The only version of the specification there is rows for.
const SPEC_VERSION: &str = "1.0";

/// What is looked at of an event; `None` is an attribute that is not set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) spec_version: Option<String>,
    pub(super) id: Option<String>,
    pub(super) source: Option<String>,
    pub(super) event_type: Option<String>,
    /// How many of `data` and `data_base64` there are.
    data: usize,
}

impl Attributes {
    /// Of an event in the JSON format.
    pub(super) fn read(event: &str) -> Result<Self> {
        let mut attributes = Self::default();
        let mut deserializer = serde_json::Deserializer::from_str(event);
        deserializer
            .deserialize_map(&mut attributes)
            .map_err(|error| Error::invalid(format_args!("not an event in JSON: {error}")))?;
        Ok(attributes)
    }

    /// Where an attribute of this name is kept; `None` for those that are not looked at.
    pub(super) fn slot(&mut self, name: &str) -> Option<&mut Option<String>> {
        match name {
            "specversion" => Some(&mut self.spec_version),
            "id" => Some(&mut self.id),
            "source" => Some(&mut self.source),
            "type" => Some(&mut self.event_type),
            _ => None,
        }
    }

    /// The id of the event, made of its source and id.
    ///
    /// # Errors
    /// `Invalid` when a required attribute is missing or empty (the text names it), the version is not known, or
    /// there is data of two kinds.
    pub(super) fn check(&self) -> Result<EventId> {
        let version = required("specversion", &self.spec_version)?;
        if version != SPEC_VERSION {
            return Err(Error::invalid(format_args!(
                "unknown version of CloudEvents, send {SPEC_VERSION} specversion={version:?}"
            )));
        }
        let source = required("source", &self.source)?;
        let id = required("id", &self.id)?;
        required("type", &self.event_type)?;
        if self.data > 1 {
            return Err(Error::invalid("event has data and data_base64, send one"));
        }
        Ok(event_id(IdShape::CloudEvent, &[source.as_bytes(), id.as_bytes()]))
    }
}

fn required<'a>(name: &str, value: &'a Option<String>) -> Result<&'a str> {
    match value.as_deref() {
        None => Err(Error::invalid(format_args!(
            "event lacks a required attribute attribute={name}"
        ))),
        Some("") => Err(Error::invalid(format_args!(
            "a required attribute is empty attribute={name}"
        ))),
        Some(value) => Ok(value),
    }
}

impl<'de> Visitor<'de> for &mut Attributes {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if let Some(slot) = self.slot(&name) {
                let value: &RawValue = map.next_value()?;
                *slot = serde_json::from_str(value.get()).map_err(|_| {
                    serde::de::Error::custom(format_args!(
                        "the value of an attribute must be text attribute={name}"
                    ))
                })?;
                continue;
            }
            if name == "data" || name == "data_base64" {
                self.data += 1;
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}
