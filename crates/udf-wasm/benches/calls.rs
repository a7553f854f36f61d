//! What a call costs: a native closure, a guest that gives back what it gets, and the guests of `examples/udf-rust`
//! where `SANDERLING_UDF_EXAMPLES` names the folder of their components. Rows are counted, so a time an item is a time
//! an event.

#![expect(clippy::unwrap_used, reason = "a bench")]

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
    UInt32Array,
};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use event::{ROW_COLUMN, Udf};
use udf_wasm::{Instances, Runtime, WasmOptions, WasmUdf};

const ROWS: [usize; 3] = [1, 100, 10_000];

fn main() {
    divan::main();
}

/// Events as of a shop: nine columns, three of them text.
fn events(rows: usize) -> RecordBatch {
    let text =
        |of: fn(usize) -> String| Arc::new(StringViewArray::from_iter_values((0..rows).map(of))) as ArrayRef;
    let time = || {
        Arc::new(TimestampMicrosecondArray::from_iter_values(0..rows as i64).with_timezone("UTC")) as ArrayRef
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("eventReceivedTime", time()),
        ("eventGeneratedTime", time()),
        ("eventTime", time()),
        (
            "_emitter",
            text(|_| "0198c0de-0000-7000-8000-000000000001".to_owned()),
        ),
        (
            "_sequence",
            Arc::new(Int64Array::from_iter_values(0..rows as i64)),
        ),
        ("email", text(|i| format!("customer{i}@example.org"))),
        (
            "agent",
            text(|i| {
                format!(
                    "{} (X11; Linux)",
                    ["Mozilla/5.0", "Googlebot/2.1"][usize::from(i % 10 == 0)]
                )
            }),
        ),
        (
            "price",
            Arc::new(Float64Array::from_iter_values((0..rows).map(|i| i as f64))),
        ),
        (
            ROW_COLUMN,
            Arc::new(UInt32Array::from_iter_values(0..rows as u32)),
        ),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn apply(bencher: Bencher, rows: usize, udf: &dyn Udf) {
    let events = events(rows);
    bencher
        .counter(ItemsCount::new(rows))
        .bench_local(|| udf.apply(black_box(&events)).unwrap());
}

fn with(instances: Instances) -> WasmOptions {
    WasmOptions {
        instances,
        ..WasmOptions::default()
    }
}

fn identity(instances: Instances) -> WasmUdf {
    let component = wat::parse_str(include_str!("identity.wat")).unwrap();
    WasmUdf::new(&Runtime::new().unwrap(), "identity", &component, with(instances)).unwrap()
}

fn are_examples_missing() -> bool {
    std::env::var_os("SANDERLING_UDF_EXAMPLES").is_none()
}

fn example(name: &str, instances: Instances) -> WasmUdf {
    let folder = std::env::var("SANDERLING_UDF_EXAMPLES").unwrap();
    let file = Path::new(&folder).join(name).with_extension("wasm");
    WasmUdf::from_file(&Runtime::new().unwrap(), name, file, with(instances)).unwrap()
}

/// What `redact` does, on the columns as they are.
#[divan::bench(args = ROWS)]
fn native_redact(bencher: Bencher, rows: usize) {
    let events = events(rows);
    bencher.counter(ItemsCount::new(rows)).bench_local(|| {
        let events = black_box(&events);
        let hidden: StringViewArray = events["email"]
            .as_string_view()
            .iter()
            .map(|address| {
                address.and_then(|address| {
                    Some(format!(
                        "{}***{}",
                        address.get(..1)?,
                        &address[address.find('@')?..]
                    ))
                })
            })
            .collect();
        let mut columns = events.columns().to_vec();
        columns[5] = Arc::new(hidden);
        RecordBatch::try_new(events.schema(), columns).unwrap()
    });
}

#[divan::bench(args = ROWS)]
fn identity_reused(bencher: Bencher, rows: usize) {
    apply(bencher, rows, &identity(Instances::Reused));
}

#[divan::bench(args = ROWS)]
fn identity_fresh(bencher: Bencher, rows: usize) {
    apply(bencher, rows, &identity(Instances::Fresh));
}

#[divan::bench(args = ROWS, ignore = are_examples_missing())]
fn redact_reused(bencher: Bencher, rows: usize) {
    apply(bencher, rows, &example("redact", Instances::Reused));
}

#[divan::bench(args = ROWS, ignore = are_examples_missing())]
fn redact_fresh(bencher: Bencher, rows: usize) {
    apply(bencher, rows, &example("redact", Instances::Fresh));
}

#[divan::bench(args = ROWS, ignore = are_examples_missing())]
fn bots_reused(bencher: Bencher, rows: usize) {
    apply(bencher, rows, &example("bots", Instances::Reused));
}

/// Compiling the component and starting its first instance.
#[divan::bench(sample_count = 3, sample_size = 1, ignore = are_examples_missing())]
fn redact_load(bencher: Bencher) {
    bencher.bench_local(|| example("redact", Instances::Fresh));
}
