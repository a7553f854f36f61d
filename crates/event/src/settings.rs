//! What can be set of a dataset.

use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::SchemaSettings;

/// Settings of one dataset; what is left out has the default named here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatasetSettings {
    /// The field that holds the event's own time, as a path of names with dots (`event.time`): RFC 3339 text, or
    /// a number of milliseconds since 1970. Default: none; `eventTime` is then the time of receipt.
    pub event_time: Option<String>,
    /// How far `eventTime` may be from the time of receipt. Default: any past, one day of the future.
    pub time_range: TimeRange,
    /// Partitions of the queue, 1 to 64. Default 1. More let one dataset's batches be appended in parallel.
    pub partitions: u32,
    /// What its events must look like. Default: whatever comes, with the types that are inferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaSettings>,
    /// Which datasets come first when there are fewer workers than are wanted. Default `standard`.
    pub tier: Tier,
    /// The type of its Protobuf messages. Default: none; they are rejected then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protobuf: Option<ProtobufSettings>,
}

/// The service level of a dataset. While there are workers enough for all, it makes no difference; when there are not, each
/// dataset with something to do gets one, and the others go to the higher tier first. As text: `gold`, `standard`, `bulk`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// What may wait: history that is sent again, logs that are read tomorrow.
    Bulk,
    /// What is seldom waited for.
    #[default]
    Standard,
    /// What people or programs wait for.
    Gold,
}

impl Tier {
    /// As in settings and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::Standard => "standard",
            Self::Gold => "gold",
        }
    }
}

/// Which type the Protobuf messages of a dataset are of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProtobufSettings {
    /// The file with the descriptors: a `FileDescriptorSet` with all imports, as `protoc --include_imports
    /// --descriptor_set_out` writes it.
    pub descriptors: PathBuf,
    /// The full name of the message, such as `shop.v1.Click`.
    pub message: String,
}

impl Default for DatasetSettings {
    fn default() -> Self {
        Self {
            event_time: None,
            time_range: TimeRange::default(),
            partitions: 1,
            schema: None,
            tier: Tier::default(),
            protobuf: None,
        }
    }
}

/// How far an event's time may be from the time at which it was received; `None` is without limit. An event that is
/// further is rejected.
///
/// The default lets the past in, as history is sent late and is no less true. It keeps the future out beyond a day: a
/// clock that is wrong by years would move watermarks and retention by event time with it, while a day forgives time
/// zones that were mixed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeRange {
    /// How long before. Default: any time.
    pub past: Option<Duration>,
    /// How long after. Default: a day.
    pub future: Option<Duration>,
}

impl Default for TimeRange {
    fn default() -> Self {
        Self {
            past: None,
            future: Some(Duration::from_secs(24 * 60 * 60)),
        }
    }
}

impl TimeRange {
    /// The time, or why it is out of range; all in µs since 1970.
    pub(crate) fn check(&self, time: i64, received: i64) -> Result<i64, String> {
        let ahead = time.saturating_sub(received);
        let beyond = |limit: Option<Duration>| {
            limit.filter(|limit| u128::from(ahead.unsigned_abs()) > limit.as_micros())
        };
        let (limit, side) = match ahead {
            1.. => (beyond(self.future), "after"),
            _ => (beyond(self.past), "before"),
        };
        let Some(limit) = limit else { return Ok(time) };
        let shown = |us| Timestamp::from_microsecond(us).map_or_else(|_| us.to_string(), |at| at.to_string());
        let limit = SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
        Err(format!(
            "the event's time is too far {side} its receipt, see the dataset's time_range eventTime={} received={} \
             max={limit:#}",
            shown(time),
            shown(received)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_is_about_the_time_of_receipt() {
        let hour = 3_600_000_000;
        let range = TimeRange {
            past: Some(Duration::from_secs(3600)),
            ..TimeRange::default()
        };
        for good in [-hour, 0, 24 * hour] {
            assert_eq!(range.check(good, 0), Ok(good));
        }
        assert_eq!(
            range.check(-hour - 1, 0).unwrap_err(),
            "the event's time is too far before its receipt, see the dataset's time_range \
             eventTime=1969-12-31T22:59:59.999999Z received=1970-01-01T00:00:00Z max=1h"
        );
        assert!(range.check(24 * hour + 1, 0).is_err());
        assert!(range.check(i64::MAX, i64::MIN).is_err());
        let any = TimeRange {
            past: None,
            future: None,
        };
        assert_eq!(any.check(i64::MIN, i64::MAX), Ok(i64::MIN));
    }
}
