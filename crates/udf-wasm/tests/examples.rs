//! The guests of `examples/udf-rust`, built, beside twins of a few lines. `SANDERLING_UDF_EXAMPLES` names the folder of
//! their components.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "it/columns.rs"]
mod columns;

use std::path::Path;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringViewArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::UInt32Type;
use event::{ERROR_COLUMN, ROW_COLUMN, Udf, UdfErrorKind};
use proptest::prelude::*;
use udf_wasm::{Runtime, WasmOptions, WasmUdf};

use crate::columns::{columns, rows};

/// Compiled once for all tests: without optimisation, the compiler takes its time.
static BOTS: LazyLock<WasmUdf> = LazyLock::new(|| load("bots", ""));
static REDACT: LazyLock<WasmUdf> = LazyLock::new(|| load("redact", "contact"));

fn load(name: &str, settings: &str) -> WasmUdf {
    let folder = std::env::var("SANDERLING_UDF_EXAMPLES")
        .expect("SANDERLING_UDF_EXAMPLES must name the folder of the built components");
    let file = Path::new(&folder).join(name).with_extension("wasm");
    let settings = settings.to_owned();
    let options = WasmOptions {
        settings,
        ..WasmOptions::default()
    };
    WasmUdf::from_file(&Runtime::new().unwrap(), name, file, options).unwrap()
}

/// The rows with one more column.
fn with(rows: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let schema = rows.schema();
    let columns = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .zip(rows.columns().iter().cloned());
    let columns = columns.chain([(name, column)]);
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, name != ROW_COLUMN)))
        .unwrap()
}

fn texts(pattern: &'static str) -> impl Strategy<Value = Vec<Option<String>>> {
    prop::collection::vec(prop::option::weighted(0.9, pattern), 0..40)
}

#[test]
fn bots_is_a_filter() {
    let bots = &*BOTS;
    proptest!(|(columns in columns(), seed: u64, agents in texts("(Mozilla|Google|a)?(bot)?[a-z/0-9 ]{0,12}"))| {
        let column: ArrayRef = Arc::new(StringViewArray::from_iter(agents.clone()));
        let rows = with(&rows(&columns, seed, agents.len()), "agent", column);
        let people: BooleanArray =
            agents.iter().map(|agent| Some(!agent.as_ref().is_some_and(|agent| agent.contains("bot")))).collect();
        prop_assert_eq!(bots.apply(&rows).unwrap(), filter_record_batch(&rows, &people).unwrap());
        // Each half alone comes to the same.
        let half = agents.len() / 2;
        let places = |rows: &RecordBatch| rows[ROW_COLUMN].as_primitive::<UInt32Type>().values().to_vec();
        let head = bots.apply(&rows.slice(0, half)).unwrap();
        let whole = places(&bots.apply(&rows).unwrap());
        prop_assert_eq!(&whole[..head.num_rows()], &places(&head)[..]);
    });
}

#[test]
fn bots_takes_what_it_can() {
    let bots = &*BOTS;
    let none = rows(&[], 1, 5);
    assert_eq!(bots.apply(&none).unwrap(), none);
    let numbers = with(
        &none,
        "agent",
        Arc::new(arrow::array::Int64Array::from(vec![1; 5])),
    );
    let error = bots.apply(&numbers).unwrap_err();
    assert_eq!(error.kind(), UdfErrorKind::Row);
    assert_eq!(
        error.to_string(),
        "the column must be text column=agent type=Int64"
    );
}

#[test]
fn redact_hides_names_and_rejects_the_rest() {
    let redact = &*REDACT;
    proptest!(|(addresses in texts("([aü€]{0,3}@?[a-z.]{0,9}|ada@example\\.org)"), seed: u64)| {
        let column: ArrayRef = Arc::new(StringViewArray::from_iter(addresses.clone()));
        let base = rows(&[columns::Column::Text], seed, addresses.len());
        let rows = with(&base, "contact", column);
        let twin = |address: &str| {
            let place = address.find('@')?;
            let first = address.chars().next().filter(|_| place > 0)?;
            (place + 1 < address.len()).then(|| format!("{first}***{}", &address[place..]))
        };
        let out = redact.apply(&rows).unwrap();
        prop_assert_eq!(out.num_rows(), addresses.len());
        let (hidden, errors) = (out["contact"].as_string_view(), out[ERROR_COLUMN].as_string_view());
        for (row, address) in addresses.iter().enumerate() {
            let expected = address.as_ref().and_then(|address| twin(address));
            prop_assert_eq!(hidden.is_valid(row).then(|| hidden.value(row)), expected.as_deref());
            prop_assert_eq!(errors.is_valid(row), address.is_some() && expected.is_none());
        }
        prop_assert_eq!(&out["c0"], &rows["c0"]);
        prop_assert_eq!(&out[ROW_COLUMN], &rows[ROW_COLUMN]);
    });
}
