//! Decoding: what goes in comes out, in rows, in `_extra`, or in rejects.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod avro;
mod declared;
mod evolution;
mod protobuf;
mod schemas;

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimestampMicrosecondType};
use arrow::ipc::writer::StreamWriter;
use event::{
    Batch, BatchHeader, BatchKey, DatasetSchema, DatasetSettings, Decoded, Decoder, EmitterId, Encoding,
    Epoch, Sequence,
};
use jiff::Timestamp;
use proptest::prelude::*;

fn batch(encoding: Encoding, payload: Vec<u8>) -> Batch {
    Batch {
        dataset: "d".parse().unwrap(),
        header: BatchHeader {
            key: BatchKey {
                emitter: EmitterId(uuid::Uuid::from_u128(7)),
                epoch: Epoch(0),
                sequence: Sequence(3),
            },
            events: 1,
            encoding,
            generated_at: Timestamp::from_second(1_000).unwrap(),
            received_at: Timestamp::from_second(2_000).unwrap(),
        },
        payload: payload.into(),
    }
}

fn decoder(event_time: Option<&str>) -> Decoder {
    let settings = DatasetSettings {
        event_time: event_time.map(str::to_owned),
        // Batches here are received in 1970.
        time_range: event::TimeRange {
            past: None,
            future: None,
        },
        ..DatasetSettings::default()
    };
    Decoder::new(Arc::new(DatasetSchema::empty()), &settings).unwrap()
}

fn ndjson(decoder: &Decoder, text: &str) -> Decoded {
    decoder.decode(&batch(Encoding::Ndjson, text.as_bytes().to_vec()))
}

