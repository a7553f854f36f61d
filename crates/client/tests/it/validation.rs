//! Events that are checked before they are sent.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use client::{Client, ClientOptions, DatasetOptions, ErrorKind, OnInvalid, Validation};
use serde_json::{Value, json};

use crate::emit::{numbers, queue};
use crate::server::{Service, batches, serve};

fn options(on_invalid: OnInvalid) -> DatasetOptions {
    let fields = vec![
        Field::new("n", DataType::Int64, false),
        Field::new("word", DataType::Utf8, true),
    ];
    DatasetOptions {
        validation: Some(Validation {
            on_invalid,
            event_bytes_max: 100,
            ..Validation::new(Arc::new(Schema::new(fields)))
        }),
        ..DatasetOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_pass_goes_back_or_aside() {
    let bad = [
        json!({ "n": "x" }),
        json!({ "word": "a" }),
        json!({ "n": 1, "word": "x".repeat(100) }),
    ];
    for on_invalid in [OnInvalid::Refuse, OnInvalid::Divert] {
        let queue = queue();
        let server = serve(Service::new(Arc::clone(&queue)));
        let client = Client::connect(ClientOptions::new(format!("http://{}", server.address))).unwrap();
        let dataset = client.dataset_with("orders", options(on_invalid)).await.unwrap();
        dataset
            .emit(&json!({ "n": 0, "word": "a", "more": true }))
            .unwrap();
        for (at, event) in bad.iter().enumerate() {
            let outcome = match at {
                0 => dataset.emit(event),
                1 => dataset.emit_wait(event).await,
                _ => client
                    .dataset("orders")
                    .unwrap()
                    .emit_json_line(event.to_string().as_bytes()),
            };
            match on_invalid {
                OnInvalid::Refuse => assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Invalid),
                OnInvalid::Divert => outcome.unwrap(),
            }
        }
        let words: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
        let rows = RecordBatch::try_from_iter([("n", words)]).unwrap();
        assert_eq!(dataset.emit_rows(&rows).unwrap_err().kind(), ErrorKind::Invalid);
        let n: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        dataset
            .emit_rows(&RecordBatch::try_from_iter([("n", n)]).unwrap())
            .unwrap();
        client.close().await.unwrap();
        let kept = batches(&*queue, "orders").await;
        assert_eq!((kept.len(), numbers(&kept[..1])), (2, vec![0]));
        let stats = dataset.stats();
        assert_eq!((stats.emitted, stats.acked, stats.invalid), (2, 2, 4));
        let aside = match on_invalid {
            OnInvalid::Refuse => Vec::new(),
            OnInvalid::Divert => batches(&*queue, "orders_invalid").await,
        };
        let lines = aside
            .iter()
            .flat_map(|batch| batch.payload.split(|byte| *byte == b'\n'));
        let events: Vec<Value> = lines
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        assert_eq!(events.len(), if on_invalid == OnInvalid::Divert { 3 } else { 0 });
        for (event, bad) in events.iter().zip(&bad) {
            assert_eq!(event["raw"], bad.to_string());
            assert!(event["reason"].is_string());
        }
    }
}

/// The declared schema of a dataset is checked as the server does.
#[tokio::test(flavor = "multi_thread")]
async fn a_declared_schema_is_checked_before_it_is_sent() {
    let queue = queue();
    let server = serve(Service::new(Arc::clone(&queue)));
    let client = Client::connect(ClientOptions::new(format!("http://{}", server.address))).unwrap();
    let schema = event::SchemaSettings {
        unknown_fields: event::UnknownFields::Reject,
        fields: vec![event::FieldSettings {
            required: true,
            ..event::FieldSettings::new("n", event::FieldType::Int8)
        }],
        ..event::SchemaSettings::default()
    };
    let options = DatasetOptions {
        validation: Some(Validation::declared(schema)),
        ..DatasetOptions::default()
    };
    let dataset = client.dataset_with("orders", options).await.unwrap();
    for (bad, part) in [
        (json!({ "n": 128 }), "field n: beyond int8"),
        (json!({}), "field n: must be there"),
        (json!({ "n": 1, "m": 1 }), "field m: not in the schema"),
    ] {
        let error = dataset.emit(&bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(part), "{error}");
    }
    dataset.emit(&json!({ "n": 0 })).unwrap();
    client.close().await.unwrap();
    assert_eq!(numbers(&batches(&*queue, "orders").await), [0]);
}
