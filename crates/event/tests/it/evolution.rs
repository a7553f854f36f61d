//! The laws of `evolve`: reflexive, transitive; what was good stays good, what was written stays readable.

use std::sync::Arc;

use event::{
    Checker, DatasetSchema, DatasetSettings, Decoder, FieldSettings, FieldType, Rule, SchemaSettings,
    UnknownFields, conform, evolve,
};
use proptest::prelude::*;
use serde_json::Value;

use super::declared::lines;
use super::own;
use super::schemas::{event, schema, unknown};

/// One change somewhere in the fields, allowed or not.
#[derive(Clone, Debug)]
enum Edit {
    Add(FieldSettings),
    Remove,
    Retype(FieldType),
    Widen,
    Require(bool),
    Describe,
    Unknown(UnknownFields),
}

fn edit() -> impl Strategy<Value = (Edit, usize)> {
    let types = prop_oneof![
        Just(FieldType::Text),
        Just(FieldType::Int32),
        Just(FieldType::Float64)
    ];
    let edit = prop_oneof![
        (types.clone(), any::<bool>()).prop_map(|(data_type, required)| Edit::Add(FieldSettings {
            required,
            ..FieldSettings::new("new", data_type)
        })),
        Just(Edit::Remove),
        types.prop_map(Edit::Retype),
        Just(Edit::Widen),
        Just(Edit::Widen),
        any::<bool>().prop_map(Edit::Require),
        Just(Edit::Describe),
        unknown().prop_map(Edit::Unknown),
    ];
    (edit, any::<usize>())
}

fn edited(schema: &SchemaSettings, (edit, place): &(Edit, usize)) -> SchemaSettings {
    let mut schema = SchemaSettings {
        version: schema.version + 1,
        ..schema.clone()
    };
    if let Edit::Unknown(unknown) = edit {
        schema.unknown_fields = *unknown;
    } else {
        edit_fields(&mut schema.fields, edit, *place);
    }
    schema
}

fn edit_fields(fields: &mut Vec<FieldSettings>, edit: &Edit, place: usize) {
    let count = fields.len();
    let at = place % count;
    if !fields[at].fields.is_empty() && place.is_multiple_of(2) {
        return edit_fields(&mut fields[at].fields, edit, place / count);
    }
    match edit {
        Edit::Add(field) if fields.iter().all(|known| known.name != field.name) => {
            fields.insert(at, field.clone());
        }
        Edit::Remove if count > 1 => {
            fields.remove(at);
        }
        Edit::Retype(data_type) if fields[at].fields.is_empty() => fields[at].data_type = data_type.clone(),
        Edit::Widen => fields[at].data_type = wider(&fields[at].data_type),
        Edit::Require(required) => fields[at].required = *required,
        Edit::Describe => fields[at].doc = Some("described".to_owned()),
        _ => {}
    }
}

fn wider(data_type: &FieldType) -> FieldType {
    match data_type {
        FieldType::Int8 => FieldType::Int16,
        FieldType::Int16 => FieldType::Int32,
        FieldType::Int32 => FieldType::Int64,
        FieldType::Float32 => FieldType::Float64,
        FieldType::Decimal { precision, scale } => FieldType::Decimal {
            precision: precision + 1,
            scale: *scale,
        },
        FieldType::List(item) => FieldType::List(Box::new(wider(item))),
        other => other.clone(),
    }
}

fn versions() -> impl Strategy<Value = [SchemaSettings; 3]> {
    (schema(), edit(), edit()).prop_map(|(first, one, two)| {
        let second = edited(&first, &one);
        let third = edited(&second, &two);
        [first, second, third]
    })
}

fn declaring(table: &Arc<DatasetSchema>, schema: &SchemaSettings) -> Decoder {
    let settings = DatasetSettings {
        schema: Some(schema.clone()),
        ..DatasetSettings::default()
    };
    Decoder::new(table.clone(), &settings).unwrap()
}

/// Whether an event has a field that `old` does not declare and `new` does.
fn has_new(old: &[FieldSettings], new: &[FieldSettings], event: &Value) -> bool {
    match event {
        Value::Array(items) => items.iter().any(|item| has_new(old, new, item)),
        Value::Object(object) => object.iter().any(|(name, value)| {
            let find = |fields: &[FieldSettings]| fields.iter().find(|field| field.name == *name).cloned();
            match (find(old), find(new)) {
                (None, Some(_)) => true,
                (Some(old), Some(new)) => has_new(&old.fields, &new.fields, value),
                _ => false,
            }
        }),
        _ => false,
    }
}

