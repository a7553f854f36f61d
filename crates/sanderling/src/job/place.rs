//! What the flags name: sources, stores, batches of time; as text and back.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use flow::{Batcher, CalendarUnit, Timestamp};

/// `[NAME=]PLACE`: where a source's elements come from. Without a name it is that of every source of the job.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SourceFlag {
    pub(super) name: Option<String>,
    pub(super) place: SourcePlace,
}

/// Where elements come from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum SourcePlace {
    /// Files of a format, by path or pattern.
    Files(FileFormat, String),
    /// A dataset of a running server.
    Dataset { dataset: String, server: String },
}

/// How files are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum FileFormat {
    Ndjson,
    Csv,
    Parquet,
    Text,
}

impl FileFormat {
    const ALL: [(&'static str, Self); 4] = [
        ("ndjson", Self::Ndjson),
        ("csv", Self::Csv),
        ("parquet", Self::Parquet),
        ("text", Self::Text),
    ];
}

impl FromStr for SourceFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, place) = match text.split_once('=') {
            Some((name, place)) if is_name(name) => (Some(name.to_owned()), place),
            _ => (None, text),
        };
        let place = place.parse()?;
        Ok(Self { name, place })
    }
}

impl FromStr for SourcePlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "use ndjson:FILES, csv:FILES, parquet:FILES, text:FILES or DATASET@http://host:port";
        let format = text.split_once(':').and_then(|(word, files)| {
            let known = FileFormat::ALL.iter().find(|(name, _)| *name == word);
            known.map(|(_, format)| (*format, files))
        });
        if let Some((format, files)) = format {
            if files.is_empty() {
                return Err(format!("no files are named: {form}"));
            }
            return Ok(Self::Files(format, files.to_owned()));
        }
        match text.split_once('@') {
            Some((dataset, server)) if is_address(server) => {
                let checked: Result<event::DatasetName, _> = dataset.parse();
                checked.map_err(|error| error.to_string())?;
                Ok(Self::Dataset {
                    dataset: dataset.to_owned(),
                    server: server.to_owned(),
                })
            }
            _ => Err(format!("not a source: {form}")),
        }
    }
}

impl fmt::Display for SourcePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(format, files) => {
                let word = FileFormat::ALL.iter().find(|(_, known)| known == format);
                write!(f, "{}:{files}", word.map_or("", |(word, _)| word))
            }
            Self::Dataset { dataset, server } => write!(f, "{dataset}@{server}"),
        }
    }
}

/// Where sums are kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum StorePlace {
    /// In this process, gone when it ends.
    Memory,
    /// A folder of this machine.
    File(String),
    /// A running server; `name` is the store's, or how the names of several begin.
    Server { name: String, server: String },
}

impl FromStr for StorePlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let server = |rest: &str| {
            let (name, server) = rest.split_once('@')?;
            (is_name(name) && is_address(server)).then(|| Self::Server {
                name: name.to_owned(),
                server: server.to_owned(),
            })
        };
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("file", folder)) if !folder.is_empty() => Ok(Self::File(folder.to_owned())),
            Some(("server", rest)) if server(rest).is_some() => Ok(server(rest).unwrap_or(Self::Memory)),
            _ => Err("not a store: use memory, file:FOLDER or server:NAME@http://host:port".to_owned()),
        }
    }
}

impl fmt::Display for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::File(folder) => write!(f, "file:{folder}"),
            Self::Server { name, server } => write!(f, "server:{name}@{server}"),
        }
    }
}

/// Names that go into a table's.
fn is_name(text: &str) -> bool {
    let made_of = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    !text.is_empty() && text.chars().all(made_of)
}

fn is_address(text: &str) -> bool {
    text.strip_prefix("http://").is_some_and(|rest| !rest.is_empty())
}

/// `15m`, `1h`, `1d`, or `hour`, `day`, `month`, `year`, each perhaps with `@ZONE`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BatchFlag {
    text: String,
    pub(super) batcher: Batcher,
}

