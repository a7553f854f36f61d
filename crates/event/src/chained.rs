//! Rows that a dataset's chain made, brought to the columns of its table.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringViewArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, FieldRef, Float64Type, Int64Type, Schema, TimestampMicrosecondType};

use crate::conform::conform;
use crate::decode::{json_rows, record_batch, time_at};
use crate::infer::place_columns;
use crate::{Decoder, SystemColumn};

/// What rows came to: each is in one of the two.
#[derive(Debug)]
pub struct Fitted {
    /// The rows that fit, with the columns of the dataset's schema.
    pub rows: RecordBatch,
    /// The indices of these among the rows that were given, where not all did.
    pub kept: Option<Vec<u32>>,
    /// The indices of the others, ascending, and why.
    pub rejects: Vec<(u32, String)>,
}

impl Decoder {
    /// Brings rows (the system's columns, then others of stored types, see [`crate::canonical`]) to the columns of the
    /// schema, which grows as it does by Arrow batches: what can have no column goes to `_extra`.
    ///
    /// A value whose column is of another type rejects its row, as does a time that is out of range; a float without
    /// fraction fits a column of integers.
    pub fn fit(&self, rows: &RecordBatch) -> Fitted {
        let count = SystemColumn::ALL.len();
        let columns: Vec<FieldRef> = rows.schema().fields().iter().skip(count).cloned().collect();
        let grown = self.schema.grow(|fields| place_columns(fields, &columns));
        let mut reasons: Vec<Option<String>> = vec![None; rows.num_rows()];
        self.check_times(rows, &mut reasons);
        let mut own: Vec<(FieldRef, ArrayRef)> = Vec::new();
        let mut unplaced: Vec<(FieldRef, ArrayRef)> = Vec::new();
        for (field, column) in columns.iter().zip(&rows.columns()[count..]) {
            match grown.field_with_name(field.name()) {
                Err(_) => unplaced.push((field.clone(), column.clone())),
                Ok(wanted) => {
                    if let Some(fitting) = fit_column(column, wanted, &mut reasons) {
                        let field =
                            Arc::new(field.as_ref().clone().with_data_type(fitting.data_type().clone()));
                        own.push((field, fitting));
                    }
                }
            }
        }
        let (mut fields, mut arrays): (Vec<FieldRef>, Vec<ArrayRef>) = (
            rows.schema().fields()[..count].to_vec(),
            rows.columns()[..count].to_vec(),
        );
        if !unplaced.is_empty() {
            arrays[count - 1] = with_extra(&arrays[count - 1], unplaced, rows.num_rows());
        }
        let (own_fields, own_arrays): (Vec<_>, Vec<_>) = own.into_iter().unzip();
        fields.extend(own_fields);
        arrays.extend(own_arrays);
        let all = record_batch(fields, rows.num_rows(), arrays);
        let all = conform(&all, &grown).expect("columns that do not fit were left out");
        keep(all, reasons)
    }

    fn check_times(&self, rows: &RecordBatch, reasons: &mut [Option<String>]) {
        let times = rows.column(2).as_primitive::<TimestampMicrosecondType>().values();
        let received = rows.column(0).as_primitive::<TimestampMicrosecondType>().values();
        for ((time, received), reason) in times.iter().zip(received).zip(reasons) {
            *reason = self.time_range.check(*time, *received).err();
        }
    }
}

fn keep(all: RecordBatch, reasons: Vec<Option<String>>) -> Fitted {
    if reasons.iter().all(Option::is_none) {
        return Fitted {
            rows: all,
            kept: None,
            rejects: Vec::new(),
        };
    }
    let good: BooleanArray = reasons.iter().map(|reason| Some(reason.is_none())).collect();
    let rows = filter_record_batch(&all, &good).expect("the filter has one flag a row");
    let (mut kept, mut rejects) = (Vec::new(), Vec::new());
    for (row, reason) in (0..).zip(reasons) {
        match reason {
            None => kept.push(row),
            Some(reason) => rejects.push((row, reason)),
        }
    }
    Fitted {
        rows,
        kept: Some(kept),
        rejects,
    }
}

