//! Brings a batch to a schema that has grown since.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, RecordBatch, RecordBatchOptions, StructArray, new_null_array,
};
use arrow::compute::CastOptions;
use arrow::datatypes::{DataType, FieldRef, Fields, SchemaRef};

use crate::{Error, Result};

/// The same rows with exactly `schema`'s columns: columns and struct fields that are missing are null, the order
/// is the schema's, text and bytes take its layout (`Utf8`, `LargeUtf8`, `Utf8View`, and so for binary), integers
/// become floats or decimals where it says so, decimals get more digits.
///
/// Costs next to nothing where the schemas are equal. Errors: `Invalid` if the batch has a column that the schema
/// has not, if a type differs otherwise, or if a column that may not be null is missing.
pub fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if Arc::ptr_eq(batch.schema_ref(), schema) {
        return Ok(batch.clone());
    }
    let columns = if batch.schema_ref().fields() == schema.fields() {
        batch.columns().to_vec()
    } else {
        conform_columns(
            batch.schema_ref().fields(),
            batch.columns(),
            schema.fields(),
            batch.num_rows(),
        )?
    };
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(Error::invalid)
}

fn conform_columns(from: &Fields, columns: &[ArrayRef], to: &Fields, rows: usize) -> Result<Vec<ArrayRef>> {
    if let Some(unknown) = from.iter().find(|field| to.find(field.name()).is_none()) {
        return Err(Error::invalid(format_args!(
            "a column is not in the table's schema: grow the schema first column={}",
            unknown.name()
        )));
    }
    let find = |field: &FieldRef| match from.find(field.name()) {
        Some((place, _)) => conform_array(&columns[place], field),
        None if field.is_nullable() => Ok(new_null_array(field.data_type(), rows)),
        None => Err(Error::invalid(format_args!(
            "a column that may not be null is missing column={}",
            field.name()
        ))),
    };
    to.iter().map(find).collect()
}

fn conform_array(array: &ArrayRef, field: &FieldRef) -> Result<ArrayRef> {
    use DataType::{
        Binary, BinaryView, Decimal128, Float64, Int64, LargeBinary, LargeUtf8, List, Struct, Utf8, Utf8View,
    };
    let (from, to) = (array.data_type(), field.data_type());
    match (from, to) {
        _ if from == to => Ok(array.clone()),
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View)
        | (Binary | LargeBinary | BinaryView, Binary | LargeBinary | BinaryView) => {
            arrow::compute::cast(array, to).map_err(Error::invalid)
        }
        (Int64, Float64) => arrow::compute::cast(array, to).map_err(Error::invalid),
        (Int64, Decimal128(..)) => exactly(array, to),
        (Decimal128(_, after), Decimal128(_, more)) if more >= after => exactly(array, to),
        (Struct(old), Struct(new)) => {
            let array = array.as_struct();
            let columns = conform_columns(old, array.columns(), new, array.len())?;
            let nulls = array.nulls().cloned();
            let grown = StructArray::try_new_with_length(new.clone(), columns, nulls, array.len());
            Ok(Arc::new(grown.map_err(Error::invalid)?))
        }
        (List(_), List(item)) => {
            let array = array.as_list::<i32>();
            let values = conform_array(array.values(), item)?;
            let list = ListArray::try_new(
                item.clone(),
                array.offsets().clone(),
                values,
                array.nulls().cloned(),
            );
            Ok(Arc::new(list.map_err(Error::invalid)?))
        }
        _ => Err(Error::invalid(format_args!(
            "a column has another type than in the table column={} is={from} must_be={to}",
            field.name()
        ))),
    }
}

