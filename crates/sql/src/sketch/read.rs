//! The functions that read sketches.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use algebra::codec::Codec;
use algebra::sketch::HyperLogLog;
use arrow::array::{
    ArrayRef, AsArray, BinaryArray, Float64Array, Float64Builder, ListBuilder, StringBuilder, StructBuilder,
    UInt64Array, UInt64Builder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, Float64Type, Int64Type};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::{Distinct, Frequent, Quantiles, decoded, invalid, sketches};

/// All of them.
pub(super) fn all() -> Vec<ScalarUDF> {
    let all = [
        Function::new("hll_count", 1, DataType::UInt64, hll_count),
        Function::new("theta_count", 1, DataType::UInt64, theta_count),
        Function::new("theta_intersect", 2, DataType::Binary, theta_intersect),
        Function::new("theta_difference", 2, DataType::Binary, theta_difference),
        Function::new("kll_quantile", 2, DataType::Float64, kll_quantile),
        Function::new("kll_rank", 2, DataType::Float64, kll_rank),
        Function::new("frequent_items_top", 2, top_type(), frequent_items_top),
    ];
    all.into_iter().map(ScalarUDF::from).collect()
}

type Body = fn(&str, &[ArrayRef]) -> Result<ArrayRef>;

/// One function; its name says which.
struct Function {
    name: &'static str,
    signature: Signature,
    returns: DataType,
    body: Body,
}

impl Function {
    fn new(name: &'static str, arguments: usize, returns: DataType, body: Body) -> Self {
        Self {
            name,
            signature: Signature::any(arguments, Volatility::Immutable),
            returns,
            body,
        }
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        Ok(ColumnarValue::Array((self.body)(self.name, &columns)?))
    }
}

/// Of a sketch of any size.
fn hll_count(name: &str, columns: &[ArrayRef]) -> Result<ArrayRef> {
    let counts = each(&sketches(name, &columns[0])?, |bytes| {
        macro_rules! estimate {
            ($($lg_k:literal)*) => {
                match bytes.get(3) {
                    $(Some($lg_k) => decoded::<HyperLogLog<$lg_k>>(name, bytes)?.estimate(),)*
                    _ => decoded::<HyperLogLog<12>>(name, bytes)?.estimate(),
                }
            };
        }
        let estimate = estimate!(4 5 6 7 8 9 10 11 13 14 15 16 17 18 19 20 21);
        Ok(estimate.round() as u64)
    })?;
    Ok(Arc::new(UInt64Array::from(counts)))
}

fn theta_count(name: &str, columns: &[ArrayRef]) -> Result<ArrayRef> {
    let counts = each(&sketches(name, &columns[0])?, |bytes| {
        Ok(decoded::<Distinct>(name, bytes)?.estimate().round() as u64)
    })?;
    Ok(Arc::new(UInt64Array::from(counts)))
}

fn theta_intersect(name: &str, columns: &[ArrayRef]) -> Result<ArrayRef> {
    of_two(name, columns, |a, b| a.intersect(b))
}

fn theta_difference(name: &str, columns: &[ArrayRef]) -> Result<ArrayRef> {
    of_two(name, columns, |a, b| a.difference(b))
}

fn of_two(name: &str, columns: &[ArrayRef], f: fn(&Distinct, &Distinct) -> Distinct) -> Result<ArrayRef> {
    let (left, right) = (sketches(name, &columns[0])?, sketches(name, &columns[1])?);
    let pairs = left.iter().zip(&right).map(|pair| match pair {
        (Some(left), Some(right)) => Ok(Some(f(&decoded(name, left)?, &decoded(name, right)?).to_bytes())),
        _ => Ok(None),
    });
    let pairs: Vec<Option<Vec<u8>>> = pairs.collect::<Result<_>>()?;
    Ok(Arc::new(
        pairs.iter().map(Option::as_deref).collect::<BinaryArray>(),
    ))
}