/// The column in a type that goes with the one of the table; `None` if no value of it does. Notes the rows that it spoils.
fn fit_column(
    column: &ArrayRef,
    wanted: &arrow::datatypes::Field,
    reasons: &mut [Option<String>],
) -> Option<ArrayRef> {
    let of_one = |data_type: &DataType| Schema::new(vec![wanted.clone().with_data_type(data_type.clone())]);
    let fits = |column: &ArrayRef| {
        let one = record_batch(
            of_one(column.data_type()).fields().to_vec(),
            column.len(),
            vec![column.clone()],
        );
        conform(&one, &Arc::new(of_one(wanted.data_type())))
    };
    let Err(error) = fits(column) else {
        return Some(column.clone());
    };
    if (column.data_type(), wanted.data_type()) == (&DataType::Float64, &DataType::Int64) {
        return Some(whole_numbers(column, wanted.name(), reasons));
    }
    let text = error.to_string();
    for (row, reason) in reasons.iter_mut().enumerate() {
        if reason.is_none() && column.is_valid(row) {
            *reason = Some(text.clone());
        }
    }
    None
}

/// Floats as integers, where they are.
fn whole_numbers(column: &ArrayRef, name: &str, reasons: &mut [Option<String>]) -> ArrayRef {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53: up to here every integer is a double of its own
    let whole = |(value, reason): (Option<f64>, &mut Option<String>)| match value {
        Some(value) if value.fract() == 0.0 && value.abs() <= EXACT => Some(value as i64),
        Some(value) => {
            reason.get_or_insert_with(|| {
                format!("field {name}: expected an integer, as the table has them value={value}")
            });
            None
        }
        None => None,
    };
    let values = column.as_primitive::<Float64Type>().iter().zip(reasons);
    Arc::new(
        values
            .map(whole)
            .collect::<arrow::array::PrimitiveArray<Int64Type>>() as Int64Array,
    )
}

/// Times as `eventTime` has them (µs since 1970) of a column of a stored type: RFC 3339 text, integers of milliseconds,
/// or time stamps; `otherwise` where it is null.
///
/// # Errors
/// For each row why its value is no time.
pub fn times_of(column: &ArrayRef, otherwise: &[i64]) -> Vec<Result<i64, String>> {
    let times = otherwise.iter().enumerate();
    times
        .map(|(row, otherwise)| time_at(column, row, *otherwise))
        .collect()
}

/// The rows with these columns moved to `_extra`.
pub fn move_to_extra(rows: &RecordBatch, moved: impl Fn(&str) -> bool) -> RecordBatch {
    let (extra, schema) = (SystemColumn::ALL.len() - 1, rows.schema());
    let columns = schema
        .fields()
        .iter()
        .cloned()
        .zip(rows.columns().iter().cloned());
    let (unplaced, kept): (Vec<_>, Vec<_>) = columns.partition(|(field, _)| moved(field.name()));
    if unplaced.is_empty() {
        return rows.clone();
    }
    let (fields, mut arrays): (Vec<_>, Vec<_>) = kept.into_iter().unzip();
    arrays[extra] = with_extra(&arrays[extra], unplaced, rows.num_rows());
    record_batch(fields, rows.num_rows(), arrays)
}

/// `_extra` with fields that found no column.
fn with_extra(extra: &ArrayRef, unplaced: Vec<(FieldRef, ArrayRef)>, rows: usize) -> ArrayRef {
    let (fields, columns) = unplaced.into_iter().unzip();
    let texts = json_rows(&record_batch(fields, rows, columns));
    let merged = extra.as_string_view().iter().zip(texts).map(|(before, text)| {
        let Ok(serde_json::Value::Object(new)) = serde_json::from_slice(&text) else {
            return before.map(str::to_owned);
        };
        let known = before.and_then(|before| serde_json::from_str(before).ok());
        let mut object: serde_json::Map<_, _> = known.unwrap_or_default();
        object.extend(new);
        (!object.is_empty()).then(|| serde_json::Value::Object(object).to_string())
    });
    Arc::new(merged.collect::<StringViewArray>())
}
