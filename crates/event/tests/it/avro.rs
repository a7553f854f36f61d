//! Avro containers: what another implementation writes, every type by hand, and what is damaged or meant to hurt.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow_avro::writer::AvroWriter;
use event::avro::{Container, count, write_block, write_header};
use event::{DatasetSchema, DatasetSettings, Decoded, Decoder, Encoding, SchemaSettings, UnknownFields};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::declared::{declared, lines};
use super::schemas::{event, schema};
use super::{batch, decoder, own};

const SYNC: [u8; 16] = *b"sixteen bytes ..";

fn decode(decoder: &Decoder, payload: Vec<u8>) -> Decoded {
    decoder.decode(&batch(Encoding::Avro, payload))
}

/// A container of one block a list of records.
fn container(schema: &Value, blocks: &[&[Vec<u8>]]) -> Vec<u8> {
    let mut out = Vec::new();
    write_header(&mut out, schema.to_string().as_bytes(), SYNC);
    for records in blocks {
        write_block(&mut out, records.len() as u64, &records.concat(), SYNC);
    }
    out
}

fn record(fields: Value) -> Value {
    json!({"type": "record", "name": "shop.Event", "fields": fields})
}

fn long(value: i64) -> Vec<u8> {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    let mut out = Vec::new();
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
    out
}

fn text(value: &str) -> Vec<u8> {
    [long(value.len() as i64), value.as_bytes().to_vec()].concat()
}

#[test]
fn every_type_has_its_column() {
    let schema = record(json!([
        {"name": "flag", "type": "boolean"},
        {"name": "n", "type": "int"},
        {"name": "f", "type": "float"},
        {"name": "d", "type": "double"},
        {"name": "raw", "type": "bytes"},
        {"name": "fixed", "type": {"type": "fixed", "name": "F", "size": 2}},
        {"name": "color", "type": {"type": "enum", "name": "Color", "symbols": ["RED", "BLUE"]}},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "counts", "type": {"type": "map", "values": "long"}},
        {"name": "user", "type": ["null", {"type": "record", "name": "User", "fields": [{"name": "id", "type": "long"}]}]},
        {"name": "either", "type": ["null", "int", "string"]},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "nano", "type": {"type": "long", "logicalType": "timestamp-nanos"}},
        {"name": "local", "type": {"type": "long", "logicalType": "local-timestamp-millis"}},
        {"name": "time", "type": {"type": "int", "logicalType": "time-millis"}},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "id", "type": {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}},
        {"name": "nothing", "type": "null"},
        {"name": "odd", "type": {"type": "string", "logicalType": "what-is-this"}}
    ]));
    let record = |user: Vec<u8>, either: Vec<u8>| {
        [
            vec![1],
            long(-7),
            0.5_f32.to_le_bytes().to_vec(),
            0.25_f64.to_le_bytes().to_vec(),
            [long(2), vec![0, 255]].concat(),
            vec![1, 2],
            long(1),
            // A block of two, and one that says how many bytes it has.
            [
                long(2),
                text("a"),
                text("b"),
                long(-1),
                long(2),
                text("c"),
                long(0),
            ]
            .concat(),
            [long(1), text("k"), long(9), long(0)].concat(),
            user,
            either,
            long(16_690),
            long(1_500),
            long(1_500_999),
            long(1_500),
            long(3_661_001),
            [long(2), vec![0xFB, 0x2E]].concat(),
            (0..16).collect(),
            text("odd"),
        ]
        .concat()
    };
    let records = [
        record([long(1), long(42)].concat(), [long(2), text("x")].concat()),
        record(long(0), [long(1), long(5)].concat()),
    ];
    let payload = container(&schema, &[&records]);
    assert_eq!(count(&payload).unwrap(), 2);
    let decoded = decode(&decoder(Some("at")), payload);
    assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects);
    let mut expected = json!({
        "flag": true, "n": -7, "f": 0.5, "d": 0.25, "raw": "00ff", "fixed": "0102", "color": "BLUE",
        "tags": ["a", "b", "c"], "counts": [{"key": "k", "value": 9}], "user": {"id": 42}, "either": {"string": "x"},
        "day": "2015-09-12", "at": "1970-01-01T00:00:01.500Z", "nano": "1970-01-01T00:00:00.001500Z",
        "local": "1970-01-01T00:00:01.5", "time": "01:01:01.001", "price": -12.34,
        "id": "00010203-0405-0607-0809-0a0b0c0d0e0f", "odd": "odd"
    });
    assert_eq!(own(&decoded.rows)[0], expected);
    expected["either"] = json!({"int": 5});
    expected.as_object_mut().unwrap().remove("user");
    assert_eq!(own(&decoded.rows)[1], expected);
}