/// The events' own columns and `_extra` as lines of JSON.
fn own(rows: &RecordBatch) -> Vec<serde_json::Value> {
    let own: Vec<usize> = (5..rows.num_columns()).collect();
    let mut out = Vec::new();
    let mut writer = arrow::json::LineDelimitedWriter::new(&mut out);
    writer.write(&rows.project(&own).unwrap()).unwrap();
    writer.finish().unwrap();
    out.split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn check(text: &str, expected: &[&str], rejected: &[(u32, &str)]) {
    let decoded = ndjson(&decoder(None), text);
    let expected: Vec<serde_json::Value> = expected
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(own(&decoded.rows), expected);
    let got: Vec<(u32, &str)> = decoded
        .rejects
        .iter()
        .map(|r| (r.line, r.reason.as_str()))
        .collect();
    assert_eq!(got, rejected);
}

#[test]
fn good_lines_become_rows_and_bad_ones_rejects() {
    check(
        "{\"a\":1,\"b\":{\"c\":\"x\"}}\n\nnot json\n{\"a\":1.5}\n{\"a\":\"1\"}\n[1]\n{\"a\":2,\"a\":3}\n {\"a\":2} \r\n",
        &[r#"{"a":1,"b":{"c":"x"}}"#, r#"{"a":2}"#],
        &[
            (3, "expected ident at column 2"),
            (
                4,
                "field a: expected an integer, got a number with a fraction or beyond 64 bits at column 8",
            ),
            (5, "field a: expected an integer, got text at column 8"),
            (6, "invalid type: sequence, expected a JSON object at column 0"),
            (7, "field a: the field stands twice in the object at column 10"),
        ],
    );
}

#[test]
fn a_rejected_row_leaves_nothing_behind() {
    check(
        "{\"a\":[1],\"s\":{\"t\":\"x\",\"u\":[{\"v\":1}]}}\n{\"a\":[1,2],\"s\":{\"t\":\"yyy\",\"u\":[{\"v\":2},{\"v\":\"!\"}]}}\n{\"a\":[3],\"s\":{\"t\":\"z\",\"u\":[]}}",
        &[
            r#"{"a":[1],"s":{"t":"x","u":[{"v":1}]}}"#,
            r#"{"a":[3],"s":{"t":"z","u":[]}}"#,
        ],
        &[(2, "field s.u.v: expected an integer, got text at column 47")],
    );
}

#[test]
fn the_schema_grows_and_what_has_no_column_is_extra() {
    let decoder = decoder(None);
    ndjson(&decoder, r#"{"a":null,"b":1,"s":{"x":1}}"#);
    let decoded = ndjson(
        &decoder,
        r#"{"a":"late","s":{"y":true},"B":7,"e":[],"_sequence":9,"with space":1,"l":[{"m":1},{"n":2}]}"#,
    );
    assert!(decoded.rejects.is_empty());
    let rows = own(&decoded.rows);
    assert_eq!(rows[0]["a"], "late");
    assert_eq!(rows[0]["s"], serde_json::json!({"y": true}));
    assert_eq!(rows[0]["l"], serde_json::json!([{"m": 1}, {"n": 2}]));
    let extra: serde_json::Value = serde_json::from_str(rows[0]["_extra"].as_str().unwrap()).unwrap();
    assert_eq!(
        extra,
        serde_json::json!({"B": 7, "e": [], "_sequence": 9, "with space": 1})
    );
    let names: Vec<_> = decoded
        .rows
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    assert_eq!(names[6..], ["b", "s", "a", "l"]);
}

#[test]
fn event_time_comes_from_its_field() {
    let decoded = ndjson(
        &decoder(Some("at.time")),
        "{\"at\":{\"time\":\"2015-09-12T00:46:58.771Z\"}}\n{\"at\":{\"time\":\"yesterday\"}}\n{\"x\":1}",
    );
    let times = decoded.rows.column(2).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.values(), &[1_442_018_818_771_000, 2_000_000_000]);
    assert_eq!(decoded.rejects.len(), 1);
    assert_eq!(decoded.rejects[0].line, 2);
    assert!(
        decoded.rejects[0].reason.contains("RFC 3339"),
        "{}",
        decoded.rejects[0].reason
    );
    let ms = ndjson(&decoder(Some("t")), r#"{"t":1500}"#);
    assert_eq!(
        ms.rows
            .column(2)
            .as_primitive::<TimestampMicrosecondType>()
            .values(),
        &[1_500_000]
    );
}

/// The reader of Arrow asserts what a damaged message does not keep; such a batch has been acked all the same.
#[test]
fn an_arrow_message_with_any_number_wrong_is_rows_or_rejects() {
    let words: arrow::array::DictionaryArray<arrow::datatypes::Int32Type> =
        ["a", "b", "a"].into_iter().collect();
    let rows = RecordBatch::try_from_iter([
        ("word", Arc::new(words) as _),
        ("name", Arc::new(StringArray::from(vec!["x", "yy", "z"])) as _),
    ])
    .unwrap();
    let mut good = Vec::new();
    let mut writer = StreamWriter::try_new(&mut good, &rows.schema()).unwrap();
    writer.write(&rows).unwrap();
    writer.finish().unwrap();
    let mut damaged = 0;
    for at in (0..good.len() - 8).step_by(4) {
        for number in [0, 1, -1, i64::MAX, i64::MIN, 1 << 31, 1 << 33] {
            let mut bytes = good.clone();
            bytes[at..at + 8].copy_from_slice(&i64::to_le_bytes(number));
            let decoded = decoder(None).decode(&batch(Encoding::ArrowIpc, bytes));
            let rows = decoded.rows.num_rows() + decoded.rejects.len();
            assert!(rows > 0, "nothing is lost in silence: at={at} number={number}");
            damaged += usize::from(
                decoded
                    .rejects
                    .iter()
                    .any(|reject| reject.reason.contains("damaged")),
            );
        }
    }
    assert!(damaged > 0, "some are what the reader asserts");
}

#[test]
fn system_columns_say_who_and_when() {
    let rows = ndjson(&decoder(None), r#"{"a":1}"#).rows;
    assert_eq!(
        rows.column(0).as_primitive::<TimestampMicrosecondType>().value(0),
        2_000_000_000
    );
    assert_eq!(
        rows.column(1).as_primitive::<TimestampMicrosecondType>().value(0),
        1_000_000_000
    );
    assert_eq!(
        rows.column(3).as_string_view().value(0),
        uuid::Uuid::from_u128(7).to_string()
    );
    assert_eq!(rows.column(4).as_primitive::<Int64Type>().value(0), 3);
    assert!(rows.column(5).is_null(0));
}

#[test]
fn arrow_batches_are_brought_to_stored_types() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int32, true),
        Field::new("t", DataType::Utf8, true),
    ]));
    let sent = RecordBatch::try_new(
        schema.clone(),
        vec![
            Arc::new(Int32Array::from(vec![1, 2])),
            Arc::new(StringArray::from(vec![Some("x"), None])),
        ],
    )
    .unwrap();
    let mut payload = Vec::new();
    let mut writer = StreamWriter::try_new(&mut payload, &schema).unwrap();
    writer.write(&sent).unwrap();
    drop(writer); // no end marker
    let decoder = decoder(None);
    ndjson(&decoder, r#"{"z":1,"n":5}"#);
    let decoded = decoder.decode(&batch(Encoding::ArrowIpc, payload.clone()));
    assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects);
    assert_eq!(
        own(&decoded.rows),
        [serde_json::json!({"n": 1, "t": "x"}), serde_json::json!({"n": 2})]
    );

    let clash = self::decoder(None);
    ndjson(&clash, r#"{"n":"text"}"#);
    let decoded = clash.decode(&batch(Encoding::ArrowIpc, payload));
    assert_eq!(decoded.rows.num_rows(), 0);
    assert_eq!(decoded.rejects.len(), 2);
    assert_eq!(decoded.rejects[1].raw, br#"{"n":2}"#);
    assert_eq!(
        decoded.rejects[0].reason,
        "a column has another type than in the table column=n is=Int64 must_be=Utf8View"
    );
}

#[test]
fn an_unreadable_payload_is_one_reject() {
    let decoded = decoder(None).decode(&batch(Encoding::ArrowIpc, b"rubbish".to_vec()));
    assert_eq!((decoded.rows.num_rows(), decoded.rejects.len()), (0, 1));
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>()
            .prop_filter("JSON has no NaN", |f| f.is_finite())
            .prop_map(Into::into),
        ".{0,20}".prop_map(serde_json::Value::String),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::Array),
            prop::collection::btree_map("[a-d]", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Takes nulls out of objects (a null field and a missing one are the same) and makes all numbers floats.
fn without_nulls(value: &serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(map) => serde_json::Value::Object(
            map.iter()
                .filter(|(_, v)| !v.is_null())
                .map(|(k, v)| (k.clone(), without_nulls(v)))
                .collect(),
        ),
        serde_json::Value::Array(items) => {
            serde_json::Value::Array(items.iter().map(without_nulls).collect())
        }
        serde_json::Value::Number(n) => n.as_f64().into(),
        other => other.clone(),
    }
}

proptest! {
    /// Every event of a batch is a row or a reject, whatever it is; and an event that is alone in its dataset
    /// comes back whole, from its columns and `_extra`.
    #[test]
    fn nothing_is_lost(events in prop::collection::vec(prop::collection::btree_map("[a-f]", json_value(), 0..5), 1..8)) {
        let lines: Vec<String> = events
            .iter()
            .map(|map| serde_json::to_string(map).unwrap())
            .collect();
        let shared = decoder(None);
        let decoded = ndjson(&shared, &lines.join("\n"));
        prop_assert_eq!(decoded.rows.num_rows() + decoded.rejects.len(), events.len());
        for line in &lines {
            let decoded = ndjson(&decoder(None), line);
            if decoded.rejects.is_empty() {
                let sent: serde_json::Value = serde_json::from_str(line).unwrap();
                let sent = without_nulls(&sent);
                let row = without_nulls(&own(&decoded.rows)[0]);
                for (name, value) in sent.as_object().unwrap() {
                    if row.get("_extra").is_none() {
                        prop_assert_eq!(row.get(name), Some(value), "{}", line);
                    }
                }
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>, arrow: bool) {
        let encoding = if arrow { Encoding::ArrowIpc } else { Encoding::Ndjson };
        decoder(Some("a")).decode(&batch(encoding, bytes));
    }
}

#[test]
fn times_out_of_range_are_rejected_as_they_were_sent() {
    let settings = DatasetSettings {
        event_time: Some("t".to_owned()),
        time_range: event::TimeRange {
            past: Some(std::time::Duration::from_secs(1)),
            future: Some(std::time::Duration::from_secs(2)),
        },
        ..DatasetSettings::default()
    };
    let decoder = Decoder::new(Arc::new(DatasetSchema::empty()), &settings).unwrap();
    // Received at 2000 s.
    let decoded = ndjson(
        &decoder,
        " {\"t\": 1998999}\n\n{\"t\":1999000}\n{\"x\":1}\n{\"t\":2002000}\n{\"t\":2002001,\"a b\":null}\r\n",
    );
    assert_eq!(decoded.lines, [3, 4, 5]);
    let rejects: Vec<(u32, &str, &[u8])> = decoded
        .rejects
        .iter()
        .map(|reject| (reject.line, reject.stage, &reject.raw[..]))
        .collect();
    let expected: [(u32, &str, &[u8]); 2] = [
        (1, "validate", b"{\"t\": 1998999}"),
        (6, "validate", b"{\"t\":2002001,\"a b\":null}"),
    ];
    assert_eq!(rejects, expected);
    assert!(decoded.rejects[0].reason.contains("too far before its receipt"));
    assert!(decoded.rejects[1].reason.contains("too far after its receipt"));
}

#[test]
fn raw_rows_of_arrow_have_all_their_fields() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int32, true),
        Field::new("with space", DataType::Utf8, true),
    ]));
    let sent = RecordBatch::try_new(
        schema.clone(),
        vec![
            Arc::new(Int32Array::from(vec![1, 2, 3])),
            Arc::new(StringArray::from(vec![Some("x"), None, Some("z")])),
        ],
    )
    .unwrap();
    let mut payload = Vec::new();
    let mut writer = StreamWriter::try_new(&mut payload, &schema).unwrap();
    writer.write(&sent.slice(0, 1)).unwrap();
    writer.write(&sent.slice(1, 2)).unwrap();
    drop(writer);
    let batch = batch(Encoding::ArrowIpc, payload);
    let decoder = decoder(None);
    assert_eq!(decoder.decode(&batch).lines, [1, 2, 3]);
    let raw: Vec<String> = decoder
        .raw(&batch, &[1, 3])
        .into_iter()
        .map(|raw| String::from_utf8(raw).unwrap())
        .collect();
    assert_eq!(
        raw,
        [r#"{"n":1,"with space":"x"}"#, r#"{"n":3,"with space":"z"}"#]
    );
}
