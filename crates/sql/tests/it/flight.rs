//! Flight SQL: messages in, messages out.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, CommandGetCatalogs,
    CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandGetXdbcTypeInfo, CommandPreparedStatementQuery, CommandStatementQuery, CommandStatementUpdate,
    DoPutPreparedStatementResult, ProstMessageExt,
};
use arrow_flight::{FlightDescriptor, FlightInfo};
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use serde_json::json;
use sql::FlightSql;
use tonic::{Code, Status};

use crate::{World, append, number, text};

async fn world() -> (World, FlightSql) {
    let world = World::new().await;
    let table = world.dataset("clicks", vec![number("n"), text("name")]).await;
    let values = [json!({"n": 1, "name": "a"}), json!({"n": 2, "name": "b"})];
    append(&table, 1, &values).await;
    let flight = FlightSql::new(world.engine.clone());
    (world, flight)
}

fn descriptor(command: &impl ProstMessageExt) -> FlightDescriptor {
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

async fn info(flight: &FlightSql, command: &impl ProstMessageExt) -> Result<FlightInfo, Status> {
    flight.info(descriptor(command)).await
}

/// The rows of a command, which have the columns that were told.
async fn rows(flight: &FlightSql, command: &impl ProstMessageExt) -> Result<RecordBatch, Status> {
    let info = info(flight, command).await?;
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let told = info.try_decode_schema().unwrap();
    let messages = flight.get(&ticket.ticket).await?;
    let batches = FlightRecordBatchStream::new_from_flight_data(messages.map_err(FlightError::from));
    let batches: Vec<RecordBatch> = batches.try_collect().await.map_err(Status::from)?;
    let schema = Arc::new(told);
    Ok(arrow::compute::concat_batches(&schema, &batches).unwrap())
}

fn statement(sql: &str) -> CommandStatementQuery {
    CommandStatementQuery {
        query: sql.to_owned(),
        transaction_id: None,
    }
}

#[tokio::test]
async fn statements_are_answered() {
    let (_world, flight) = world().await;
    let answer = rows(&flight, &statement("select N, name from clicks order by n"))
        .await
        .unwrap();
    assert_eq!(
        answer
            .column_by_name("n")
            .unwrap()
            .as_primitive::<Int64Type>()
            .values(),
        &[1, 2]
    );
    let none = rows(&flight, &statement("select * from clicks where n > 9"))
        .await
        .unwrap();
    assert_eq!((none.num_rows(), none.num_columns()), (0, 8));
    let error = rows(&flight, &statement("select usr from clicks"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(
        error
            .message()
            .ends_with("line=1 column=8\n  select usr from clicks\n         ^"),
        "{error}"
    );
    let error = flight.get(b"{\"kind\": 1}").await.err().unwrap();
    assert_eq!(error.code(), Code::InvalidArgument);
    let update = CommandStatementUpdate {
        query: "drop table clicks".to_owned(),
        transaction_id: None,
    };
    assert_eq!(
        info(&flight, &update).await.unwrap_err().code(),
        Code::Unimplemented
    );
}

#[tokio::test]
async fn a_dropped_answer_ends_its_query() {
    let (world, flight) = world().await;
    let command = statement("select * from generate_series(1, 1000000000000)");
    let ticket = info(&flight, &command).await.unwrap().endpoint[0]
        .ticket
        .clone()
        .unwrap();
    let mut messages = flight.get(&ticket.ticket).await.unwrap();
    messages.next().await.unwrap().unwrap();
    assert_eq!(world.engine.running().len(), 1);
    drop(messages);
    assert_eq!(world.engine.running().len(), 0);
}

async fn prepare(flight: &FlightSql, sql: &str) -> Result<ActionCreatePreparedStatementResult, Status> {
    let request = ActionCreatePreparedStatementRequest {
        query: sql.to_owned(),
        transaction_id: None,
    };
    let body = request.as_any().encode_to_vec();
    let answer = flight
        .action("CreatePreparedStatement", &body)
        .await
        .unwrap()?
        .unwrap();
    Ok(Any::decode(answer).unwrap().unpack().unwrap().unwrap())
}

/// Gives values to a prepared statement, and has the new handle.
async fn bind(
    flight: &FlightSql,
    handle: CommandPreparedStatementQuery,
    values: RecordBatch,
) -> Result<CommandPreparedStatementQuery, Status> {
    let messages = FlightDataEncoderBuilder::new()
        .with_flight_descriptor(Some(descriptor(&handle)))
        .build(futures::stream::iter([Ok(values)]))
        .map_err(Status::from);
    let result = flight.put(messages).await?;
    let result = DoPutPreparedStatementResult::decode(result.app_metadata).unwrap();
    Ok(CommandPreparedStatementQuery {
        prepared_statement_handle: result.prepared_statement_handle.unwrap(),
    })
}

#[tokio::test]
async fn prepared_statements_take_parameters() {
    let (_world, flight) = world().await;
    for sql in [
        "select name from clicks where n = $1 and name <> $2",
        "select name from clicks where n = ? and name <> ?",
    ] {
        let prepared = prepare(&flight, sql).await.unwrap();
        assert!(!prepared.dataset_schema.is_empty() && !prepared.parameter_schema.is_empty());
        let handle = CommandPreparedStatementQuery {
            prepared_statement_handle: prepared.prepared_statement_handle,
        };
        let values = |n: &[i64]| {
            let schema = Schema::new(vec![
                Field::new("0", DataType::Int64, true),
                Field::new("1", DataType::Utf8, true),
            ]);
            let (numbers, names) = (Int64Array::from(n.to_vec()), vec!["it's \"x\""; n.len()]);
            RecordBatch::try_new(
                Arc::new(schema),
                vec![Arc::new(numbers), Arc::new(StringArray::from(names))],
            )
            .unwrap()
        };
        for n in [2, 1] {
            let bound = bind(&flight, handle.clone(), values(&[n])).await.unwrap();
            let answer = rows(&flight, &bound).await.unwrap();
            assert_eq!(answer.num_rows(), 1, "{sql}");
            let name = arrow::util::display::array_value_to_string(answer.column(0), 0).unwrap();
            assert_eq!(name, if n == 2 { "b" } else { "a" });
        }
        for wrong in [values(&[]), values(&[1, 2])] {
            let error = bind(&flight, handle.clone(), wrong).await.unwrap_err();
            assert!(error.message().contains("one row of parameters"), "{error}");
        }
        assert!(rows(&flight, &handle).await.is_err(), "there are no values");
    }
    assert!(prepare(&flight, "select nothing from clicks").await.is_err());
    assert!(
        flight
            .action("ClosePreparedStatement", b"")
            .await
            .unwrap()
            .unwrap()
            .is_none()
    );
    assert!(flight.action("store.get", b"").await.is_none());
}

#[tokio::test]
async fn drivers_find_tables_and_types() {
    let (_world, flight) = world().await;
    let column = |batch: &RecordBatch, name: &str| -> Vec<String> {
        let column = batch.column_by_name(name).unwrap().clone();
        (0..column.len())
            .map(|row| arrow::util::display::array_value_to_string(&column, row).unwrap())
            .collect()
    };
    let catalogs = rows(&flight, &CommandGetCatalogs {}).await.unwrap();
    assert_eq!(column(&catalogs, "catalog_name"), ["sanderling"]);
    let schemas = rows(&flight, &CommandGetDbSchemas::default()).await.unwrap();
    assert!(column(&schemas, "db_schema_name").contains(&"public".to_owned()));
    let asked = CommandGetTables {
        table_name_filter_pattern: Some("cl%".to_owned()),
        include_schema: true,
        ..CommandGetTables::default()
    };
    let tables = rows(&flight, &asked).await.unwrap();
    assert_eq!(column(&tables, "table_name"), ["clicks"]);
    let columns = tables.column_by_name("table_schema").unwrap().as_binary::<i32>();
    assert!(columns.value(0).len() > 100);
    let types = rows(&flight, &CommandGetTableTypes {}).await.unwrap();
    assert!(column(&types, "table_type").contains(&"TABLE".to_owned()));
    assert!(
        rows(&flight, &CommandGetSqlInfo::default())
            .await
            .unwrap()
            .num_rows()
            > 5
    );
    assert!(
        rows(&flight, &CommandGetXdbcTypeInfo::default())
            .await
            .unwrap()
            .num_rows()
            > 5
    );
    let keys = CommandGetPrimaryKeys {
        table: "clicks".to_owned(),
        ..CommandGetPrimaryKeys::default()
    };
    assert_eq!(rows(&flight, &keys).await.unwrap().num_rows(), 0);
}