#[test]
fn names_that_a_table_cannot_have_are_kept_beside() {
    let inner = json!({"type": "record", "name": "I", "fields": [{"name": "a b", "type": "long"}, {"name": "c", "type": "long"}]});
    let schema = record(
        json!([{"name": "x y", "type": "long"}, {"name": "l", "type": {"type": "array", "items": inner}}]),
    );
    let items = [long(2), long(2), long(3), long(4), long(5), long(0)].concat();
    let decoded = decode(
        &decoder(None),
        container(&schema, &[&[[long(1), items].concat()]]),
    );
    let extra = r#"{"x y":1,"l":[{"a b":2},{"a b":4}]}"#;
    assert_eq!(
        own(&decoded.rows),
        [json!({"l": [{"c": 3}, {"c": 5}], "_extra": extra})]
    );
}

/// The bad record alone is lost where its end can be told, and the rest of its block where it cannot.
#[test]
fn a_bad_record_is_one_reject() {
    let schema = record(json!([{"name": "n", "type": "long"}, {"name": "t", "type": ["null", "string"]}]));
    let good = |n: i64| [long(n), long(0)].concat();
    let settings = "fields = [{name='n',type='int8'}]";
    let schema_settings: SchemaSettings = toml::from_str(settings).unwrap();
    let bad_text = [long(1), long(1), long(1), vec![0xFF]].concat();
    let blocks: [&[Vec<u8>]; 3] = [
        &[good(1), good(300), bad_text, good(2)],
        &[good(3), [long(4), long(7)].concat(), good(5)],
        &[good(6)],
    ];
    let payload = container(&schema, &blocks);
    let decoded = decode(&declared(&schema_settings), payload);
    assert_eq!(
        own(&decoded.rows),
        [json!({"n": 1}), json!({"n": 2}), json!({"n": 3}), json!({"n": 6})]
    );
    let rejects: Vec<_> = decoded
        .rejects
        .iter()
        .map(|r| (r.line, r.stage, r.reason.as_str()))
        .collect();
    assert_eq!(
        rejects,
        [
            (2, "validate", "field n: beyond int8, -128 to 127 value=300"),
            (3, "validate", "field t: text is not UTF-8"),
            (
                6,
                "validate",
                "field t: no branch of the union has this number number=7 (this record and the rest of its block)"
            ),
        ]
    );
    assert_eq!(decoded.rejects[0].raw, good(300));
}

#[test]
fn a_container_that_breaks_gives_what_is_before() {
    let schema = record(json!([{"name": "n", "type": "long"}]));
    let payload = container(&schema, &[&[long(1), long(2)], &[long(3)]]);
    let mut torn = payload.clone();
    torn.truncate(payload.len() - 3);
    let decoded = decode(&decoder(None), torn.clone());
    assert_eq!(own(&decoded.rows), [json!({"n": 1}), json!({"n": 2})]);
    assert_eq!((decoded.rejects.len(), decoded.rejects[0].line), (1, 3));
    assert!(decoded.rejects[0].reason.starts_with("avro container is broken"));
    assert!(count(&torn).unwrap_err().to_string().contains("byte="));
    // A block that says more records than it has, and one that says fewer.
    for (said, rows, line) in [(3, 2, 3), (1, 1, 1)] {
        let mut lying = Vec::new();
        write_header(&mut lying, schema.to_string().as_bytes(), SYNC);
        write_block(&mut lying, said, &[2, 4], SYNC);
        let decoded = decode(&decoder(None), lying);
        assert_eq!((decoded.rows.num_rows(), decoded.rejects.len()), (rows, 1));
        assert_eq!(decoded.rejects[0].line, line);
    }
    for (payload, part) in [
        (b"{}".to_vec(), "not an avro container"),
        (b"Obj\x01".to_vec(), "header is cut short"),
        (container(&json!("long"), &[]), "not a record"),
    ] {
        let decoded = decode(&decoder(None), payload.clone());
        assert_eq!((decoded.rows.num_rows(), decoded.rejects.len()), (0, 1));
        assert!(
            decoded.rejects[0].reason.contains(part),
            "{}",
            decoded.rejects[0].reason
        );
        assert!(count(&payload).unwrap_err().to_string().contains(part));
    }
}

