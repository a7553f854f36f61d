//! Sketches in SQL: aggregates that make and merge them, and functions that read them.
//!
//! A sketch is a value of type binary: the bytes of `algebra`'s type, which jobs keep in stores and other languages
//! read (Apache DataSketches). Where a sketch is asked for, its bytes in Base64 will do, as a store's table shows them.
//!
//! | sketch | made by | merged by | read by |
//! |---|---|---|---|
//! | `HyperLogLog<12>`: distinct items | `hll(x)` | `hll_merge(s)` | `hll_count(s)` |
//! | `Theta<12>`: distinct items, with set operations | `theta(x)` | `theta_merge(s)` | `theta_count(s)`, `theta_intersect(s, s)`, `theta_difference(s, s)` |
//! | `Kll<f64, 200>`: quantiles | `kll(x)` | `kll_merge(s)` | `kll_quantile(s, q)`, `kll_rank(s, x)` |
//! | `FrequentItems<String, 12>`: the most frequent | `frequent_items(x)` | `frequent_items_merge(s)` | `frequent_items_top(s, k)` |
//!
//! `approx_top_k(x, k)`, also `approx_top_count`, is `frequent_items_top(frequent_items(x), k)`;
//! `approx_quantiles(x, n)` is the n + 1 quantiles 0, 1/n … 1 of `kll(x)`. Nulls are no items.

mod aggregate;
mod items;
mod read;

use algebra::sketch::{FrequentItems, HyperLogLog, Kll, Theta};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use datafusion::error::{DataFusionError, Result};
use datafusion::prelude::SessionContext;

type Hll = HyperLogLog<12>;
type Distinct = Theta<12>;
type Quantiles = Kll<f64, 200>;
type Frequent = FrequentItems<String, 12>;

/// Makes the functions known to a session.
pub(crate) fn register(context: &SessionContext) {
    aggregate::all()
        .into_iter()
        .for_each(|f| context.register_udaf(f));
    read::all().into_iter().for_each(|f| context.register_udf(f));
}

/// The bytes of the sketches in a column, of whatever type it is.
fn sketches(name: &str, column: &ArrayRef) -> Result<BinaryArray> {
    match column.data_type() {
        DataType::Null => Ok(BinaryArray::new_null(column.len())),
        DataType::Binary => Ok(column.as_binary::<i32>().clone()),
        DataType::LargeBinary | DataType::BinaryView => {
            Ok(cast(column, &DataType::Binary)?.as_binary::<i32>().clone())
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let text = cast(column, &DataType::Utf8View)?;
            let bytes = text.as_string_view().iter().map(|text| {
                // A store whose values have no shape shows JSON, which is text in quotes.
                text.map(|text| STANDARD.decode(text.trim_matches('"')))
                    .transpose()
            });
            let bytes: Vec<Option<Vec<u8>>> = bytes
                .collect::<Result<_, _>>()
                .map_err(|error| invalid(name, format_args!("text is not a sketch in Base64: {error}")))?;
            Ok(bytes.iter().map(Option::as_deref).collect())
        }
        other => Err(invalid(
            name,
            format_args!("takes a sketch, binary or in Base64 type={other}"),
        )),
    }
}

fn invalid(function: &str, text: impl std::fmt::Display) -> DataFusionError {
    DataFusionError::Plan(format!("{text} function={function}"))
}

/// A sketch of a function's kind from its bytes, or what they are instead.
fn decoded<S: algebra::codec::Codec>(function: &str, bytes: &[u8]) -> Result<S> {
    S::from_bytes(bytes).map_err(|error| {
        DataFusionError::Execution(format!("not a sketch of this kind: {error} function={function}"))
    })
}
