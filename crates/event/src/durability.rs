//! What an ack promises.

use serde::{Deserialize, Serialize};

/// What has become of a batch when it is acked; each promises what the ones before it do. As JSON: `"memory"`,
/// `"durable"`, `"queryable"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// It has its place in the order and is in the server's memory. A crash, or a disk that fails, may still lose
    /// it; the server counts the second, and the emitter's next batch is answered with a conflict.
    Memory,
    /// It is on disk, as the queue's port promises.
    #[default]
    Durable,
    /// It is on disk, and a query that begins after the ack sees its rows.
    Queryable,
}

impl Durability {
    /// Whether it is the default, which is left out on the wire.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl std::str::FromStr for Durability {
    type Err = crate::Error;

    /// Reads the names that JSON has.
    fn from_str(text: &str) -> crate::Result<Self> {
        match text {
            "memory" => Ok(Self::Memory),
            "durable" => Ok(Self::Durable),
            "queryable" => Ok(Self::Queryable),
            _ => Err(crate::Error::invalid(format_args!(
                "not a durability, use memory, durable or queryable durability={:?}",
                text.chars().take(32).collect::<String>()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_everywhere_and_each_promises_more() {
        let all = [Durability::Memory, Durability::Durable, Durability::Queryable];
        for durability in all {
            let json = serde_json::to_string(&durability).unwrap();
            assert_eq!(json.trim_matches('"').parse::<Durability>().unwrap(), durability);
        }
        assert!(all.is_sorted());
        let error = "disk".parse::<Durability>().unwrap_err();
        assert!(error.to_string().contains("queryable"), "{error}");
    }
}
