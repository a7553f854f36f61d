//! Steps of a chain that are functions of this program.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Field, FieldRef, Schema};
use event::{Udf, UdfError, UdfErrorKind};

use crate::{Error, ErrorKind, Result};

type Apply = dyn Fn(&RecordBatch) -> Result<RecordBatch, UdfError> + Send + Sync;

/// A function as a step of a chain; see [`Udf`] for what goes in and must come out.
///
/// ```
/// use arrow::array::{ArrayRef, AsArray, RecordBatch, StringViewArray};
/// use processor::{Chain, NativeUdf};
/// use std::sync::Arc;
///
/// let redact = NativeUdf::columns("redact", |rows: &RecordBatch| {
///     let Some(mail) = rows.column_by_name("email") else { return Ok(Vec::new()) };
///     let hidden = mail.as_string_view().iter().map(|mail| mail.map(|_| "***"));
///     Ok(vec![("email".to_owned(), Arc::new(hidden.collect::<StringViewArray>()) as ArrayRef)])
/// });
/// let chain = Chain::new(vec![Arc::new(redact)])?;
/// # assert_eq!(chain.names().collect::<Vec<_>>(), ["redact"]);
/// # Ok::<(), processor::Error>(())
/// ```
#[derive(Clone)]
pub struct NativeUdf {
    name: Arc<str>,
    apply: Arc<Apply>,
}

impl fmt::Debug for NativeUdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeUdf")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl NativeUdf {
    /// A function from rows to rows.
    pub fn new(
        name: &str,
        apply: impl Fn(&RecordBatch) -> Result<RecordBatch, UdfError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            apply: Arc::new(apply),
        }
    }

    /// Keeps the rows for which the flag is true.
    pub fn filter(
        name: &str,
        flags: impl Fn(&RecordBatch) -> Result<BooleanArray, UdfError> + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, move |rows| {
            filter_record_batch(rows, &flags(rows)?)
                .map_err(|error| UdfError::new(UdfErrorKind::Broken, error))
        })
    }

    /// Adds columns, or puts them in the place of those of the same name; each has a value a row.
    pub fn columns(
        name: &str,
        columns: impl Fn(&RecordBatch) -> Result<Vec<(String, ArrayRef)>, UdfError> + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, move |rows| with_columns(rows, columns(rows)?))
    }
}

impl Udf for NativeUdf {
    fn name(&self) -> &str {
        &self.name
    }

    fn apply(&self, rows: &RecordBatch) -> Result<RecordBatch, UdfError> {
        (self.apply)(rows)
    }
}

pub(crate) fn with_columns(
    rows: &RecordBatch,
    new: Vec<(String, ArrayRef)>,
) -> Result<RecordBatch, UdfError> {
    let schema = rows.schema();
    let mut columns: Vec<(FieldRef, ArrayRef)> = schema
        .fields()
        .iter()
        .cloned()
        .zip(rows.columns().iter().cloned())
        .collect();
    for (name, column) in new {
        let field = Arc::new(Field::new(&name, column.data_type().clone(), true));
        match columns.iter_mut().find(|(field, _)| *field.name() == name) {
            Some(known) => *known = (field, column),
            None => columns.push((field, column)),
        }
    }
    let (fields, columns): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|error| UdfError::new(UdfErrorKind::Broken, error))
}

/// The functions of a program that chains may name.
#[derive(Clone, Debug, Default)]
pub struct NativeUdfs(BTreeMap<String, NativeUdf>);

impl NativeUdfs {
    /// These and one more; of two of one name the later counts.
    pub fn with(mut self, udf: NativeUdf) -> Self {
        self.0.insert(udf.name.to_string(), udf);
        self
    }

    /// The function of this name, as a step of a chain.
    ///
    /// # Errors
    /// `NotFound` names those that there are.
    pub fn step(&self, name: &str) -> Result<Arc<dyn Udf>> {
        match self.0.get(name) {
            Some(udf) => Ok(Arc::new(udf.clone())),
            None => {
                let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
                let text = format_args!(
                    "no function of this name is in the program, register it name={name:?} known=[{}]",
                    known.join(", ")
                );
                Err(Error::new(ErrorKind::NotFound, text))
            }
        }
    }
}
