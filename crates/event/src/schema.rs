//! The columns of a dataset: the system's own and the events' fields; and how they grow.

use std::sync::{Arc, RwLock};

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};

use crate::declared::with_declared;
use crate::{Result, SchemaSettings};

/// What a dataset's name gets for the table of its rejected events.
pub const FAILED_SUFFIX: &str = "$failed";

/// The dataset of tracers: what clients tell of themselves. In SQL `sanderling.tracers` too.
pub const TRACERS: &str = "sanderling_tracers";

/// A column that every dataset has, beside its events' fields. They come first, in the order of [`SystemColumn::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemColumn {
    /// `eventReceivedTime`: when the aggregator received the batch.
    ReceivedTime,
    /// `eventGeneratedTime`: when the client emitted the batch's oldest event.
    GeneratedTime,
    /// `eventTime`: the event's own time by the dataset's settings, else the time of receipt.
    EventTime,
    /// `_emitter`: the emitter's UUID as text.
    Emitter,
    /// `_sequence`: the batch's sequence.
    Sequence,
    /// `_extra`: JSON text of an object with the fields that have no column; null when there are none.
    Extra,
}

impl SystemColumn {
    /// All of them, in their order.
    pub const ALL: [Self; 6] = [
        Self::ReceivedTime,
        Self::GeneratedTime,
        Self::EventTime,
        Self::Emitter,
        Self::Sequence,
        Self::Extra,
    ];

    /// The column's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReceivedTime => "eventReceivedTime",
            Self::GeneratedTime => "eventGeneratedTime",
            Self::EventTime => "eventTime",
            Self::Emitter => "_emitter",
            Self::Sequence => "_sequence",
            Self::Extra => "_extra",
        }
    }

    /// The column as an Arrow field. Times are microseconds in UTC, text is a view.
    pub fn field(self) -> Field {
        match self {
            Self::ReceivedTime | Self::GeneratedTime | Self::EventTime => {
                Field::new(self.name(), time_type(), false)
            }
            Self::Emitter => Field::new(self.name(), DataType::Utf8View, false),
            Self::Sequence => Field::new(self.name(), DataType::Int64, false),
            Self::Extra => Field::new(self.name(), DataType::Utf8View, true),
        }
    }

    /// Whether a field of an event may not be called so (compared without regard to case).
    pub fn is_reserved(name: &str) -> bool {
        Self::ALL
            .iter()
            .any(|column| column.name().eq_ignore_ascii_case(name))
    }
}

fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The columns of a `<dataset>$failed` table: time of receipt, `stage` (where it failed), `reason`, `raw` (the
/// event's bytes), `_emitter`, `_sequence`, `line` (its place in the batch, from 1), `step` (the step of the chain, where
/// the stage is `udf`), and `schema_version` (of the dataset's schema when it failed; 0 where it has no versions).
///
/// Columns are added at the end and may be null, for tables that are older have them not.
pub fn failed_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        SystemColumn::ReceivedTime.field(),
        Field::new("stage", DataType::Utf8View, false),
        Field::new("reason", DataType::Utf8View, false),
        Field::new("raw", DataType::BinaryView, false),
        SystemColumn::Emitter.field(),
        SystemColumn::Sequence.field(),
        Field::new("line", DataType::Int64, false),
        Field::new("step", DataType::Utf8View, true),
        Field::new("schema_version", DataType::Int64, true),
    ]))
}

/// The columns of a dataset as they are now, shared by those who decode, store and query it.
///
/// It only grows: a column keeps its name, place and type, and is nullable unless it is the system's.
#[derive(Debug)]
pub struct DatasetSchema {
    now: RwLock<SchemaRef>,
}

impl DatasetSchema {
    /// A dataset that has only the system's columns yet.
    pub fn empty() -> Self {
        let fields: Vec<Field> = SystemColumn::ALL.iter().map(|column| column.field()).collect();
        Self {
            now: RwLock::new(Arc::new(Schema::new(fields))),
        }
    }

    /// A dataset with all its columns, the system's first.
    pub fn from_table(schema: SchemaRef) -> Self {
        Self {
            now: RwLock::new(schema),
        }
    }

    /// All columns, the system's first.
    pub fn table(&self) -> SchemaRef {
        self.now
            .read()
            .expect("no writer panics while it holds the lock")
            .clone()
    }

    /// The columns of the events' own fields.
    pub fn fields(&self) -> Vec<FieldRef> {
        self.table()
            .fields()
            .iter()
            .skip(SystemColumn::ALL.len())
            .cloned()
            .collect()
    }

    /// Adds the columns of a declared schema that are not there yet.
    ///
    /// # Errors
    /// Those of [`SchemaSettings::check`]; `Invalid` when a column is there with a type that cannot hold what is
    /// declared. Nothing is added then.
    pub fn declare(&self, declared: &SchemaSettings) -> Result<()> {
        declared.check()?;
        let mut outcome = Ok(());
        self.grow(|fields| match with_declared(fields, &declared.fields) {
            Ok(grown) => grown,
            Err(error) => {
                outcome = Err(error);
                fields.to_vec()
            }
        });
        outcome
    }

    /// Replaces the events' own fields by what `grow` makes of them. `grow` must only add (columns, or fields
    /// within a struct); it runs under the lock, so two growths never lose one another.
    pub fn grow(&self, grow: impl FnOnce(&[FieldRef]) -> Vec<FieldRef>) -> SchemaRef {
        let mut now = self
            .now
            .write()
            .expect("no writer panics while it holds the lock");
        let (system, own) = now.fields().split_at(SystemColumn::ALL.len());
        let grown = grow(own);
        if grown != own {
            *now = Arc::new(Schema::new(
                system.iter().cloned().chain(grown).collect::<Vec<_>>(),
            ));
        }
        now.clone()
    }
}
