//! A column's values as the items of a sketch: hashed as the same values are in a job.

use algebra::sketch::Sketch;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use datafusion::error::Result;

use super::{Distinct, Frequent, Hll, Quantiles, invalid};

/// A sketch that takes the values of a column.
pub(super) trait Takes {
    fn take(&mut self, function: &str, column: &ArrayRef) -> Result<()>;
}

/// Whether [`Takes`] takes such a column as items: anything but nested values.
pub(super) fn check_items(function: &str, data_type: &DataType) -> Result<()> {
    if data_type.is_nested() && !matches!(data_type, DataType::Dictionary(_, _)) {
        let text = format_args!("takes numbers, text, times or bytes, take a field of it type={data_type}");
        return Err(invalid(function, text));
    }
    Ok(())
}

/// Whole numbers as 64 bits, numbers as `f64`, times as their whole number (µs), text and bytes as they are.
fn add_all<S>(sketch: &mut S, function: &str, column: &ArrayRef) -> Result<()>
where
    S: Sketch<i64> + Sketch<u64> + Sketch<f64> + Sketch<str> + Sketch<[u8]>,
{
    use DataType as T;
    let data_type = column.data_type();
    match data_type {
        T::Null => {}
        T::Utf8 => column
            .as_string::<i32>()
            .iter()
            .flatten()
            .for_each(|item| sketch.add(item)),
        T::LargeUtf8 => column
            .as_string::<i64>()
            .iter()
            .flatten()
            .for_each(|item| sketch.add(item)),
        T::Utf8View => column
            .as_string_view()
            .iter()
            .flatten()
            .for_each(|item| sketch.add(item)),
        T::Binary => column
            .as_binary::<i32>()
            .iter()
            .flatten()
            .for_each(|item| sketch.add(item)),
        T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => {
            return add_all(sketch, function, &cast(column, &T::Binary)?);
        }
        T::Int64 => column
            .as_primitive::<Int64Type>()
            .iter()
            .flatten()
            .for_each(|item| sketch.add(&item)),
        T::UInt64 => column
            .as_primitive::<UInt64Type>()
            .iter()
            .flatten()
            .for_each(|item| sketch.add(&item)),
        T::Float64 => column
            .as_primitive::<Float64Type>()
            .iter()
            .flatten()
            .for_each(|item| sketch.add(&item)),
        T::Float16 | T::Float32 | T::Decimal128(_, _) | T::Decimal256(_, _) => {
            return add_all(sketch, function, &cast(column, &T::Float64)?);
        }
        T::Boolean | T::UInt8 | T::UInt16 | T::UInt32 => {
            return add_all(sketch, function, &cast(column, &T::UInt64)?);
        }
        T::Dictionary(_, value) => return add_all(sketch, function, &cast(column, value)?),
        T::Date32 | T::Time32(_) => {
            return add_all(sketch, function, &cast(&cast(column, &T::Int32)?, &T::Int64)?);
        }
        other if other.is_integer() || other.is_temporal() => {
            return add_all(sketch, function, &cast(column, &T::Int64)?);
        }
        other => return check_items(function, other),
    }
    Ok(())
}

impl Takes for Hll {
    fn take(&mut self, function: &str, column: &ArrayRef) -> Result<()> {
        add_all(self, function, column)
    }
}

impl Takes for Distinct {
    fn take(&mut self, function: &str, column: &ArrayRef) -> Result<()> {
        add_all(self, function, column)
    }
}

/// Numbers; NaN is none.
impl Takes for Quantiles {
    fn take(&mut self, _: &str, column: &ArrayRef) -> Result<()> {
        let numbers = cast(column, &DataType::Float64)?;
        numbers
            .as_primitive::<Float64Type>()
            .iter()
            .flatten()
            .for_each(|number| self.add(&number));
        Ok(())
    }
}

/// Values by their text.
impl Takes for Frequent {
    fn take(&mut self, _: &str, column: &ArrayRef) -> Result<()> {
        let text = cast(column, &DataType::Utf8View)?;
        text.as_string_view()
            .iter()
            .flatten()
            .for_each(|item| self.add(item));
        Ok(())
    }
}
