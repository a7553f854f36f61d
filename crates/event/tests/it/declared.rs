//! Declared schemas: what is taken, what is rejected and why, and what becomes of other fields.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Decimal128Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
    TimestampMillisecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields};
use arrow::ipc::writer::StreamWriter;
use event::{
    Checker, DatasetSchema, DatasetSettings, Decoded, Decoder, Encoding, ErrorKind, SchemaSettings,
    UnknownFields,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::schemas::{event, is_good, schema};
use super::{batch, own};

/// A decoder of a new dataset with this schema.
pub(crate) fn declared(schema: &SchemaSettings) -> Decoder {
    let settings = DatasetSettings {
        schema: Some(schema.clone()),
        ..DatasetSettings::default()
    };
    Decoder::new(Arc::new(DatasetSchema::empty()), &settings).unwrap()
}

fn of_toml(text: &str) -> SchemaSettings {
    toml::from_str(text).unwrap()
}

pub(crate) fn lines(decoder: &Decoder, events: &[Value]) -> Decoded {
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    decoder.decode(&batch(Encoding::Ndjson, lines.join("\n").into_bytes()))
}

fn rows(decoder: &Decoder, rows: &RecordBatch) -> Decoded {
    let mut payload = Vec::new();
    let mut writer = StreamWriter::try_new(&mut payload, &rows.schema()).unwrap();
    writer.write(rows).unwrap();
    writer.finish().unwrap();
    decoder.decode(&batch(Encoding::ArrowIpc, payload))
}

fn reasons(decoded: &Decoded) -> Vec<(u32, &str)> {
    let of = |reject: &'_ event::Reject| {
        assert_eq!(reject.stage, "validate");
        reject.line
    };
    decoded
        .rejects
        .iter()
        .map(|reject| (of(reject), reject.reason.as_str()))
        .collect()
}

const ALL_TYPES: &str = r#"
    unknown_fields = "reject"
    fields = [
        { name = "id", type = "int64", required = true },
        { name = "tiny", type = "int8" },
        { name = "flag", type = "boolean" },
        { name = "ratio", type = "float32" },
        { name = "price", type = "decimal(6,2)" },
        { name = "at", type = "timestamp" },
        { name = "day", type = "date" },
        { name = "raw", type = "bytes" },
        { name = "tags", type = "list<text>" },
        { name = "lines", type = "list<struct>", fields = [
            { name = "sku", type = "text", required = true },
            { name = "count", type = "int16" },
        ] },
    ]"#;

#[test]
fn every_type_is_read_from_json() {
    let decoder = declared(&of_toml(ALL_TYPES));
    let good = [
        json!({"id": 1, "tiny": -128, "flag": true, "ratio": 1.5, "price": 9999.99, "at": "2015-09-12T00:46:58.771Z",
               "day": "2015-09-12", "raw": "AAH/", "tags": ["a", null], "lines": [{"sku": "x", "count": 3}]}),
        json!({"id": 2, "price": "-12.5", "at": 1500, "raw": "AAE"}),
        json!({"id": 3, "tiny": null, "price": 1}),
    ];
    let decoded = lines(&decoder, &good);
    assert_eq!(reasons(&decoded), []);
    assert_eq!(
        own(&decoded.rows),
        [
            json!({"id": 1, "tiny": -128, "flag": true, "ratio": 1.5, "price": 9999.99, "at": "2015-09-12T00:46:58.771Z",
                   "day": "2015-09-12", "raw": "0001ff", "tags": ["a", null], "lines": [{"sku": "x", "count": 3}]}),
            json!({"id": 2, "price": -12.5, "at": "1970-01-01T00:00:01.500Z", "raw": "0001"}),
            json!({"id": 3, "price": 1.0}),
        ]
    );
}