/// A cast that fails rather than make a value that does not fit null.
fn exactly(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    arrow::compute::cast_with_options(array, to, &options).map_err(Error::invalid)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};
    use arrow::json::ReaderBuilder;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::ErrorKind;

    /// A grown column: its type, and whether the older schema has it.
    #[derive(Clone, Debug)]
    enum Column {
        Number,
        Text,
        Struct(Vec<(Column, bool)>),
        List(Box<Column>),
    }

    fn columns() -> impl Strategy<Value = Vec<(Column, bool)>> {
        let leaf = prop_oneof![Just(Column::Number), Just(Column::Text)];
        let column = leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec((inner.clone(), any::<bool>()), 1..4).prop_map(Column::Struct),
                inner.prop_map(|item| Column::List(Box::new(item))),
            ]
        });
        prop::collection::vec((column, any::<bool>()), 1..6)
    }

    /// Columns in their order; the older ones alone, in the reverse order and with another layout of text.
    fn fields(columns: &[(Column, bool)], old: bool) -> Fields {
        let keep = columns
            .iter()
            .enumerate()
            .filter(|(_, (_, in_old))| *in_old || !old);
        let mut fields: Vec<Field> = keep
            .map(|(i, (column, _))| Field::new(format!("f{i}"), data_type(column, old), true))
            .collect();
        if old {
            fields.reverse();
        }
        fields.into()
    }

    fn data_type(column: &Column, old: bool) -> DataType {
        match column {
            Column::Number => DataType::Int64,
            Column::Text if old => DataType::LargeUtf8,
            Column::Text => DataType::Utf8View,
            Column::Struct(columns) => DataType::Struct(fields(columns, old)),
            Column::List(item) => DataType::List(Arc::new(Field::new("element", data_type(item, old), true))),
        }
    }

    /// A row of the older columns.
    fn row(columns: &[(Column, bool)], seed: &mut u64) -> Value {
        let mut object = Map::new();
        for (i, (column, _)) in columns.iter().enumerate().filter(|(_, (_, in_old))| *in_old) {
            object.insert(format!("f{i}"), value(column, seed));
        }
        Value::Object(object)
    }

    fn value(column: &Column, seed: &mut u64) -> Value {
        *seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let draw = *seed >> 33;
        match column {
            _ if draw.is_multiple_of(5) => Value::Null,
            Column::Number => json!(draw),
            Column::Text => {
                json!(format!("a text, at times longer than a view {draw}")[..(draw % 40) as usize])
            }
            Column::Struct(columns) => row(columns, seed),
            Column::List(item) => (0..draw % 4).map(|_| value(item, seed)).collect(),
        }
    }

    fn decode(rows: &[Value], schema: SchemaRef) -> RecordBatch {
        let mut decoder = ReaderBuilder::new(schema.clone()).build_decoder().unwrap();
        decoder.serialize(rows).unwrap();
        decoder
            .flush()
            .unwrap()
            .unwrap_or_else(|| RecordBatch::new_empty(schema))
    }

    proptest! {
        /// Conforming a batch is decoding its rows with the newer schema in the first place.
        #[test]
        fn conforming_is_decoding_with_the_newer_schema(columns in columns(), seed: u64, rows in 1usize..20) {
            let mut seed = seed;
            let rows: Vec<Value> = (0..rows).map(|_| row(&columns, &mut seed)).collect();
            let old = decode(&rows, Arc::new(Schema::new(fields(&columns, true))));
            let schema = Arc::new(Schema::new(fields(&columns, false)));
            let conformed = conform(&old, &schema).unwrap();
            prop_assert!(Arc::ptr_eq(conformed.schema_ref(), &schema));
            prop_assert_eq!(&conformed, &decode(&rows, schema.clone()));
            prop_assert_eq!(conform(&conformed, &schema).unwrap(), conformed);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let batch = |fields: Vec<Field>| RecordBatch::new_empty(Arc::new(Schema::new(fields)));
        let number = |name: &str, nullable| Field::new(name, DataType::Int64, nullable);
        let schema = Arc::new(Schema::new(vec![number("a", true), number("b", false)]));
        for bad in [
            vec![number("a", true)],
            vec![number("b", false), number("c", true)],
            vec![number("b", false), Field::new("a", DataType::Utf8View, true)],
        ] {
            assert_eq!(
                conform(&batch(bad), &schema).unwrap_err().kind(),
                ErrorKind::Invalid
            );
        }
        let nulls = Arc::new(Schema::new(vec![number("b", true)]));
        let nulls = RecordBatch::try_new(nulls, vec![new_null_array(&DataType::Int64, 2)]).unwrap();
        assert_eq!(conform(&nulls, &schema).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