/// A few bytes that say there is no end of values, or that nest without end.
#[test]
fn small_payloads_that_mean_to_be_large_end_soon() {
    let nulls = record(json!([{"name": "l", "type": {"type": "array", "items": "null"}}]));
    let deep = record(json!([{"name": "next", "type": ["null", "Event"]}]));
    let endless = record(json!([{"name": "next", "type": "Event"}]));
    let wide = |inner: Value, name: &str| {
        let fields: Vec<Value> = (0..50)
            .map(|n| json!({"name": format!("f{n}"), "type": if n == 0 { inner.clone() } else { json!(inner["name"]) }}))
            .collect();
        json!({"type": "record", "name": name, "fields": fields})
    };
    let inner = json!({"type": "record", "name": "A", "fields": [{"name": "x", "type": "null"}]});
    let exploding = wide(wide(wide(wide(wide(inner, "B"), "C"), "D"), "E"), "F");
    for (schema, record) in [
        (nulls, [long(i64::MAX), long(0)].concat()),
        (deep, [long(1).repeat(100_000), long(0)].concat()),
        (endless, vec![]),
        (exploding, vec![]),
    ] {
        let decoded = decode(&decoder(None), container(&schema, &[&[record]]));
        assert_eq!((decoded.rows.num_rows(), decoded.rejects.len()), (0, 1));
        let reason = &decoded.rejects[0].reason;
        assert!(
            reason.contains("too deep") || reason.contains("too many"),
            "{reason}"
        );
        assert!(decoded.rows.num_columns() <= 1_100);
    }
    let mut empty = Vec::new();
    write_header(&mut empty, record(json!([])).to_string().as_bytes(), SYNC);
    write_block(&mut empty, u64::MAX >> 1, &[], SYNC);
    let decoded = decode(&decoder(None), empty);
    assert!(decoded.rejects[0].reason.contains("too many events"));
}

/// Any byte of it may be another: rows or rejects, and no panic.
#[test]
fn a_container_with_any_byte_wrong_is_rows_or_rejects() {
    let schema = record(json!([
        {"name": "n", "type": "long"},
        {"name": "l", "type": {"type": "array", "items": ["null", "string"]}},
        {"name": "m", "type": {"type": "map", "values": "bytes"}},
        {"name": "p", "type": {"type": "bytes", "logicalType": "decimal", "precision": 4}}
    ]));
    let one = [
        long(1),
        [long(2), long(1), text("ab"), long(0), long(0)].concat(),
        [long(1), text("k"), text("v"), long(0)].concat(),
        text("1"),
    ]
    .concat();
    let good = container(&schema, &[&[one.clone(), one.clone()], &[one]]);
    assert_eq!(decode(&decoder(None), good.clone()).rows.num_rows(), 3);
    for at in 0..good.len() {
        for byte in [0, 1, 2, 0x7F, 0x80, 0xFF, good[at] ^ 1, good[at] ^ 0x40] {
            let mut bytes = good.clone();
            bytes[at] = byte;
            let decoded = decode(&decoder(None), bytes.clone());
            assert!(
                decoded.rows.num_rows() + decoded.rejects.len() > 0,
                "at={at} byte={byte}"
            );
            let _ = count(&bytes);
        }
        let decoded = decode(&decoder(None), good[..at].to_vec());
        assert!(
            at == 0
                || decoded.rows.num_rows() + decoded.rejects.len() > 0
                || Container::open(&good[..at]).is_ok()
        );
    }
}

/// The events' own columns.
fn own_columns(decoded: &Decoded) -> RecordBatch {
    let own: Vec<usize> = (6..decoded.rows.num_columns()).collect();
    decoded.rows.project(&own).unwrap()
}

pub(crate) fn written_by_arrow(rows: &RecordBatch) -> Vec<u8> {
    let mut writer = AvroWriter::new(Vec::new(), rows.schema().as_ref().clone()).unwrap();
    writer.write(rows).unwrap();
    writer.finish().unwrap();
    writer.into_inner()
}

proptest! {
    /// What another implementation writes of rows is read as these rows.
    #[test]
    fn rows_that_arrow_writes_come_back(
        (schema, events) in schema().prop_flat_map(|schema| (Just(schema.clone()), prop::collection::vec(event(schema), 1..6)))
    ) {
        let schema = SchemaSettings { unknown_fields: UnknownFields::Reject, ..schema };
        let rows = own_columns(&lines(&declared(&schema), &events));
        prop_assume!(rows.num_rows() > 0);
        let payload = written_by_arrow(&rows);
        prop_assert_eq!(count(&payload).unwrap(), rows.num_rows() as u64);
        let decoded = decode(&declared(&schema), payload.clone());
        prop_assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects);
        prop_assert_eq!(own_columns(&decoded), rows.clone());
        // Without a declaration the schema of the file makes the same columns.
        let undeclared = Decoder::new(Arc::new(DatasetSchema::empty()), &DatasetSettings::default()).unwrap();
        let decoded = decode(&undeclared, payload);
        prop_assert_eq!(own_columns(&decoded), rows);
        prop_assert!(decoded.rows.column(5).is_null(0));
    }

    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>) {
        let schema = record(json!([{"name": "n", "type": "long"}, {"name": "t", "type": ["null", "string"]}]));
        decode(&decoder(None), container(&schema, &[std::slice::from_ref(&bytes)]));
        let _ = count(&[&b"Obj\x01"[..], &bytes].concat());
    }
}