fn kll_quantile(name: &str, columns: &[ArrayRef]) -> Result<ArrayRef> {
    with_number(name, columns, |sketch, share| {
        if !(0.0..=1.0).contains(&share) {
            return Err(invalid(
                name,
                format_args!("share must be within 0 and 1 share={share}"),
            ));
        }
        Ok(sketch.quantile(share))
    })
}

fn kll_rank(name: &str, columns: &[ArrayRef]) -> Result<ArrayRef> {
    with_number(name, columns, |sketch, number| Ok(sketch.rank(&number)))
}

fn with_number(
    name: &str,
    columns: &[ArrayRef],
    f: impl Fn(&Quantiles, f64) -> Result<Option<f64>>,
) -> Result<ArrayRef> {
    let sketches = sketches(name, &columns[0])?;
    let arguments = cast(&columns[1], &DataType::Float64)?;
    let answers = sketches
        .iter()
        .zip(arguments.as_primitive::<Float64Type>())
        .map(|pair| match pair {
            (Some(bytes), Some(number)) => f(&decoded(name, bytes)?, number),
            _ => Ok(None),
        });
    Ok(Arc::new(answers.collect::<Result<Float64Array>>()?))
}

fn frequent_items_top(name: &str, columns: &[ArrayRef]) -> Result<ArrayRef> {
    let sketches = sketches(name, &columns[0])?;
    let counts = cast(&columns[1], &DataType::Int64)?;
    let tops = sketches
        .iter()
        .zip(counts.as_primitive::<Int64Type>())
        .map(|pair| match pair {
            (Some(_), Some(k)) if k < 1 => {
                Err(invalid(name, format_args!("number must be at least 1 k={k}")))
            }
            (Some(bytes), Some(k)) => Ok(Some((decoded::<Frequent>(name, bytes)?, k as usize))),
            _ => Ok(None),
        });
    let tops: Vec<_> = tops.collect::<Result<_>>()?;
    top_of(
        tops.iter()
            .map(|top| top.as_ref().map(|(sketch, k)| (sketch, *k))),
    )
}

fn each<T>(sketches: &BinaryArray, f: impl Fn(&[u8]) -> Result<T>) -> Result<Vec<Option<T>>> {
    sketches.iter().map(|bytes| bytes.map(&f).transpose()).collect()
}

fn top_fields() -> Fields {
    Fields::from(vec![
        Field::new("value", DataType::Utf8, true),
        Field::new("count", DataType::UInt64, true),
    ])
}

/// A list of values with how often each came, at least.
pub(super) fn top_type() -> DataType {
    DataType::new_list(DataType::Struct(top_fields()), true)
}

/// The most frequent values of each sketch, as [`top_type`].
pub(super) fn top_of<'a>(
    sketches: impl IntoIterator<Item = Option<(&'a Frequent, usize)>>,
) -> Result<ArrayRef> {
    let mut lists = ListBuilder::new(StructBuilder::from_fields(top_fields(), 0));
    for sketch in sketches {
        if let Some((sketch, k)) = sketch {
            let rows = lists.values();
            for ranked in sketch.top(k) {
                let wrong = || invalid("approx_top_k", "a column of the answer has another type");
                rows.field_builder::<StringBuilder>(0)
                    .ok_or_else(wrong)?
                    .append_value(&ranked.item);
                rows.field_builder::<UInt64Builder>(1)
                    .ok_or_else(wrong)?
                    .append_value(ranked.lower_bound);
                rows.append(true);
            }
        }
        lists.append(sketch.is_some());
    }
    Ok(Arc::new(lists.finish()))
}

/// A list of numbers.
pub(super) fn numbers_type() -> DataType {
    DataType::new_list(DataType::Float64, true)
}

/// Lists of numbers, as [`numbers_type`].
pub(super) fn numbers(lists: impl IntoIterator<Item = Option<Vec<f64>>>) -> ArrayRef {
    let mut builder = ListBuilder::new(Float64Builder::new());
    for list in lists {
        builder.append_option(list.map(|list| list.into_iter().map(Some)));
    }
    Arc::new(builder.finish())
}
