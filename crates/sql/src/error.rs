//! The one error of this crate.

use std::fmt;

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Location, Span};

use crate::memory;
use crate::place::{self, Place, nearest};

/// Columns and tables that an error names at most.
pub(crate) const NAMES_SHOWN: usize = 20;

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The query is wrong: its text, its names, its types, or a value it met.
    Invalid,
    /// Not there.
    NotFound,
    /// Try again later: too many queries, too little memory for all, or a file that could not be read.
    Retry,
    /// The query needs more than one may have: memory, disk, rows. The text names the setting.
    Limit,
    /// The query has run as long as it may.
    Timeout,
    /// Somebody has ended the query.
    Cancelled,
    /// Stored bytes are not what was written.
    Corrupt,
    /// An error of this program.
    Bug,
}

impl ErrorKind {
    /// The kind's name in snake case, as the doors send it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::Retry => "retry",
            Self::Limit => "limit",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Corrupt => "corrupt",
            Self::Bug => "bug",
        }
    }
}

/// A query could not be answered.
///
/// Its text is one line that ends with `key=value`; where the place in the query is known, the line in question and
/// a caret stand under it.
#[derive(Debug, thiserror::Error)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    sqlstate: Option<&'static str>,
    /// The place, before the text is known that it is in.
    at: Option<Location>,
    place: Option<Box<Place>>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.place {
            Some(place) => write!(f, " line={} column={}\n{}", place.line, place.column, place.shown),
            None => Ok(()),
        }
    }
}

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of a kind with a text.
    pub fn new(kind: ErrorKind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            message: message.to_string(),
            sqlstate: None,
            at: None,
            place: None,
            source: None,
        }
    }

    /// The query does not parse.
    pub(crate) fn syntax(error: ParserError, text: &str) -> Self {
        let said = match error {
            ParserError::TokenizerError(said) | ParserError::ParserError(said) => said,
            ParserError::RecursionLimitExceeded => "it is nested too deeply".to_owned(),
        };
        // The parser tells the place in words, and at the end of the text not at all.
        let told = said.rsplit_once(" at Line: ").and_then(|(before, place)| {
            let (line, column) = place.split_once(", Column: ")?;
            let place = Location::new(line.parse().ok()?, column.parse().ok()?);
            Some((before, place))
        });
        let (said, at) = match told {
            Some((before, place)) => (before, Some(place)),
            None => (said.as_str(), said.ends_with("EOF").then(|| place::end(text))),
        };
        let said = said
            .replace("Expected: ", "expected ")
            .replace(", found: ", ", found ");
        let mut error = Self::invalid(format!("query does not parse: {said}")).with_sqlstate("42601");
        error.at = at;
        error.within(text)
    }

    /// The query is wrong.
    pub(crate) fn invalid(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// There is no `what` of this name, though there are others.
    pub(crate) fn unknown(what: &str, written: &str, name: &str, known: &[&str]) -> Self {
        let near = match nearest(name, known.iter().copied()) {
            Some(near) => format!(", is {near} meant?"),
            None => String::new(),
        };
        let names = match known {
            [] => String::new(),
            _ if what == "function" => String::new(),
            known => format!(" {what}s={}", known[..known.len().min(NAMES_SHOWN)].join(",")),
        };
        Self::invalid(format!("no such {what}{near} {what}={written}{names}"))
    }

    /// Names what caused it.
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says where it is, if that is not known yet.
    pub(crate) fn at(mut self, span: Span) -> Self {
        self.at = self.at.or_else(|| place::start(span));
        self
    }

    /// Says in which text it is.
    pub(crate) fn within(mut self, text: &str) -> Self {
        if self.place.is_none() {
            self.place = self.at.and_then(|at| Place::find(at, text)).map(Box::new);
        }
        self
    }

    /// What Postgres calls an error of this cause.
    pub(crate) fn with_sqlstate(mut self, code: &'static str) -> Self {
        self.sqlstate = Some(code);
        self
    }

    /// What Postgres calls an error of this cause, if it is closer than its kind.
    pub(crate) fn sqlstate(&self) -> Option<&'static str> {
        self.sqlstate
    }

    /// What is wrong, without its place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where in the query it is, if that is known.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_deref()
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        use DataFusionError as E;
        // Of several errors the first is told.
        let first = error.iter().next().unwrap_or(&error);
        let span = first.diagnostic().and_then(|diagnostic| diagnostic.span);
        let root = first.find_root();
        if let E::ResourcesExhausted(text) = root {
            return exhausted(text).with_source(error);
        }
        // A file that may not grow comes as an error of writing it.
        let text = root.to_string();
        if text.contains(DISK_IS_FULL) {
            return exhausted(&text).with_source(error);
        }
        let kind = match root {
            E::IoError(_) | E::ObjectStore(_) => ErrorKind::Retry,
            E::ParquetError(_) => ErrorKind::Corrupt,
            E::Internal(_) | E::ExecutionJoin(_) => ErrorKind::Bug,
            E::External(source) => source.downcast_ref::<Error>().map_or(ErrorKind::Bug, Error::kind),
            _ => ErrorKind::Invalid,
        };
        let mut told = match root {
            E::SchemaError(schema, _) => unknown_column(schema),
            _ => unknown_function(&root.strip_backtrace()),
        }
        .unwrap_or_else(|| {
            let message = root.strip_backtrace();
            Self::new(kind, message.lines().next().unwrap_or_default())
        });
        told.at = span.map(|span| Location::new(span.start.line, span.start.column));
        told.with_source(error)
    }
}