impl FromStr for BatchFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "use a length such as 15m, 1h or 1d, or hour, day, month, year, or one of these with its zone, day@Europe/Berlin";
        let (unit, zone) = match text.split_once('@') {
            Some((unit, zone)) => (unit, Some(zone)),
            None => (text, None),
        };
        let unit = match unit {
            "hour" => Some(CalendarUnit::Hour),
            "day" => Some(CalendarUnit::Day),
            "month" => Some(CalendarUnit::Month),
            "year" => Some(CalendarUnit::Year),
            _ => None,
        };
        let batcher = match (unit, zone) {
            (Some(unit), zone) => {
                let zone =
                    jiff::tz::TimeZone::get(zone.unwrap_or("UTC")).map_err(|error| error.to_string())?;
                Batcher::calendar(unit, zone)
            }
            (None, None) => {
                let length = length(text).ok_or_else(|| format!("not a batch: {form}"))?;
                Batcher::every(length).map_err(|error| error.to_string())?
            }
            (None, Some(_)) => return Err(format!("only calendar units have a zone: {form}")),
        };
        Ok(Self {
            text: text.to_owned(),
            batcher,
        })
    }
}

impl fmt::Display for BatchFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A number and its unit.
fn length(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    Some(Duration::from_secs(
        number.parse::<u64>().ok()?.checked_mul(seconds)?,
    ))
}

/// A time: RFC 3339, or a date, which is its midnight in UTC.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    let instant = text.parse::<jiff::Timestamp>().or_else(|error| {
        let midnight = text.parse::<jiff::civil::Date>().map_err(|_| error)?;
        Ok::<_, jiff::Error>(midnight.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp())
    });
    match instant {
        Ok(instant) => Ok(Timestamp(instant.as_millisecond())),
        Err(error) => Err(format!(
            "use a time such as 2015-09-12T10:00:00Z, or a date: {error}"
        )),
    }
}

/// A time as people write it.
pub(super) fn shown(time: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(time.0) {
        Ok(instant) => instant.to_string(),
        Err(_) if time.0 < 0 => "the beginning".to_owned(),
        Err(_) => "the end".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_and_written() {
        for text in [
            "ndjson:tweets-*.json.gz",
            "text:a=b.txt",
            "csv:x",
            "parquet:y",
            "tweets@http://127.0.0.1:8081",
        ] {
            let flag: SourceFlag = text.parse().unwrap();
            assert_eq!((flag.name, flag.place.to_string()), (None, text.to_owned()));
        }
        let named: SourceFlag = "tweets=ndjson:a=b.json".parse().unwrap();
        assert_eq!(named.name.as_deref(), Some("tweets"));
        assert_eq!(
            named.place,
            SourcePlace::Files(FileFormat::Ndjson, "a=b.json".to_owned())
        );
        for bad in [
            "",
            "tweets",
            "json:x",
            "ndjson:",
            "a b@http://x",
            "tweets@https://x",
            "tweets@",
        ] {
            assert!(bad.parse::<SourceFlag>().is_err(), "{bad}");
        }
    }

    #[test]
    fn stores_are_read_and_written() {
        for text in ["memory", "file:./sums", "server:words@http://127.0.0.1:8081"] {
            assert_eq!(text.parse::<StorePlace>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "disk",
            "file:",
            "server:words",
            "server:@http://x",
            "server:a b@http://x",
        ] {
            assert!(bad.parse::<StorePlace>().is_err(), "{bad}");
        }
    }

    #[test]
    fn batches_are_lengths_or_calendar_units() {
        let hours: BatchFlag = "1h".parse().unwrap();
        assert_eq!(hours.batcher, Batcher::every(Duration::from_secs(3_600)).unwrap());
        assert_eq!("60m".parse::<BatchFlag>().unwrap().batcher, hours.batcher);
        let days: BatchFlag = "day@Europe/Berlin".parse().unwrap();
        let midnight = time("2015-09-11T22:00:00Z").unwrap();
        assert!(days.batcher.is_edge(midnight));
        for bad in [
            "",
            "1",
            "h",
            "0h",
            "1y",
            "1h@UTC",
            "day@Nowhere",
            "99999999999999999999h",
        ] {
            assert!(bad.parse::<BatchFlag>().is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_instants_or_dates() {
        assert_eq!(time("1970-01-02"), Ok(Timestamp(86_400_000)));
        assert_eq!(time("1970-01-01T01:00:00+01:00"), Ok(Timestamp(0)));
        assert!(time("yesterday").is_err());
        assert_eq!(shown(Timestamp(86_400_000)), "1970-01-02T00:00:00Z");
    }
}
