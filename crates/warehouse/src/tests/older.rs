//! Tables that an older program has made.

use std::sync::Arc;

use arrow::array::{Array, TimestampMicrosecondArray};
use arrow::array::{ArrayRef, AsArray, BinaryViewArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{Int64Type, Schema, SchemaRef};
use store::Progress;

use super::options;
use crate::{Table, Warehouse};

/// A table of rejects as it was before it had `step` and `schema_version`.
fn older() -> SchemaRef {
    Arc::new(Schema::new(event::failed_schema().fields()[..7].to_vec()))
}

fn reject(schema: &SchemaRef, line: i64) -> RecordBatch {
    let text = |text: &str| Arc::new(StringViewArray::from(vec![text.to_owned()])) as ArrayRef;
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from(vec![super::DAY]).with_timezone("UTC")),
        text("udf"),
        text("bad"),
        Arc::new(BinaryViewArray::from(vec![b"{}".as_slice()])),
        text("emitter"),
        Arc::new(Int64Array::from(vec![1])),
        Arc::new(Int64Array::from(vec![line])),
        text("step"),
        Arc::new(Int64Array::from(vec![0])),
    ];
    columns.truncate(schema.fields().len());
    RecordBatch::try_new(schema.clone(), columns).unwrap()
}

/// `(line, step)` of all rows.
async fn lines(table: &Table) -> Vec<(i64, Option<String>)> {
    let version = table.version();
    let mut rows = version.hot.to_vec();
    for file in version.files.iter() {
        rows.extend(table.read_row_group(file, 0, 100).await.unwrap().unwrap());
    }
    let mut lines = Vec::new();
    for rows in rows {
        assert_eq!(rows.schema(), event::failed_schema());
        let line = rows.column(6).as_primitive::<Int64Type>();
        let step = rows.column(7).as_string_view();
        lines.extend((0..rows.num_rows()).map(|row| {
            let step = step.is_valid(row).then(|| step.value(row).to_owned());
            (line.value(row), step)
        }));
    }
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_rejects_gets_the_columns_that_have_come_since() {
    let folder = tempfile::tempdir().unwrap();
    let progress = |offset| Progress::from_iter([("0", offset)]);
    let warehouse = Warehouse::open(options(&folder)).await.unwrap();
    let table = warehouse.create("d$failed", older()).await.unwrap();
    let rows = vec![reject(&older(), 1)];
    table.append(rows, &progress(1)).await.unwrap();
    warehouse.close().await.unwrap();
    let step = |line, step: Option<&str>| (line, step.map(str::to_owned));
    for life in 2..5u64 {
        let warehouse = Warehouse::open(options(&folder)).await.unwrap();
        let table = warehouse
            .create("d$failed", event::failed_schema())
            .await
            .unwrap();
        assert_eq!(table.schema(), event::failed_schema());
        let mut expected = vec![step(1, None)];
        expected.extend((2..life as i64).map(|line| step(line, Some("step"))));
        assert_eq!(lines(&table).await, expected);
        let rows = vec![reject(&event::failed_schema(), life as i64)];
        table.append(rows, &progress(life)).await.unwrap();
        expected.push(step(life as i64, Some("step")));
        assert_eq!(lines(&table).await, expected);
        warehouse.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_tables_of_fixed_columns_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let other = Arc::new(Schema::new(event::failed_schema().fields()[..3].to_vec()));
    for name in ["fixed", "odd$failed"] {
        let columns: SchemaRef = match name {
            "fixed" => other.clone(),
            // Not the beginning of today's.
            _ => Arc::new(Schema::new([&other.fields()[..1], &other.fields()[2..]].concat())),
        };
        let warehouse = Warehouse::open(options(&folder)).await.unwrap();
        warehouse.create(name, columns.clone()).await.unwrap();
        warehouse.close().await.unwrap();
        let warehouse = Warehouse::open(options(&folder)).await.unwrap();
        assert_eq!(warehouse.table(name).unwrap().schema(), columns);
        warehouse.close().await.unwrap();
    }
}
