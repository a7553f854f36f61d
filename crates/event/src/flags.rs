//! Flags: switches of clients that are set from afar, by dataset, and apply without a restart.
//!
//! As TOML, or as JSON of the same shape; what is left out of `default` has the defaults of [`DatasetFlags`], and
//! what is left out of a dataset is that of `default`:
//!
//! ```
//! let text = r#"
//!     default = { validate = false }
//!     [datasets.clicks]
//!     mode = "both"
//!     sample = { of = "emitters", share = 0.05 }
//! "#;
//! let (flags, warnings) = event::flags::Flags::parse(text).unwrap();
//! let clicks = flags.of(&"clicks".parse().unwrap());
//! assert_eq!((clicks.mode, clicks.validate), (event::flags::Mode::Both, false));
//! assert!(warnings.is_empty());
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use twox_hash::{XxHash3_128, XxHash64};

use crate::limits::FLAGS_BYTES_MAX;
use crate::{DatasetName, Error, Result};

/// The flags of all datasets.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Flags {
    /// Those of datasets that are not named.
    pub default: DatasetFlags,
    /// Those of datasets by name.
    pub datasets: BTreeMap<DatasetName, DatasetFlags>,
}

/// The flags of one dataset.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DatasetFlags {
    /// Where its events go. Default: [`Mode::Stream`].
    pub mode: Mode,
    /// Which of them go to the server. Default: all.
    pub sample: Sample,
    /// Whether clients check events that they have a schema for. Default: true.
    pub validate: bool,
}

impl Default for DatasetFlags {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            sample: Sample::default(),
            validate: true,
        }
    }
}

/// Where a client's events go: to the server (the stream), into hourly files (the batch pipeline), or both. From
/// files to the stream is a move of `batch` → `shadow` → `both` → `stream`, in shares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Nowhere: they are counted and dropped.
    Off,
    /// Into files alone.
    Batch,
    /// To the server.
    #[default]
    Stream,
    /// Into files, and those of the sample to the server too.
    Both,
    /// Into files; a copy of those of the sample goes to the dataset `<dataset>_shadow`, at best effort. Nothing
    /// that happens to the copy is the sender's trouble.
    Shadow,
}

/// Which events go to the server. What is not among them stays in the files, if the mode has files, and else is
/// counted and dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Sample {
    /// What is chosen.
    pub of: SampleOf,
    /// How much of it.
    pub share: Share,
}

/// What a sample is made of. The choice is deterministic: xxHash64 with seed 0, as a fraction of 2⁶⁴, is under the
/// share. So a larger share has all that a smaller one has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SampleOf {
    /// Clients, by the 16 bytes of their emitter id: all events of one, or none, for as long as it runs.
    #[default]
    Emitters,
    /// Events, by their JSON as it is sent, without the line's end; rows by the record batch, as Arrow IPC.
    Events,
}

/// A share, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Share(f64);

impl Default for Share {
    fn default() -> Self {
        Self(1.0)
    }
}

impl Share {
    /// A share.
    ///
    /// # Errors
    /// `Invalid` unless it is 0 to 1.
    pub fn new(share: f64) -> Result<Self> {
        if (0.0..=1.0).contains(&share) {
            return Ok(Self(share));
        }
        Err(Error::invalid(format_args!(
            "a share is a number from 0 to 1 share={share}"
        )))
    }

    /// As a number.
    pub fn get(self) -> f64 {
        self.0
    }

    /// Whether these bytes are in the share.
    pub fn takes(self, bytes: &[u8]) -> bool {
        // The product is exact up to rounding and saturates, so 1 needs a case of its own.
        self.0 >= 1.0 || XxHash64::oneshot(0, bytes) < (self.0 * 2f64.powi(64)) as u64
    }
}

impl Flags {
    /// Reads TOML, or JSON if the text begins with `{`. Unknown keys are left out and listed, so that a newer text
    /// does not stop an older client.
    ///
    /// # Errors
    /// `TooLarge` over [`FLAGS_BYTES_MAX`]; `Invalid` when the text cannot be read or a value cannot be one.
    pub fn parse(text: &str) -> Result<(Self, Vec<String>)> {
        if text.len() > FLAGS_BYTES_MAX {
            return Err(Error::too_large(format_args!(
                "flags are too large bytes={} bytes_max={FLAGS_BYTES_MAX}",
                text.len()
            )));
        }
        let value = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|error| wrong("JSON", &error))?
        } else {
            toml::from_str(text).map_err(|error| wrong("TOML", &error))?
        };
        Self::from_json(&value)
    }

    /// Reads what [`Flags::to_json`] made, or another client's idea of it.
    ///
    /// # Errors
    /// As [`Flags::parse`].
    pub fn from_json(value: &Value) -> Result<(Self, Vec<String>)> {
        let mut flags = Self::default();
        let mut warnings = Vec::new();
        let entries = object(value, "flags")?;
        if let Some(default) = entries.get("default") {
            flags.default = flags.default.with(default, "default", &mut warnings)?;
        }
        for (key, value) in entries {
            match key.as_str() {
                "default" => {}
                "datasets" => {
                    for (name, value) in object(value, "datasets")? {
                        let entry = flags
                            .default
                            .with(value, &format!("datasets.{name}"), &mut warnings)?;
                        flags.datasets.insert(name.parse()?, entry);
                    }
                }
                other => warnings.push(unknown(other)),
            }
        }
        Ok((flags, warnings))
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("names, numbers and truth values are JSON")
    }

    /// The flags of a dataset.
    pub fn of(&self, dataset: &DatasetName) -> DatasetFlags {
        self.datasets.get(dataset).copied().unwrap_or(self.default)
    }

    /// A hash of what they say: equal flags have equal ETags, whatever text they came from.
    pub fn etag(&self) -> String {
        format!(
            "{:032x}",
            XxHash3_128::oneshot(self.to_json().to_string().as_bytes())
        )
    }
}

