//! Sizes and durations with their units, and what may be "all".

use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// How much is kept: in the file a duration or a size with its unit, or `"all"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep<T> {
    /// Nothing is deleted for this reason.
    #[default]
    All,
    /// So much, and what is beyond may be deleted.
    UpTo(T),
}

impl<T> Keep<T> {
    pub(crate) fn limit(self) -> Option<T> {
        match self {
            Self::All => None,
            Self::UpTo(limit) => Some(limit),
        }
    }
}

const SIZES: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// In milliseconds.
const DURATIONS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    with_unit(&String::deserialize(deserializer)?, "a size", &SIZES)
}

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?)
}

pub(super) fn parse_duration<E: serde::de::Error>(text: &str) -> Result<Duration, E> {
    with_unit(text, "a duration", &DURATIONS).map(Duration::from_millis)
}

pub(super) fn some_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    size(deserializer).map(Some)
}

pub(super) fn some_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

impl<'de> Deserialize<'de> for Keep<u64> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "all" => Ok(Self::All),
            text => with_unit(text, "a size or \"all\"", &SIZES).map(Self::UpTo),
        }
    }
}

impl<'de> Deserialize<'de> for Keep<Duration> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "all" => Ok(Self::All),
            text => {
                let ms = with_unit(text, "a duration or \"all\"", &DURATIONS)?;
                Ok(Self::UpTo(Duration::from_millis(ms)))
            }
        }
    }
}

fn with_unit<E: serde::de::Error>(text: &str, what: &str, units: &[(&str, u64)]) -> Result<u64, E> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text[digits.len()..].trim();
    let value = digits.trim().parse::<u64>().ok();
    let factor = units
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, factor)| *factor);
    value
        .zip(factor)
        .and_then(|(value, factor)| value.checked_mul(factor))
        .ok_or_else(|| {
            let units: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
            E::custom(format_args!(
                "not {what}: write a whole number and one of {} value={text:?}",
                units.join(" ")
            ))
        })
}