#[test]
fn what_is_not_as_declared_is_rejected_with_its_field() {
    let decoder = declared(&of_toml(ALL_TYPES));
    for (event, reason) in [
        (json!({"tiny": 1}), "field id: must be there and not null"),
        (json!({"id": null}), "field id: must be there and not null"),
        (
            json!({"id": 1, "tiny": 128}),
            "field tiny: beyond int8, -128 to 127 value=128",
        ),
        (json!({"id": 1, "ratio": 1e300}), "field ratio: beyond float32"),
        (
            json!({"id": 1, "price": 1.255}),
            "field price: has more than 2 digits after the point value=\"1.255\"",
        ),
        (
            json!({"id": 1, "price": 10000}),
            "field price: has more than 6 digits",
        ),
        (
            json!({"id": 1, "price": true}),
            "field price: expected a decimal number, got a boolean",
        ),
        (
            json!({"id": 1, "price": [1]}),
            "field price: expected a decimal number, got an array",
        ),
        (
            json!({"id": 1, "at": "2015-09-12 00:46"}),
            "field at: not RFC 3339 with an offset",
        ),
        (json!({"id": 1, "at": i64::MAX}), "field at: time is out of range"),
        (
            json!({"id": 1, "day": "2015-02-30"}),
            "field day: not a date, write YYYY-MM-DD",
        ),
        (
            json!({"id": 1, "day": "2015-09-12T01:00:00"}),
            "field day: not a date, write YYYY-MM-DD",
        ),
        (json!({"id": 1, "raw": "*"}), "field raw: not base64"),
        (
            json!({"id": 1, "tags": "a"}),
            "field tags: expected an array, got text",
        ),
        (
            json!({"id": 1, "lines": [{"sku": "x"}, {"count": 1}]}),
            "field lines.sku: must be there and not null",
        ),
        (
            json!({"id": 1, "lines": [{"sku": "x", "count": 40_000}]}),
            "field lines.count: beyond int16",
        ),
        (
            json!({"id": 1, "lines": [{"sku": "x", "other": 1}]}),
            "field lines: not in the schema",
        ),
        (
            json!({"id": 1, "what": {"a": 1}}),
            "field what: not in the schema, add it or leave it out",
        ),
    ] {
        let decoded = lines(&decoder, &[json!({"id": 7}), event.clone(), json!({"id": 8})]);
        let [(2, got)] = reasons(&decoded)[..] else {
            panic!("{event}: {:?}", reasons(&decoded))
        };
        assert!(got.starts_with(reason), "{event}: {got}");
        assert_eq!(own(&decoded.rows), [json!({"id": 7}), json!({"id": 8})]);
        assert_eq!(decoded.rejects[0].raw, event.to_string().as_bytes());
    }
}

