//! What can be set of a dataset.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::SchemaSettings;

/// Settings of one dataset; what is left out has the default named here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatasetSettings {
    /// The field that holds the event's own time, as a path of names with dots (`event.time`): RFC 3339 text, or
    /// a number of milliseconds since 1970. Default: none; `eventTime` is then the time of receipt.
    pub event_time: Option<String>,
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
            partitions: 1,
            schema: None,
            tier: Tier::default(),
            protobuf: None,
        }
    }
}
