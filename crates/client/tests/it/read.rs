//! Streams and queries.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::record_batch::RecordBatch;
use arrow_flight::FlightData;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use client::{Client, ClientOptions, ErrorKind};
use event::wire::{Position, StreamHeader, Ticket};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use queue::MemoryQueue;
use tonic::Status;

use crate::server::{Service, serve};

fn rows(from: i64, count: i64) -> RecordBatch {
    let n: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + count));
    RecordBatch::try_from_iter([("n", n)]).unwrap()
}

fn at(next: u64) -> Position {
    Position::from([("queue/0".to_owned(), next)])
}

/// The server's side: a stream of three batches of one row each; a query that answers 10 rows.
pub(crate) async fn answer(ticket: &[u8]) -> Result<BoxStream<'static, Result<FlightData, Status>>, Status> {
    let ticket: Ticket =
        serde_json::from_slice(ticket).map_err(|e| Status::invalid_argument(e.to_string()))?;
    let (from, batches) = match ticket {
        Ticket::Query { sql } if sql == "select 1" => (None, vec![rows(0, 10)]),
        Ticket::Query { .. } => return Err(Status::invalid_argument("not a query")),
        Ticket::Stream { dataset, .. } if dataset.as_str() != "orders" => {
            return Err(Status::not_found("no such dataset"));
        }
        Ticket::Stream { from, until, .. } => {
            let from = from.and_then(|from| from.get("queue/0").copied()).unwrap_or(0);
            let until = until.and_then(|until| until.get("queue/0").copied()).unwrap_or(3);
            (Some(from), (from..until).map(|n| rows(n as i64, 1)).collect())
        }
    };
    let schema = rows(0, 1).schema();
    let mut messages: Vec<FlightData> = FlightDataEncoderBuilder::new()
        .with_schema(schema)
        .build(futures::stream::iter(
            batches.into_iter().map(Ok::<_, FlightError>),
        ))
        .try_collect()
        .await
        .map_err(|error| Status::internal(error.to_string()))?;
    if let Some(from) = from {
        for (n, message) in messages.iter_mut().skip(1).enumerate() {
            let header = StreamHeader {
                next: at(from + n as u64 + 1),
            };
            message.app_metadata = serde_json::to_vec(&header).unwrap().into();
        }
    }
    Ok(futures::stream::iter(messages.into_iter().map(Ok)).boxed())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_where_it_was() {
    let server = serve(Service::new(Arc::new(MemoryQueue::default())));
    let client = Client::connect(ClientOptions::new(format!("http://{}", server.address))).unwrap();
    let all: Vec<_> = client.stream("orders", None, false).try_collect().await.unwrap();
    assert_eq!(
        all,
        [(rows(0, 1), at(1)), (rows(1, 1), at(2)), (rows(2, 1), at(3))]
    );
    let rest: Vec<_> = client
        .stream("orders", Some(at(2)), false)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(rest, [(rows(2, 1), at(3))]);
    let part: Vec<_> = client
        .stream_until("orders", Some(at(1)), at(2))
        .try_collect()
        .await
        .unwrap();
    assert_eq!(part, [(rows(1, 1), at(2))]);
    for (dataset, kind) in [("none", ErrorKind::NotFound), ("a/b", ErrorKind::Invalid)] {
        let answers: Vec<_> = client.stream(dataset, None, false).collect().await;
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].as_ref().unwrap_err().kind(), kind);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_has_a_schema_and_rows() {
    let server = serve(Service::new(Arc::new(MemoryQueue::default())));
    let client = Client::connect(ClientOptions::new(format!("http://{}", server.address))).unwrap();
    let (schema, answer) = client.query("select 1").await.unwrap();
    assert_eq!(schema, rows(0, 1).schema());
    assert_eq!(answer.try_collect::<Vec<_>>().await.unwrap(), [rows(0, 10)]);
    let error = client.query("nonsense").await.map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    drop(server);
}
