//! Declared schemas and events for them, made at random; and a plain reading of what a declaration asks for.

use event::{FieldSettings, FieldType, SchemaSettings, UnknownFields};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Schemas with up to four fields in a struct, two levels deep.
pub(crate) fn schema() -> impl Strategy<Value = SchemaSettings> {
    (fields(2), unknown()).prop_map(|(fields, unknown_fields)| SchemaSettings {
        version: 1,
        unknown_fields,
        fields,
    })
}

pub(crate) fn unknown() -> impl Strategy<Value = UnknownFields> {
    prop_oneof![
        Just(UnknownFields::Add),
        Just(UnknownFields::Extra),
        Just(UnknownFields::Reject)
    ]
}

fn scalar() -> impl Strategy<Value = FieldType> {
    prop_oneof![
        Just(FieldType::Text),
        Just(FieldType::Boolean),
        Just(FieldType::Int8),
        Just(FieldType::Int16),
        Just(FieldType::Int32),
        Just(FieldType::Int64),
        Just(FieldType::Float32),
        Just(FieldType::Float64),
        (1u8..6, 0u8..2).prop_map(|(precision, scale)| FieldType::Decimal { precision, scale }),
        Just(FieldType::Timestamp),
        Just(FieldType::Date),
        Just(FieldType::Bytes),
    ]
}

fn fields(depth: usize) -> BoxedStrategy<Vec<FieldSettings>> {
    let data_type = prop_oneof![
        6 => scalar(),
        1 => scalar().prop_map(|item| FieldType::List(Box::new(item))),
        if depth > 0 { 2 } else { 0 } => prop_oneof![
            Just(FieldType::Struct),
            Just(FieldType::List(Box::new(FieldType::Struct))),
        ],
    ];
    let field = (data_type, any::<bool>()).prop_flat_map(move |(data_type, required)| {
        let nests = data_type.to_string().contains("struct");
        let inner = if nests && depth > 0 {
            fields(depth - 1)
        } else {
            Just(Vec::new()).boxed()
        };
        (Just((data_type, required)), inner)
    });
    prop::collection::btree_map("[a-d]", field, 1..4)
        .prop_map(|fields| {
            let of = |(name, ((data_type, required), fields)): (String, _)| FieldSettings {
                required,
                fields,
                ..FieldSettings::new(name, data_type)
            };
            fields.into_iter().map(of).collect()
        })
        .boxed()
}

/// Events of a schema: mostly as it asks for, at times not.
pub(crate) fn event(schema: SchemaSettings) -> impl Strategy<Value = Value> {
    any::<u64>().prop_map(move |seed| object(&schema.fields, &mut Draw(seed)))
}

/// Numbers from a seed (a linear congruential generator).
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn object(fields: &[FieldSettings], draw: &mut Draw) -> Value {
    let mut object = Map::new();
    for field in fields {
        let absent = draw.below(if field.required { 40 } else { 4 }) == 0;
        if !absent {
            let value = value(&field.data_type, &field.fields, draw);
            object.insert(field.name.clone(), value);
        }
    }
    if draw.below(12) == 0 {
        object.insert("x".to_owned(), json!(1));
    }
    Value::Object(object)
}