#[test]
fn other_fields_are_added_or_kept_beside_or_rejected() {
    let schema = |unknown_fields| SchemaSettings {
        unknown_fields,
        ..of_toml("fields = [{ name = 's', type = 'struct', fields = [{ name = 'a', type = 'int64' }] }]")
    };
    let event = json!({"s": {"a": 1, "b": 2}, "c": "x"});
    let numbers = |n: i64| Arc::new(Int64Array::from(vec![n])) as ArrayRef;
    let inner = vec![
        (Arc::new(Field::new("a", DataType::Int64, true)), numbers(1)),
        (Arc::new(Field::new("b", DataType::Int64, true)), numbers(2)),
    ];
    let arrow = RecordBatch::try_from_iter([
        ("s", Arc::new(StructArray::from(inner)) as ArrayRef),
        ("c", Arc::new(StringArray::from(vec!["x"])) as ArrayRef),
    ])
    .unwrap();
    let decode = |unknown| {
        let decoder = declared(&schema(unknown));
        let outcome = |decoded: Decoded| (own(&decoded.rows), decoded.rejects.len());
        let of_json = outcome(lines(&decoder, std::slice::from_ref(&event)));
        assert_eq!(
            of_json,
            outcome(rows(&declared(&schema(unknown)), &arrow)),
            "rows of Arrow as JSON"
        );
        of_json
    };
    assert_eq!(decode(UnknownFields::Add), (vec![event.clone()], 0));
    let extra = json!({"s": {"a": 1}, "_extra": r#"{"s.b":2,"c":"x"}"#});
    assert_eq!(decode(UnknownFields::Extra), (vec![extra], 0));
    assert_eq!(decode(UnknownFields::Reject), (vec![], 1));
}

/// A table's format has its rules for names, within structs as well; what has no such name is kept beside.
#[test]
fn names_that_a_table_cannot_have_are_left_out_of_structs() {
    let inner = ["good", "not good", "GOOD"].map(|name| {
        let column = Arc::new(Int64Array::from(vec![1])) as ArrayRef;
        (Arc::new(Field::new(name, DataType::Int64, true)), column)
    });
    let sent = [("s", Arc::new(StructArray::from(inner.to_vec())) as ArrayRef)];
    let decoder = super::decoder(None);
    let decoded = rows(&decoder, &RecordBatch::try_from_iter(sent).unwrap());
    let extra = r#"{"s.not good":1,"s.GOOD":1}"#;
    assert_eq!(own(&decoded.rows), [json!({"s": {"good": 1}, "_extra": extra})]);
}

/// A column that events made before the schema was declared is a field that the schema does not have.
#[test]
fn a_column_that_is_not_declared_is_unknown() {
    let table = Arc::new(DatasetSchema::empty());
    let before = Decoder::new(table.clone(), &DatasetSettings::default()).unwrap();
    lines(&before, &[json!({"old": 1, "s": {"old": 1}})]);
    let text =
        "unknown_fields = 'reject'\nfields = [{name='s',type='struct',fields=[{name='a',type='int64'}]}]";
    let settings = DatasetSettings {
        schema: Some(of_toml(text)),
        ..DatasetSettings::default()
    };
    let decoder = Decoder::new(table, &settings).unwrap();
    let decoded = lines(
        &decoder,
        &[
            json!({"old": 1}),
            json!({"s": {"a": 1, "old": 1}}),
            json!({"old": null, "s": {"a": 1}}),
        ],
    );
    assert_eq!(
        reasons(&decoded),
        [
            (1, "field old: not in the schema, add it or leave it out"),
            (2, "field s.old: not in the schema, add it or leave it out")
        ]
    );
}

#[test]
fn rows_of_arrow_are_checked_one_by_one() {
    let text = "fields = [{name='n',type='int8',required=true},{name='price',type='decimal(20,4)'},{name='at',type='timestamp'},{name='raw',type='bytes'}]";
    let decoder = declared(&of_toml(text));
    let sent = RecordBatch::try_from_iter([
        (
            "n",
            Arc::new(Int64Array::from(vec![Some(1), None, Some(300), Some(2)])) as ArrayRef,
        ),
        (
            "price",
            Arc::new(
                Decimal128Array::from(vec![100, 200, 300, 400])
                    .with_precision_and_scale(10, 2)
                    .unwrap(),
            ) as ArrayRef,
        ),
        (
            "at",
            Arc::new(TimestampMillisecondArray::from(vec![1, 2, 3, 4])) as ArrayRef,
        ),
        (
            "raw",
            Arc::new(BinaryArray::from_iter_values([b"a", b"b", b"c", b"d"])) as ArrayRef,
        ),
    ])
    .unwrap();
    let decoded = rows(&decoder, &sent);
    assert_eq!(
        reasons(&decoded),
        [
            (2, "field n: must be there and not null"),
            (3, "field n: beyond int8, -128 to 127 value=300")
        ]
    );
    assert_eq!(
        own(&decoded.rows),
        [
            json!({"n": 1, "price": 1.0, "at": "1970-01-01T00:00:00.001Z", "raw": "61"}),
            json!({"n": 2, "price": 4.0, "at": "1970-01-01T00:00:00.004Z", "raw": "64"}),
        ]
    );
    let text =
        RecordBatch::try_from_iter([("n", Arc::new(StringArray::from(vec!["1"])) as ArrayRef)]).unwrap();
    let decoded = rows(&decoder, &text);
    assert_eq!(
        decoded.rejects[0].reason,
        "a column has another type than in the table column=n is=Utf8View must_be=Int64"
    );
}

/// Items of a null list, and fields of a null struct, are nobody's.
#[test]
fn what_is_behind_a_null_is_not_checked() {
    let text = "unknown_fields = 'reject'\nfields = [{name='l',type='list<struct>',fields=[{name='a',type='int8',required=true}]}]";
    let decoder = declared(&of_toml(text));
    let fields = Fields::from(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("b", DataType::Int64, true),
    ]);
    let a = Arc::new(Int64Array::from(vec![Some(1), None, Some(999)])) as ArrayRef;
    let b = Arc::new(Int64Array::from(vec![None, Some(1), Some(1)])) as ArrayRef;
    let items = StructArray::new(
        fields.clone(),
        vec![a, b],
        Some(NullBuffer::from(vec![true, false, true])),
    );
    let list = ListArray::new(
        Arc::new(Field::new("item", DataType::Struct(fields), true)),
        OffsetBuffer::new(vec![0, 2, 3].into()),
        Arc::new(items),
        Some(NullBuffer::from(vec![true, false])),
    );
    let decoded = rows(
        &decoder,
        &RecordBatch::try_from_iter([("l", Arc::new(list) as ArrayRef)]).unwrap(),
    );
    assert_eq!(reasons(&decoded), []);
    assert_eq!(own(&decoded.rows), [json!({"l": [{"a": 1}, null]}), json!({})]);
}

#[test]
fn a_schema_that_the_table_cannot_take_is_an_error_at_the_start() {
    let table = Arc::new(DatasetSchema::empty());
    let inferred = Decoder::new(table.clone(), &DatasetSettings::default()).unwrap();
    lines(&inferred, &[json!({"n": 1.5})]);
    let settings = DatasetSettings {
        schema: Some(of_toml("fields = [{name='n',type='int64'}]")),
        ..DatasetSettings::default()
    };
    let error = Decoder::new(table, &settings).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        error
            .to_string()
            .starts_with("field n: the table has a column of another type"),
        "{error}"
    );
}

