//! The engine and its doors, over a warehouse with hot and flushed rows.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod doors;
mod flight;
mod limits;
mod queries;
mod sketches;
mod steps;
mod tables;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, SchemaRef};
use arrow::util::display::array_value_to_string;
use event::DatasetSchema;
use futures::TryStreamExt;
use sql::{Engine, EngineOptions, ErrorKind};
use store::{Embedded, Progress};
use tempfile::TempDir;
use warehouse::{Table, Warehouse, WarehouseOptions};

/// An engine over an empty warehouse and no stores.
struct World {
    engine: Arc<Engine>,
    warehouse: Arc<Warehouse>,
    stores: Arc<Embedded>,
    _folder: TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = WarehouseOptions::new(folder.path().join("warehouse"));
        let warehouse = Arc::new(Warehouse::open(options).await.unwrap());
        let stores = Arc::new(Embedded::open(folder.path().join("stores")).unwrap());
        let mut options = EngineOptions::new(warehouse.clone(), stores.clone());
        options.partitions = 2;
        let engine = Arc::new(Engine::new(options).unwrap());
        Self {
            engine,
            warehouse,
            stores,
            _folder: folder,
        }
    }

    async fn dataset(&self, name: &str, fields: Vec<Field>) -> Arc<Table> {
        let schema = Arc::new(DatasetSchema::empty());
        schema.grow(|_| fields.into_iter().map(FieldRef::new).collect());
        self.warehouse.create(name, schema).await.unwrap()
    }

    /// The answer as text, a line of names and a line a row; or the error.
    async fn ask(&self, sql: &str) -> Result<String, sql::Error> {
        let stream = self.engine.query(sql).await?;
        let names: Vec<String> = stream
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        let batches: Vec<RecordBatch> = stream.try_collect().await?;
        let mut lines = vec![names.join("|")];
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let cells = batch
                    .columns()
                    .iter()
                    .map(|column| array_value_to_string(column, row).unwrap());
                lines.push(cells.collect::<Vec<_>>().join("|"));
            }
        }
        Ok(lines.join("\n"))
    }

    async fn answer(&self, sql: &str) -> String {
        self.ask(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    async fn check(&self, sql: &str, expected: &str) {
        self.check_all(&[(sql, expected)]).await;
    }

    /// Each query gives its answer; shows all that do not.
    async fn check_all(&self, queries: &[(&str, &str)]) {
        let mut wrong = String::new();
        for (sql, expected) in queries {
            let answer = self
                .ask(sql)
                .await
                .unwrap_or_else(|e| format!("{:?}: {e}", e.kind()));
            if answer != *expected {
                wrong += &format!("\n{sql}\n  expected {expected:?}\n  answered {answer:?}\n");
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
    }

    async fn fails(&self, sql: &str, kind: ErrorKind, text: &str) {
        self.fail_all(kind, &[(sql, text)]).await;
    }

    /// Each query fails with a text that holds its own; shows all that do not.
    async fn fail_all(&self, kind: ErrorKind, queries: &[(&str, &str)]) {
        let mut wrong = String::new();
        for (sql, text) in queries {
            match self.ask(sql).await {
                Err(error) if error.kind() == kind && error.to_string().contains(text) => {}
                other => wrong += &format!("\n{sql:.80}\n  expected {text:?}\n  answered {other:?}\n"),
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
    }
}

/// Rows of a table's schema from JSON, with the system's columns filled in where they are left out.
fn rows(schema: &SchemaRef, values: &[serde_json::Value]) -> RecordBatch {
    let now = jiff::Timestamp::now().to_string();
    let lines: Vec<serde_json::Value> = values
        .iter()
        .enumerate()
        .map(|(i, value)| {
            let mut row = serde_json::json!({
                "eventReceivedTime": now, "eventGeneratedTime": now, "eventTime": now,
                "_emitter": "0192-test", "_sequence": i,
            });
            for (name, field) in value.as_object().unwrap() {
                row[name] = field.clone();
            }
            row
        })
        .collect();
    let mut decoder = arrow::json::ReaderBuilder::new(schema.clone())
        .with_batch_size(lines.len())
        .build_decoder()
        .unwrap();
    decoder.serialize(&lines).unwrap();
    decoder.flush().unwrap().unwrap()
}

async fn append(table: &Table, offset: u64, values: &[serde_json::Value]) {
    let schema = table
        .dataset_schema()
        .map_or_else(|| table.schema(), |schema| schema.table());
    let progress: Progress = [("0", offset)].into_iter().collect();
    table
        .append(vec![rows(&schema, values)], &progress)
        .await
        .unwrap();
}

fn structs(name: &str, fields: Vec<Field>) -> Field {
    Field::new(name, DataType::Struct(Fields::from(fields)), true)
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8View, true)
}

fn number(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}
