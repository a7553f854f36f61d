//! An Arrow batch brought to the columns of a table; what the table has no place for is beside it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, RecordBatchOptions, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use crate::UnknownFields;
use crate::conform::conform;
use crate::constraint::check_row;
use crate::json::{Rules, unknown_field};

/// Rows with a table's columns.
pub(crate) struct Placed {
    pub(crate) rows: RecordBatch,
    /// What has no column, by the path of names that leads to it.
    pub(crate) rest: Vec<(String, ArrayRef)>,
}

/// The rows (of stored types, see [`crate::stored::canonical`]) with exactly the columns of `table`.
///
/// # Errors
/// A column has another type than in the table.
pub(crate) fn fit_rows(sent: &RecordBatch, table: &SchemaRef) -> Result<Placed, String> {
    let mut rest = Vec::new();
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in sent.schema_ref().fields().iter().zip(sent.columns()) {
        let Some((_, to)) = table.fields().find(field.name()) else {
            rest.push((field.name().clone(), column.clone()));
            continue;
        };
        let column = fit(column, to.data_type(), field.name(), &mut rest);
        fields.push(retyped(field, &column));
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(sent.num_rows()));
    let own = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options);
    let rows = own
        .map_err(|error| error.to_string())
        .and_then(|own| conform(&own, table).map_err(|error| error.to_string()))?;
    Ok(Placed { rows, rest })
}

impl Placed {
    /// Of each row why it is not what is asked for, if it is not.
    pub(crate) fn faults(&self, rules: &Rules) -> Vec<Option<String>> {
        let rejects = rules.unknown == UnknownFields::Reject;
        let fault = |row: usize| {
            check_row(self.rows.columns(), &rules.constraints, row)
                .err()
                .or_else(|| {
                    let (path, _) = self
                        .rest
                        .iter()
                        .find(|(_, column)| rejects && column.is_valid(row))?;
                    Some(unknown_field(path))
                })
        };
        (0..self.rows.num_rows()).map(fault).collect()
    }
}

/// The array without the fields that the struct `to` has not; these go to `rest`, with the path that leads to them. Of
/// a list the rest is a list.
fn fit(array: &ArrayRef, to: &DataType, path: &str, rest: &mut Vec<(String, ArrayRef)>) -> ArrayRef {
    match (array.data_type(), to) {
        (DataType::Struct(_), DataType::Struct(to)) => {
            let array = array.as_struct();
            let mut kept: Vec<(FieldRef, ArrayRef)> = Vec::new();
            for (field, column) in array.fields().iter().zip(array.columns()) {
                let path = format!("{path}.{}", field.name());
                match to.find(field.name()) {
                    Some((_, to)) => {
                        let mut inner = Vec::new();
                        let column = fit(column, to.data_type(), &path, &mut inner);
                        rest.extend(
                            inner
                                .into_iter()
                                .map(|(path, column)| (path, hidden(&column, array))),
                        );
                        kept.push((Arc::new(retyped(field, &column)), column));
                    }
                    None => rest.push((path, hidden(column, array))),
                }
            }
            let (fields, columns): (Vec<_>, Vec<_>) = kept.into_iter().unzip();
            let nulls = array.nulls().cloned();
            let kept = StructArray::try_new_with_length(fields.into(), columns, nulls, array.len());
            Arc::new(kept.expect("columns are those of the array, as long as it is"))
        }
        (DataType::List(item), DataType::List(to)) => {
            let array = array.as_list::<i32>();
            let mut inner = Vec::new();
            let items = fit(array.values(), to.data_type(), "", &mut inner);
            if inner.is_empty() {
                return Arc::new(array.clone());
            }
            rest.push((path.to_owned(), Arc::new(list_like(array, objects(inner)))));
            let nulls = array.nulls().cloned();
            let item = Arc::new(retyped(item, &items));
            Arc::new(ListArray::new(item, array.offsets().clone(), items, nulls))
        }
        _ => array.clone(),
    }
}

fn retyped(field: &Field, column: &ArrayRef) -> Field {
    field
        .clone()
        .with_data_type(column.data_type().clone())
        .with_nullable(true)
}

/// What a struct's column has where the struct is not null.
fn hidden(column: &ArrayRef, of: &StructArray) -> ArrayRef {
    let Some(nulls) = of.nulls() else {
        return column.clone();
    };
    let is_null = arrow::array::BooleanArray::new(!nulls.inner(), None);
    arrow::compute::nullif(column, &is_null).expect("flags are as many as the struct has rows")
}

/// Columns by path as one column of structs.
fn objects(columns: Vec<(String, ArrayRef)>) -> ArrayRef {
    let of = |(path, column): (String, ArrayRef)| {
        let name = path.trim_start_matches('.').to_owned();
        (
            Arc::new(Field::new(name, column.data_type().clone(), true)),
            column,
        )
    };
    Arc::new(StructArray::from(columns.into_iter().map(of).collect::<Vec<_>>()))
}

/// Lists of other items; one without any that has a value is null.
fn list_like(list: &ListArray, items: ArrayRef) -> ListArray {
    let has_value = |item: usize| {
        items
            .as_struct()
            .columns()
            .iter()
            .any(|column| column.is_valid(item))
    };
    let offsets = list.value_offsets();
    let valid = (0..list.len())
        .map(|at| list.is_valid(at) && (offsets[at] as usize..offsets[at + 1] as usize).any(has_value));
    let nulls = valid.collect::<Vec<bool>>().into();
    let item = Arc::new(Field::new("element", items.data_type().clone(), true));
    ListArray::new(item, list.offsets().clone(), items, Some(nulls))
}
