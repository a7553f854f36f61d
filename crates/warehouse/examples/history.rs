//! Writes a table with a history (files, a column that came later, compactions, deletions, a vacuum) into a folder,
//! and prints as JSON what another engine is to find in it: `history FOLDER`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::array::{StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type};
use event::DatasetSchema;
use store::Progress;
use warehouse::{DeleteOptions, MaintenanceOptions, Table, Vacuum, Warehouse, WarehouseOptions};

/// 2015-09-12T00:00:00Z, µs.
const START: i64 = 1_442_016_000_000_000;
const SECOND: i64 = 1_000_000;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let folder = std::env::args().nth(1).ok_or("usage: history FOLDER")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(write(&folder))
}

async fn write(folder: &str) -> Outcome<()> {
    let options = WarehouseOptions {
        maintenance: MaintenanceOptions {
            every: None,
            compact_files: 4,
            ..MaintenanceOptions::default()
        },
        ..WarehouseOptions::new(folder)
    };
    let warehouse = Warehouse::open(options).await?;
    let schema = DatasetSchema::empty();
    let column = |name: &str, data_type| Arc::new(Field::new(name, data_type, true));
    schema.grow(|_| vec![column("id", DataType::Int64), column("text", DataType::Utf8View)]);
    let table = warehouse.create("history", Arc::new(schema)).await?;
    for start in (0..3_000).step_by(100) {
        append(&table, start..start + 100).await?;
    }
    table.compact().await?;
    if let Some(schema) = table.dataset_schema() {
        schema.grow(|own| {
            own.iter()
                .cloned()
                .chain([column("twice", DataType::Int64)])
                .collect()
        });
    }
    for start in (3_000..6_000).step_by(100) {
        append(&table, start..start + 100).await?;
    }
    let deleted = table.delete(DeleteOptions::new("every seventh"), |rows| {
        let ids = rows.column(rows.schema().index_of("id").map_err(invalid)?);
        let ids = ids.as_primitive::<Int64Type>();
        Ok(ids
            .iter()
            .map(|id| id.map(|id| id % 7 == 0))
            .collect::<BooleanArray>())
    });
    let deleted = deleted.await?;
    table.compact().await?;
    table.vacuum(Vacuum::Now).await?;
    append(&table, 6_000..6_050).await?;
    warehouse.close().await?;

    let left = || (0..6_050i64).filter(|id| id % 7 != 0 || *id >= 6_000);
    let found = table.stats();
    println!(
        "{}",
        serde_json::json!({
            "rows": left().count(),
            "sum_id": left().sum::<i64>(),
            "sum_twice": left().filter(|id| *id >= 3_000).map(|id| 2 * id).sum::<i64>(),
            "null_twice": left().filter(|id| *id < 3_000).count(),
            "text_bytes": left().map(|id| text(id).len()).sum::<usize>(),
            "first": left().min().map(|id| START / SECOND + id),
            "last": left().max().map(|id| START / SECOND + id),
            "files": found.files,
            "deleted": deleted.rows,
            "compactions": found.maintenance.compactions,
        })
    );
    Ok(())
}

fn text(id: i64) -> String {
    format!("the text of the row {id}")
}

/// A row a second, with the columns that the table has, and a file an hour of them.
async fn append(table: &Table, ids: std::ops::Range<i64>) -> Outcome<()> {
    let progress = Progress::from_iter([("history/0", ids.end as u64)]);
    let count = (ids.end - ids.start) as usize;
    let times = |times: Vec<i64>| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))
    };
    let schema = table.schema();
    let mut columns: Vec<ArrayRef> = vec![
        times(vec![START; count]),
        times(vec![START; count]),
        times(ids.clone().map(|id| START + id * SECOND).collect()),
        Arc::new(StringViewArray::from(vec!["an emitter"; count])),
        Arc::new(Int64Array::from(vec![0; count])),
        Arc::new(StringViewArray::new_null(count)),
        Arc::new(Int64Array::from_iter_values(ids.clone())),
        Arc::new(StringViewArray::from_iter_values(ids.clone().map(text))),
    ];
    if schema.column_with_name("twice").is_some() {
        columns.push(Arc::new(Int64Array::from_iter_values(ids.map(|id| 2 * id))));
    }
    table
        .append(vec![RecordBatch::try_new(schema, columns)?], &progress)
        .await?;
    Ok(table.flush().await?)
}

fn invalid(error: arrow::error::ArrowError) -> warehouse::Error {
    warehouse::Error::new(warehouse::ErrorKind::Invalid, error)
}