proptest! {
    #[test]
    fn reflexive(schema in schema()) {
        let change = evolve(&schema, &schema).unwrap();
        prop_assert!(change.is_none());
    }

    #[test]
    fn transitive([first, second, third] in versions()) {
        if evolve(&first, &second).is_ok() && evolve(&second, &third).is_ok() {
            prop_assert!(evolve(&first, &third).is_ok(), "{:?}", evolve(&first, &third));
        }
    }

    #[test]
    fn what_was_good_stays_good_and_what_was_written_stays_readable(
        ([old, new, _], events) in versions().prop_flat_map(|versions| {
            let events = prop::collection::vec(event(versions[0].clone()), 1..6);
            (Just(versions), events)
        })
    ) {
        prop_assume!(evolve(&old, &new).is_ok());
        let mut checks = [Checker::declared(&old).unwrap(), Checker::declared(&new).unwrap()];
        for event in &events {
            let text = event.to_string();
            let [was, is] = checks.each_mut().map(|check| check.check_json(text.as_bytes()));
            if was.is_ok() && !has_new(&old.fields, &new.fields, event) {
                prop_assert!(is.is_ok(), "{event} {is:?}");
            }
        }
        let table = Arc::new(DatasetSchema::empty());
        let written = lines(&declaring(&table, &old), &events).rows;
        let columns = table.table();
        declaring(&table, &new);
        let read = conform(&written, &table.table()).unwrap();
        prop_assert_eq!(own(&read), own(&written));
        for column in columns.fields() {
            let now = table.table();
            let now = now.field_with_name(column.name()).unwrap();
            if !matches!(column.data_type(), arrow::datatypes::DataType::Struct(_) | arrow::datatypes::DataType::List(_)) {
                prop_assert_eq!(now.data_type(), column.data_type(), "no file is written again");
            }
        }
    }
}

fn fields(text: &str) -> SchemaSettings {
    toml::from_str(text).unwrap()
}

#[test]
fn each_rule_names_its_field() {
    let old = "version = 1\nfields = [{name='n',type='int32'},{name='s',type='struct',fields=[{name='x',type='decimal(5,2)',required=true}]}]";
    for (new, expected) in [
        (
            "version = 2\nfields = [{name='n',type='int32'}]",
            ("s", Rule::Removed),
        ),
        (
            "version = 2\nfields = [{name='n',type='int16'},{name='s',type='struct',fields=[{name='x',type='decimal(5,2)'}]}]",
            (
                "n",
                Rule::Type {
                    old: "int32".into(),
                    new: "int16".into(),
                },
            ),
        ),
        (
            "version = 2\nfields = [{name='n',type='int32'},{name='s',type='struct',fields=[{name='x',type='decimal(7,3)'}]}]",
            (
                "s.x",
                Rule::Type {
                    old: "decimal(5,2)".into(),
                    new: "decimal(7,3)".into(),
                },
            ),
        ),
        (
            "version = 2\nfields = [{name='n',type='int32',required=true},{name='s',type='struct',fields=[{name='x',type='decimal(5,2)'}]}]",
            ("n", Rule::Required),
        ),
        (
            "version = 2\nfields = [{name='n',type='int32'},{name='s',type='struct',fields=[{name='x',type='decimal(5,2)'},{name='y',type='text',required=true}]}]",
            ("s.y", Rule::AddedRequired),
        ),
        (
            "version = 2\nunknown_fields='reject'\nfields = [{name='n',type='int32'},{name='s',type='struct',fields=[{name='x',type='decimal(5,2)'}]}]",
            ("unknown_fields", Rule::UnknownFields),
        ),
        (
            "version = 1\nfields = [{name='n',type='int64'},{name='s',type='struct',fields=[{name='x',type='decimal(5,2)'}]}]",
            ("version", Rule::Version { old: 1, new: 1 }),
        ),
    ] {
        let error = evolve(&fields(old), &fields(new)).unwrap_err();
        assert_eq!((error.field.as_str(), error.rule.clone()), expected, "{error}");
    }
    let new = "version = 2\nfields = [{name='n',type='int64',doc='count'},{name='s',type='struct',fields=[{name='y',type='text'},{name='x',type='decimal(9,2)'}]}]";
    let change = evolve(&fields(old), &fields(new)).unwrap();
    assert_eq!(change.added, ["s.y"]);
    assert_eq!(change.widened, ["n", "s.x"]);
    assert_eq!(change.relaxed, ["s.x"]);
    assert_eq!(change.described, ["n"]);
}
