//! Arrow as Postgres rows.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use datafusion_postgres::arrow_pg::datatypes::{encode_recordbatch, field_into_pg_type};
use datafusion_postgres::pgwire::api::Type;
use datafusion_postgres::pgwire::api::portal::Format;
use datafusion_postgres::pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo, QueryResponse};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use futures::{StreamExt, stream};

use crate::{Error, ErrorKind, QueryStream, text};

/// The columns as clients see them.
pub(crate) fn fields(schema: &Schema, format: &Format) -> PgWireResult<Vec<FieldInfo>> {
    let field = |(i, field): (usize, &Arc<arrow::datatypes::Field>)| {
        let of = match is_json(field.data_type()) {
            true => Type::JSON,
            false => field_into_pg_type(field)?,
        };
        Ok(FieldInfo::new(
            field.name().clone(),
            None,
            None,
            of,
            format.format_for(i),
        ))
    };
    schema.fields().iter().enumerate().map(field).collect()
}

/// An answer, row by row.
pub(crate) fn rows(batches: QueryStream, format: &Format) -> PgWireResult<QueryResponse> {
    let fields = Arc::new(fields(batches.schema(), format)?);
    let shared = fields.clone();
    let rows = batches.map(move |batch| {
        let batch = batch.map_err(error).and_then(|batch: RecordBatch| {
            text::batch(&batch, is_json).map_err(|e| error(Error::new(ErrorKind::Bug, &e).with_source(e)))
        });
        match batch {
            Ok(batch) => stream::iter(encode_recordbatch(shared.clone(), batch)).boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    });
    Ok(QueryResponse::new(fields, rows.flatten()))
}

/// One row of one text.
pub(crate) fn single(name: &str, value: &str) -> PgWireResult<QueryResponse> {
    let fields = Arc::new(vec![FieldInfo::new(
        name.to_owned(),
        None,
        None,
        Type::TEXT,
        FieldFormat::Text,
    )]);
    let mut encoder = DataRowEncoder::new(fields.clone());
    encoder.encode_field(&Some(value))?;
    let row = encoder.take_row();
    Ok(QueryResponse::new(fields, stream::iter([Ok(row)])))
}

/// An error as clients see it, with the SQLSTATE of its kind.
pub(crate) fn error(error: Error) -> PgWireError {
    let code = match error.kind() {
        _ if error.sqlstate().is_some() => error.sqlstate().unwrap_or_default(),
        ErrorKind::Invalid => "42000",
        ErrorKind::NotFound => "42P01",
        ErrorKind::Retry => "53000",
        ErrorKind::Limit => "54000",
        ErrorKind::Timeout | ErrorKind::Cancelled => "57014",
        ErrorKind::Corrupt => "XX001",
        ErrorKind::Bug => "XX000",
    };
    let mut info = ErrorInfo::new("ERROR".to_owned(), code.to_owned(), error.message().to_owned());
    // psql shows the line and a caret of its own.
    info.position = error.place().map(|place| place.position.to_string());
    PgWireError::UserError(Box::new(info))
}

/// An error of this SQLSTATE.
pub(crate) fn state(code: &str, message: &str) -> PgWireError {
    let info = ErrorInfo::new("ERROR".to_owned(), code.to_owned(), message.to_owned());
    PgWireError::UserError(Box::new(info))
}

/// Whether the type has no word in Postgres, and goes as JSON.
fn is_json(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            !is_scalar(item.data_type())
        }
        DataType::Dictionary(_, value) => !is_scalar(value),
        other => !is_scalar(other),
    }
}

fn is_scalar(data_type: &DataType) -> bool {
    use DataType as T;
    data_type.is_integer()
        || data_type.is_temporal()
        || matches!(
            data_type,
            T::Null | T::Boolean | T::Float32 | T::Float64 | T::Decimal128(..)
        )
        || matches!(data_type, T::Utf8 | T::LargeUtf8 | T::Utf8View)
        || matches!(data_type, T::Binary | T::LargeBinary | T::BinaryView)
}