proptest! {
    /// What the decoder takes is what a plain reading of the declaration takes; the client's check says the same; and
    /// columns are there from the first event on.
    #[test]
    fn the_decoder_the_check_and_a_plain_reading_agree(
        (schema, events) in schema().prop_flat_map(|schema| (Just(schema.clone()), prop::collection::vec(event(schema), 1..6)))
    ) {
        schema.check().unwrap();
        let decoder = declared(&schema);
        let mut checker = Checker::declared(&schema).unwrap();
        let decoded = lines(&decoder, &events);
        prop_assert_eq!(decoded.rows.num_rows() + decoded.rejects.len(), events.len());
        for (line, event) in (1..).zip(&events) {
            let good = is_good(&schema, event);
            let rejected = decoded.rejects.iter().find(|reject| reject.line == line);
            prop_assert_eq!(rejected.is_none(), good, "{} {:?}", event, rejected);
            prop_assert_eq!(checker.check_json(event.to_string().as_bytes()).is_ok(), good, "{}", event);
        }
        for field in &schema.fields {
            prop_assert!(decoded.rows.column_by_name(&field.name).is_some());
        }
    }

    /// Rows that were taken, sent as Arrow to a dataset with the same schema, are taken; and the same.
    #[test]
    fn rows_are_taken_as_their_json_is(
        (schema, events) in schema().prop_flat_map(|schema| (Just(schema.clone()), prop::collection::vec(event(schema), 1..6)))
    ) {
        let schema = SchemaSettings { unknown_fields: UnknownFields::Reject, ..schema };
        let decoded = lines(&declared(&schema), &events);
        let columns: Vec<usize> = (6..decoded.rows.num_columns()).collect();
        let taken = decoded.rows.project(&columns).unwrap();
        prop_assume!(taken.num_columns() > 0);
        let again = rows(&declared(&schema), &taken);
        prop_assert_eq!(reasons(&again), []);
        prop_assert_eq!(again.rows.project(&columns).unwrap(), taken);
        prop_assert!(Checker::declared(&schema).unwrap().check_rows(&again.rows.project(&columns).unwrap()).is_ok());
    }
}