impl DatasetFlags {
    /// These flags, with what an entry says instead.
    fn with(mut self, entry: &Value, at: &str, warnings: &mut Vec<String>) -> Result<Self> {
        for (key, value) in object(entry, at)? {
            let at = format!("{at}.{key}");
            match key.as_str() {
                "mode" => self.mode = read(value, &at)?,
                "validate" => self.validate = read(value, &at)?,
                "sample" => {
                    for (key, value) in object(value, &at)? {
                        let at = format!("{at}.{key}");
                        match key.as_str() {
                            "of" => self.sample.of = read(value, &at)?,
                            "share" => {
                                let share = Share::new(read(value, &at)?);
                                self.sample.share = share.map_err(|error| bad(&at, &error))?;
                            }
                            _ => warnings.push(unknown(&at)),
                        }
                    }
                }
                _ => warnings.push(unknown(&at)),
            }
        }
        Ok(self)
    }
}

fn object<'a>(value: &'a Value, at: &str) -> Result<&'a Map<String, Value>> {
    value
        .as_object()
        .ok_or_else(|| Error::invalid(format_args!("flags must be a table here key={at}")))
}

fn read<'de, T: Deserialize<'de>>(value: &'de Value, at: &str) -> Result<T> {
    T::deserialize(value).map_err(|error| bad(at, &error))
}

fn bad(at: &str, error: &dyn std::fmt::Display) -> Error {
    Error::invalid(format_args!(
        "flag has a value that it cannot have: {error} key={at}"
    ))
}

fn wrong(what: &str, error: &dyn std::fmt::Display) -> Error {
    Error::invalid(format_args!("flags are not {what}: {error}"))
}

fn unknown(key: &str) -> String {
    format!("unknown flag is ignored key={key}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_dataset_has_what_it_says_and_else_the_default() {
        let json = r#"{"default": {"mode": "batch", "sample": {"share": 0.5}, "new": 1}, "later": {},
            "datasets": {"a": {"sample": {"of": "events", "by": 1}}, "b": {"mode": "off", "validate": false}}}"#;
        let (flags, warnings) = Flags::parse(json).unwrap();
        let half = Share::new(0.5).unwrap();
        let of = |name: &str| flags.of(&name.parse().unwrap());
        let sample = Sample {
            of: SampleOf::Events,
            share: half,
        };
        assert_eq!(
            (of("a").mode, of("a").sample, of("a").validate),
            (Mode::Batch, sample, true)
        );
        assert_eq!((of("b").mode, of("b").validate), (Mode::Off, false));
        assert_eq!(of("c"), flags.default);
        assert_eq!(
            warnings,
            ["default.new", "later", "datasets.a.sample.by"].map(unknown)
        );
        assert_eq!(Flags::parse("").unwrap().0, Flags::default());
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (text, part) in [
            ("default = { mode = \"fast\" }", "key=default.mode"),
            ("datasets.a.sample.share = 1.5", "key=datasets.a.sample.share"),
            ("datasets.a = 1", "key=datasets.a"),
            ("datasets.\"a b\" = {}", "not a dataset name"),
            ("{\"default\": ", "not JSON"),
            ("default = ", "not TOML"),
        ] {
            let error = Flags::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        let large = format!("# {}", "x".repeat(FLAGS_BYTES_MAX));
        assert_eq!(
            Flags::parse(&large).unwrap_err().kind(),
            crate::ErrorKind::TooLarge
        );
    }

    #[test]
    fn the_choice_of_a_sample_is_frozen() {
        let taken = |share: f64| {
            let share = Share::new(share).unwrap();
            (0..1000u32)
                .filter(|n| share.takes(&n.to_le_bytes()))
                .collect::<Vec<_>>()
        };
        assert_eq!((taken(0.0).len(), taken(1.0).len()), (0, 1000));
        assert_eq!(taken(0.01), FROZEN);
    }

    /// By an implementation of xxHash64 that is not the one used here.
    const FROZEN: [u32; 12] = [23, 66, 86, 167, 194, 207, 405, 431, 590, 596, 890, 946];

    proptest! {
        #[test]
        fn flags_are_read_as_they_were_written(mode in 0usize..5, share in 0.0..=1.0, validate: bool, name in "[a-z]{1,9}") {
            let modes = [Mode::Off, Mode::Batch, Mode::Stream, Mode::Both, Mode::Shadow];
            let sample = Sample { of: SampleOf::Events, share: Share::new(share).unwrap() };
            let entry = DatasetFlags { mode: modes[mode], sample, validate };
            let mut flags = Flags::default();
            prop_assert_eq!(flags.etag(), Flags::parse("{}").unwrap().0.etag());
            flags.datasets.insert(name.parse().unwrap(), entry);
            let (json, none) = Flags::parse(&flags.to_json().to_string()).unwrap();
            prop_assert_eq!(&json, &flags);
            prop_assert!(none.is_empty());
            prop_assert_eq!(json.etag(), flags.etag());
            let (toml, _) = Flags::parse(&toml::to_string(&flags).unwrap()).unwrap();
            prop_assert_eq!(toml, flags);
        }

        /// What a share takes, each larger share takes.
        #[test]
        fn shares_nest(small in 0.0..=1.0, large in 0.0..=1.0, bytes: Vec<u8>) {
            prop_assume!(small <= large);
            let (small, large) = (Share::new(small).unwrap(), Share::new(large).unwrap());
            prop_assert!(!small.takes(&bytes) || large.takes(&bytes));
        }
    }
}