fn value(data_type: &FieldType, fields: &[FieldSettings], draw: &mut Draw) -> Value {
    if draw.below(30) == 0 {
        return [
            json!(null),
            json!("?"),
            json!(true),
            json!(1e9),
            json!(-0.5),
            json!([]),
            json!({}),
        ][draw.below(7) as usize]
            .clone();
    }
    let whole = |bits: u32, draw: &mut Draw| {
        // At times one beyond.
        let far = draw.below(15) == 0 && bits < 64;
        let max = (1_i128 << (bits - 1)) - i128::from(!far);
        json!(i64::try_from(if draw.below(2) == 0 { max } else { max / 3 }).unwrap())
    };
    match data_type {
        FieldType::Text => json!("text".repeat(draw.below(5) as usize)),
        FieldType::Boolean => json!(draw.below(2) == 0),
        FieldType::Int8 => whole(8, draw),
        FieldType::Int16 => whole(16, draw),
        FieldType::Int32 => whole(32, draw),
        FieldType::Int64 => whole(64, draw),
        FieldType::Float32 => json!([0.25, 1e30, 3e38, 1e39][draw.below(4) as usize]),
        FieldType::Float64 => json!([0.25, 1e30, 1e300][draw.below(3) as usize]),
        FieldType::Decimal { precision, scale } => {
            let whole = draw.below(10_u64.pow(u32::from(precision - scale)));
            let point = draw.below(2) == 0;
            let part = if *scale > 0 && point {
                format!(".{}", draw.below(10))
            } else {
                String::new()
            };
            if point {
                json!(format!("{whole}{part}"))
            } else {
                json!(whole)
            }
        }
        FieldType::Timestamp => {
            [json!("2024-02-29T12:00:00+01:00"), json!(1_500)][draw.below(2) as usize].clone()
        }
        FieldType::Date => json!("2024-02-29"),
        FieldType::Bytes => json!(["", "AAE=", "AAE"][draw.below(3) as usize]),
        FieldType::List(item) => (0..draw.below(4)).map(|_| value(item, fields, draw)).collect(),
        FieldType::Struct => object(fields, draw),
    }
}

/// Whether an event is what a declaration asks for, read off the documentation.
pub(crate) fn is_good(schema: &SchemaSettings, event: &Value) -> bool {
    is_object(&schema.fields, schema.unknown_fields, event)
}

fn is_object(fields: &[FieldSettings], unknown: UnknownFields, value: &Value) -> bool {
    let Value::Object(object) = value else {
        return false;
    };
    let known = |name: &String| fields.iter().any(|field| field.name == *name);
    let no_others =
        || unknown != UnknownFields::Reject || object.iter().all(|(name, v)| v.is_null() || known(name));
    no_others()
        && fields.iter().all(|field| match object.get(&field.name) {
            None | Some(Value::Null) => !field.required,
            Some(value) => is_value(&field.data_type, &field.fields, unknown, value),
        })
}

fn is_value(data_type: &FieldType, fields: &[FieldSettings], unknown: UnknownFields, value: &Value) -> bool {
    let whole = |bits: u32| {
        let number = value.as_i64().or_else(|| {
            let float = value.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 1e15);
            float.map(|f| f as i64)
        });
        number.is_some_and(|n| (-(1_i128 << (bits - 1))..1_i128 << (bits - 1)).contains(&i128::from(n)))
    };
    match data_type {
        FieldType::Text => value.is_string(),
        FieldType::Boolean => value.is_boolean(),
        FieldType::Int8 => whole(8),
        FieldType::Int16 => whole(16),
        FieldType::Int32 => whole(32),
        FieldType::Int64 => whole(64),
        FieldType::Float32 => value.as_f64().is_some_and(|f| f.abs() <= f64::from(f32::MAX)),
        FieldType::Float64 => value.is_number(),
        FieldType::Decimal { precision, scale } => {
            let number = match value {
                Value::String(text) => text.parse().ok(),
                value => value.as_f64(),
            };
            let unit = 10_f64.powi((*scale).into());
            let is_whole = |n: f64| (n * unit).fract() == 0.0 || (n * unit - (n * unit).round()).abs() < 1e-6;
            number.is_some_and(|n| is_whole(n) && (n * unit).abs().round() < 10_f64.powi((*precision).into()))
        }
        FieldType::Timestamp => {
            value.as_i64().is_some()
                || value.as_f64() == Some(1e9)
                || value.as_str().is_some_and(|text| text.contains('T'))
        }
        FieldType::Date => value.as_str().is_some_and(|text| text.len() == 10),
        FieldType::Bytes => value.as_str().is_some_and(|text| !text.contains('?')),
        FieldType::List(item) => value.as_array().is_some_and(|items| {
            let good = |value: &Value| value.is_null() || is_value(item, fields, unknown, value);
            items.iter().all(good)
        }),
        FieldType::Struct => is_object(fields, unknown, value),
    }
}