/// The words of DataFusion's disk manager.
const DISK_IS_FULL: &str = "spilling process has exceeded the allowable limit";

fn exhausted(text: &str) -> Error {
    let line = text.lines().next().unwrap_or_default();
    match memory::is_for_others(text) {
        Some(true) => Error::new(ErrorKind::Retry, line).with_sqlstate("53200"),
        Some(false) => Error::new(ErrorKind::Limit, line).with_sqlstate("53200"),
        None if text.contains(DISK_IS_FULL) => {
            let text = "queries have more on disk than they may, ask for less or raise query.spill_bytes_max";
            Error::new(ErrorKind::Limit, text).with_sqlstate("53100")
        }
        None => {
            let text =
                format!("query needs more than it may have, raise query.query_memory_bytes_max: {line}");
            Error::new(ErrorKind::Limit, text).with_sqlstate("53200")
        }
    }
}

fn unknown_column(error: &SchemaError) -> Option<Error> {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let names: Vec<&str> = valid_fields.iter().map(|field| field.name.as_str()).collect();
            Some(Error::unknown("column", &field.flat_name(), &field.name, &names).with_sqlstate("42703"))
        }
        SchemaError::AmbiguousReference { field } => {
            let text = format!(
                "column is in several tables, write table.{name} column={name}",
                name = field.name
            );
            Some(Error::invalid(text).with_sqlstate("42702"))
        }
        _ => None,
    }
}

fn unknown_function(text: &str) -> Option<Error> {
    let text = text.split_once("Invalid function '")?.1;
    let (name, text) = text.split_once('\'')?;
    let near = text
        .split_once("Did you mean '")
        .and_then(|(_, text)| text.split_once('\''))
        .map(|(near, _)| near);
    let names: Vec<&str> = near.into_iter().collect();
    Some(Error::unknown("function", name, name, &names).with_sqlstate("42883"))
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        let kind = match error.kind() {
            store::ErrorKind::Invalid => ErrorKind::Invalid,
            store::ErrorKind::NotFound => ErrorKind::NotFound,
            store::ErrorKind::Corrupt => ErrorKind::Corrupt,
            _ => ErrorKind::Retry,
        };
        Self::new(kind, &error).with_source(error)
    }
}
