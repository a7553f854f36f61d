//! The aggregates: a sketch of values, a merge of sketches, and answers straight from values.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use algebra::Monoid;
use algebra::codec::Codec;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Signature, Volatility,
};

use super::items::{Takes, check_items};
use super::read::{numbers, numbers_type, top_of, top_type};
use super::{Distinct, Frequent, Hll, Quantiles, decoded, invalid, sketches};

/// All of them.
pub(super) fn all() -> Vec<AggregateUDF> {
    let all = [
        make::<Hll>("hll", Input::Items),
        make::<Hll>("hll_merge", Input::Sketches),
        make::<Distinct>("theta", Input::Items),
        make::<Distinct>("theta_merge", Input::Sketches),
        make::<Quantiles>("kll", Input::Numbers),
        make::<Quantiles>("kll_merge", Input::Sketches),
        make::<Frequent>("frequent_items", Input::Items),
        make::<Frequent>("frequent_items_merge", Input::Sketches),
        Function::new("approx_top_k", Input::Items, Output::Top).with_alias("approx_top_count"),
        Function::new("approx_quantiles", Input::Numbers, Output::Quantiles),
    ];
    all.into_iter().map(AggregateUDF::from).collect()
}

/// What a function takes.
#[derive(Clone, Copy, PartialEq)]
enum Input {
    /// Values of any type that is not nested.
    Items,
    Numbers,
    Sketches,
}

/// What a function gives.
#[derive(Clone, Copy)]
enum Output {
    /// The bytes of a sketch, by an accumulator of its kind.
    Sketch(fn(&'static str, Input) -> Box<dyn Accumulator>),
    /// The most frequent values: the second argument says how many.
    Top,
    /// Quantiles at equal distances: the second argument says how many parts.
    Quantiles,
}

/// One aggregate; its name says which.
struct Function {
    name: &'static str,
    aliases: Vec<String>,
    signature: Signature,
    input: Input,
    output: Output,
}

fn make<S: Kept>(name: &'static str, input: Input) -> Function {
    let accumulator =
        |name, input| Box::new(Collect::<S>::new(name, input, S::to_scalar)) as Box<dyn Accumulator>;
    Function::new(name, input, Output::Sketch(accumulator))
}

impl Function {
    fn new(name: &'static str, input: Input, output: Output) -> Self {
        let arguments = if matches!(output, Output::Sketch(_)) { 1 } else { 2 };
        Self {
            name,
            aliases: Vec::new(),
            signature: Signature::any(arguments, Volatility::Immutable),
            input,
            output,
        }
    }

    fn with_alias(mut self, alias: &str) -> Self {
        self.aliases.push(alias.to_owned());
        self
    }

    /// The second argument: a whole number that the query states.
    fn number(&self, args: &AccumulatorArgs<'_>, max: usize) -> Result<usize> {
        let none = RecordBatch::new_empty(Arc::new(Schema::empty()));
        let value = match args.exprs[1].evaluate(&none) {
            Ok(ColumnarValue::Scalar(value)) => value.cast_to(&DataType::Int64).ok(),
            _ => None,
        };
        match value {
            Some(ScalarValue::Int64(Some(n))) if (1..=max as i64).contains(&n) => Ok(n as usize),
            _ => Err(invalid(
                self.name,
                format_args!("second argument must be a whole number from 1 to {max}, written in the query"),
            )),
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

impl AggregateUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match self.input {
            Input::Items => check_items(self.name, &types[0])?,
            Input::Numbers if !types[0].is_numeric() && types[0] != DataType::Null => {
                return Err(invalid(
                    self.name,
                    format_args!("takes numbers type={}", types[0]),
                ));
            }
            Input::Numbers => {}
            Input::Sketches => {
                sketches(self.name, &arrow::array::new_empty_array(&types[0]))?;
            }
        }
        Ok(match self.output {
            Output::Sketch(_) => DataType::Binary,
            Output::Top => top_type(),
            Output::Quantiles => numbers_type(),
        })
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(match self.output {
            Output::Sketch(accumulator) => accumulator(self.name, self.input),
            Output::Top => {
                let k = self.number(&args, Frequent::CAPACITY)?;
                let finish =
                    move |sketch: &Frequent| ScalarValue::try_from_array(&top_of([Some((sketch, k))])?, 0);
                Box::new(Collect::new(self.name, self.input, finish))
            }
            Output::Quantiles => {
                let parts = self.number(&args, crate::limits::QUANTILES_MAX)?;
                let finish = move |sketch: &Quantiles| {
                    let shares: Vec<f64> = (0..=parts).map(|i| i as f64 / parts as f64).collect();
                    ScalarValue::try_from_array(&numbers([sketch.quantiles(&shares)]), 0)
                };
                Box::new(Collect::new(self.name, self.input, finish))
            }
        })
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let name = format_state_name(args.name, "sketch");
        Ok(vec![Arc::new(Field::new(name, DataType::Binary, true))])
    }
}

/// A sketch as an aggregate holds it.
trait Kept: Takes + Monoid + Codec + Send + Sync + 'static {
    /// About how many bytes of memory it takes.
    fn memory_bytes(&self) -> usize;

    fn to_scalar(&self) -> Result<ScalarValue> {
        Ok(ScalarValue::Binary(Some(self.to_bytes())))
    }
}

impl Kept for Hll {
    fn memory_bytes(&self) -> usize {
        self.memory_bytes()
    }
}

impl Kept for Distinct {
    fn memory_bytes(&self) -> usize {
        self.memory_bytes()
    }
}

impl Kept for Quantiles {
    fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.retained() * size_of::<f64>()
    }
}

impl Kept for Frequent {
    fn memory_bytes(&self) -> usize {
        self.memory_bytes()
    }
}

type Finish<S> = Box<dyn Fn(&S) -> Result<ScalarValue> + Send + Sync>;

/// Takes values or sketches, and finishes with some answer.
struct Collect<S> {
    name: &'static str,
    input: Input,
    sketch: S,
    finish: Finish<S>,
}

impl<S: Kept> Collect<S> {
    fn new(
        name: &'static str,
        input: Input,
        finish: impl Fn(&S) -> Result<ScalarValue> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            input,
            sketch: S::zero(),
            finish: Box::new(finish),
        }
    }

    fn merge(&mut self, column: &ArrayRef) -> Result<()> {
        for bytes in sketches(self.name, column)?.iter().flatten() {
            self.sketch.plus(decoded(self.name, bytes)?);
        }
        Ok(())
    }
}

impl<S> fmt::Debug for Collect<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collect")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<S: Kept> Accumulator for Collect<S> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        match self.input {
            Input::Sketches => self.merge(&values[0]),
            Input::Items | Input::Numbers => self.sketch.take(self.name, &values[0]),
        }
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        (self.finish)(&self.sketch)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.sketch.memory_bytes()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.sketch.to_scalar()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.merge(&states[0])
    }
}
