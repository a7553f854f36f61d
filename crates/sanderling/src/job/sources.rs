//! Places as sources: files and datasets.

use std::sync::Arc;

use ::files::{EventTime, FileSource, Malformed};
use flow::{Element, Error, ErrorKind, Result, Source, Timestamp};
use serde::de::value::{Error as TextError, MapDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::arguments::MalformedFlag;
use super::place::{FileFormat, SourcePlace};
use super::plan::Reading;
use super::session::Session;
use super::watched::{Watched, convert, without_malformed};

/// The field of a struct that is a line of a text file.
const LINE: &str = "line";

impl Session {
    /// The elements of a place.
    ///
    /// # Errors
    /// What keeps it from being opened: no such file, not a dataset's name.
    pub(super) fn source<T, R>(
        &self,
        place: &SourcePlace,
        time: Arc<impl Fn(&T) -> R + Send + Sync + 'static>,
        reading: Reading,
    ) -> Result<Arc<dyn Source<T>>>
    where
        T: Element + DeserializeOwned,
        R: EventTime,
    {
        Ok(match place {
            SourcePlace::Dataset { dataset, server } => {
                let remote = self.remote(server)?;
                match reading {
                    Reading::Once => remote.history(dataset)?,
                    Reading::Following => remote.dataset(dataset)?,
                }
            }
            SourcePlace::Files(FileFormat::Text, pattern) => self.lines(pattern, time)?,
            SourcePlace::Files(format, pattern) => {
                let time = move |item: &T| time(item);
                self.records(match format {
                    FileFormat::Csv => FileSource::csv([pattern], time)?,
                    FileFormat::Parquet => FileSource::parquet([pattern], time)?,
                    FileFormat::Ndjson | FileFormat::Text => FileSource::ndjson([pattern], time)?,
                })
            }
        })
    }

    /// The same, and what is read of it is counted.
    pub(super) fn watched<T: Element>(&self, source: Arc<dyn Source<T>>) -> Arc<dyn Source<T>> {
        Arc::new(Watched {
            source,
            watch: self.watch.clone(),
        })
    }

    /// Lines of text as elements.
    fn lines<T, R>(
        &self,
        pattern: &str,
        time: Arc<impl Fn(&T) -> R + Send + Sync + 'static>,
    ) -> Result<Arc<dyn Source<T>>>
    where
        T: Element + DeserializeOwned,
        R: EventTime,
    {
        let lines = FileSource::text([pattern], move |line: &str| element(line).map(|item| time(&item)))?;
        let item = |line: String| match element(&line) {
            Ok(item) => Ok(Some(item)),
            Err(error) => Err(Error::new(ErrorKind::Invalid, error)),
        };
        Ok(match self.plan.malformed {
            MalformedFlag::Fail => Arc::new(convert(lines, item)),
            MalformedFlag::Skip => {
                let good = without_malformed(lines.results(nowhere), self.watch.clone());
                Arc::new(convert(good, item))
            }
        })
    }

    /// Records of files, as the flag for malformed ones has it.
    fn records<T: Element>(&self, files: FileSource<T>) -> Arc<dyn Source<T>> {
        match self.plan.malformed {
            MalformedFlag::Fail => Arc::new(files),
            MalformedFlag::Skip => Arc::new(without_malformed(files.results(nowhere), self.watch.clone())),
        }
    }
}

/// The time of a record that is left out.
fn nowhere(_: &Malformed) -> Timestamp {
    Timestamp(0)
}

/// A line as an element: of a type that is text, or of one with a field `line`.
fn element<T: DeserializeOwned>(line: &str) -> std::result::Result<T, TextError> {
    T::deserialize(Line(line))
}

struct Line<'a>(&'a str);

impl<'de> IntoDeserializer<'de, TextError> for Line<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Line<'_> {
    type Error = TextError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TextError> {
        visitor.visit_str(self.0)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, TextError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TextError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TextError> {
        visitor.visit_map(MapDeserializer::new([(LINE, self)].into_iter()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TextError> {
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Row {
        line: Option<String>,
        #[serde(default)]
        other: u64,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Text(String);

    #[test]
    fn a_line_is_text_or_a_field() {
        let line = "to \"be\" — or not";
        assert_eq!(element::<String>(line).unwrap(), line);
        assert_eq!(element::<Text>(line).unwrap(), Text(line.to_owned()));
        let row = Row {
            line: Some(line.to_owned()),
            other: 0,
        };
        assert_eq!(element::<Row>(line).unwrap(), row);
        let map = BTreeMap::from([(LINE.to_owned(), line.to_owned())]);
        assert_eq!(element::<BTreeMap<String, String>>(line).unwrap(), map);
        let error = element::<u64>(line).unwrap_err().to_string();
        assert!(error.contains("expected u64"), "{error}");
    }
}
