//! A schema that is declared: what events of a dataset must look like, and the columns that come of it.

use arrow::datatypes::{DataType, FieldRef};
use serde::{Deserialize, Serialize};

use crate::field_type::stored_fields;
use crate::infer::may_be_named;
use crate::limits::{SCHEMA_COLUMNS_MAX, SCHEMA_DEPTH_MAX};
use crate::{Error, FieldType, Result};

/// What is done about a field that the schema does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownFields {
    /// It gets a column of the type that its value has, as without a declared schema.
    #[default]
    Add,
    /// It goes to `_extra`; the table gets no column.
    Extra,
    /// The event is invalid.
    Reject,
}

/// The declared schema of a dataset: its fields, and what becomes of others.
///
/// Every event is checked: a value must be of its field's type, a required field must be there and not null; else the
/// event is rejected, with the field named. The columns are all there from the first event on. They are nullable, since
/// rows may be older than the declaration. Fields are found by their exact names.
///
/// ```
/// let text = r#"
///     version = 2
///     unknown_fields = "extra"
///     fields = [
///         { name = "user", type = "int64", required = true, doc = "who" },
///         { name = "price", type = "decimal(12,2)" },
///         { name = "items", type = "list<struct>", fields = [{ name = "sku", type = "text", required = true }] },
///     ]"#;
/// let schema: event::SchemaSettings = toml::from_str(text).unwrap();
/// schema.check().unwrap();
/// ```
///
/// Not here: defaults of fields, unsigned numbers, lists that may not hold null, constraints beyond types.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SchemaSettings {
    /// Which declaration of the dataset it is, from 1. Default 1. See [`crate::evolve`].
    pub version: u32,
    /// What is done about other fields: `add`, `extra` or `reject`. Default `add`.
    pub unknown_fields: UnknownFields,
    /// The fields, in the order of the columns.
    pub fields: Vec<FieldSettings>,
}

impl Default for SchemaSettings {
    fn default() -> Self {
        Self {
            version: 1,
            unknown_fields: UnknownFields::default(),
            fields: Vec::new(),
        }
    }
}

/// A declared field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldSettings {
    /// The field's name, and the column's.
    pub name: String,
    /// The field's type, as text.
    #[serde(rename = "type")]
    pub data_type: FieldType,
    /// Whether every event must have it, and not null; a field of a struct: every struct that is there. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// What it means, for readers. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc: Option<String>,
    /// The fields of a `struct` (or of the structs of a `list<struct>`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldSettings>,
}

impl FieldSettings {
    /// A field that events may have.
    pub fn new(name: impl Into<String>, data_type: FieldType) -> Self {
        Self {
            name: name.into(),
            data_type,
            required: false,
            doc: None,
            fields: Vec::new(),
        }
    }
}

impl SchemaSettings {
    /// Whether a table can have these columns.
    ///
    /// # Errors
    /// `Invalid`, with the field: a name that a column cannot have or that another one has (also by case alone), a
    /// struct without fields, fields beside another type, version 0. `TooLarge`: more columns or deeper structs than
    /// [`crate::limits`] allow.
    pub fn check(&self) -> Result<()> {
        if self.version == 0 {
            return Err(Error::invalid(
                "versions of a schema are counted from 1 version=0",
            ));
        }
        let columns = columns_of(&self.fields);
        if columns > SCHEMA_COLUMNS_MAX {
            return Err(Error::too_large(format_args!(
                "schema has too many fields, put rare ones into _extra fields={columns} fields_max={SCHEMA_COLUMNS_MAX}"
            )));
        }
        check_fields(&self.fields, &mut Vec::new(), 0)
    }

    /// The columns of the declared fields.
    pub(crate) fn columns(&self) -> Vec<FieldRef> {
        stored_fields(&self.fields)
    }
}

fn columns_of(fields: &[FieldSettings]) -> usize {
    fields.iter().map(|field| 1 + columns_of(&field.fields)).sum()
}

fn check_fields(fields: &[FieldSettings], path: &mut Vec<String>, depth: usize) -> Result<()> {
    let mut before: Vec<FieldRef> = Vec::new();
    for (field, column) in fields.iter().zip(stored_fields(fields)) {
        path.push(field.name.clone());
        let at = || path.join(".");
        if !may_be_named(&before, &field.name, path.len() - 1) {
            return Err(Error::invalid(format_args!(
                "field {}: a column cannot be called so: no name of a system column, none that another field has (also by case), up to 255 bytes, without spaces and any of ,;{{}}()=",
                at()
            )));
        }
        let depth = depth + field.data_type.depth();
        if depth >= SCHEMA_DEPTH_MAX {
            return Err(Error::too_large(format_args!(
                "field {}: nests too deep, keep it as text depth_max={SCHEMA_DEPTH_MAX}",
                at()
            )));
        }
        match (field.data_type.has_fields(), field.fields.is_empty()) {
            (true, true) => {
                return Err(Error::invalid(format_args!(
                    "field {}: a struct needs fields, list them in fields = [ … ]",
                    at()
                )));
            }
            (false, false) => {
                return Err(Error::invalid(format_args!(
                    "field {}: only struct and list<struct> have fields type={}",
                    at(),
                    field.data_type
                )));
            }
            _ => check_fields(&field.fields, path, depth + 1)?,
        }
        path.pop();
        before.push(column);
    }
    Ok(())
}

/// A table's columns with those that are declared, the new ones last.
///
/// # Errors
/// `Invalid`: a column is there already with a type that cannot hold what is declared.
pub(crate) fn with_declared(columns: &[FieldRef], declared: &[FieldSettings]) -> Result<Vec<FieldRef>> {
    let mut all = columns.to_vec();
    for field in declared {
        add(&mut all, field, "")?;
    }
    Ok(all)
}

fn add(columns: &mut Vec<FieldRef>, field: &FieldSettings, parents: &str) -> Result<()> {
    let path = format!("{parents}{}", field.name);
    let lower = field.name.to_lowercase();
    let known = columns
        .iter()
        .position(|column| column.name().to_lowercase() == lower);
    let Some(at) = known else {
        columns.extend(stored_fields(std::slice::from_ref(field)));
        return Ok(());
    };
    let column = &columns[at];
    if column.name() != &field.name {
        return Err(Error::invalid(format_args!(
            "field {path}: the table has a column whose name differs by case alone, declare it by that name column={}",
            column.name()
        )));
    }
    let data_type = merged(column.data_type(), &field.data_type, &field.fields, &path)?;
    columns[at] = std::sync::Arc::new(column.as_ref().clone().with_data_type(data_type));
    Ok(())
}

/// The column's type, with the declared fields that a struct has not yet.
fn merged(column: &DataType, declared: &FieldType, fields: &[FieldSettings], path: &str) -> Result<DataType> {
    match (column, declared) {
        (DataType::List(item), FieldType::List(of)) => Ok(DataType::List(std::sync::Arc::new(
            item.as_ref()
                .clone()
                .with_data_type(merged(item.data_type(), of, fields, path)?),
        ))),
        (DataType::Struct(known), FieldType::Struct) => {
            let mut known = known.to_vec();
            for field in fields {
                add(&mut known, field, &format!("{path}."))?;
            }
            Ok(DataType::Struct(known.into()))
        }
        // A column that rows of Arrow have made may have fewer digits than declared ones get.
        (DataType::Decimal128(digits, after), FieldType::Decimal { precision, scale })
            if digits >= precision && *after == *scale as i8 =>
        {
            Ok(column.clone())
        }
        (column, declared) if *column == declared.stored(fields) => Ok(column.clone()),
        _ => Err(Error::invalid(format_args!(
            "field {path}: the table has a column of another type, declare that one or give the field another name type={declared} column={column}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DatasetSchema;

    fn schema(fields: &str) -> SchemaSettings {
        toml::from_str(&format!("fields = [{fields}]")).unwrap()
    }

    #[test]
    fn what_a_table_cannot_have_is_refused() {
        for (fields, part) in [
            ("{name='a',type='text'},{name='A',type='text'}", "field A"),
            ("{name='a b',type='text'}", "field a b"),
            ("{name='eventTime',type='timestamp'}", "field eventTime"),
            ("{name='s',type='struct'}", "needs fields"),
            (
                "{name='s',type='text',fields=[{name='x',type='text'}]}",
                "only struct",
            ),
            (
                "{name='s',type='struct',fields=[{name='x y',type='text'}]}",
                "field s.x y",
            ),
            (
                "{name='l',type='list<list<list<list<list<list<list<list<text>>>>>>>>'}",
                "too deep",
            ),
        ] {
            let error = schema(fields).check().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let many = (0..=SCHEMA_COLUMNS_MAX).map(|n| FieldSettings::new(format!("f{n}"), FieldType::Text));
        let many = SchemaSettings {
            fields: many.collect(),
            ..SchemaSettings::default()
        };
        assert!(many.check().is_err());
        let wrong = toml::from_str::<SchemaSettings>("fields = [{name='a',type='string'}]").unwrap_err();
        assert!(wrong.to_string().contains("did you mean text?"), "{wrong}");
    }

    #[test]
    fn columns_that_are_there_stay_and_others_come_behind() {
        let table = DatasetSchema::empty();
        table
            .declare(&schema(
                "{name='n',type='int8'},{name='s',type='struct',fields=[{name='x',type='date'}]}",
            ))
            .unwrap();
        let grown = "{name='m',type='decimal(9,2)'},{name='n',type='int64'},{name='s',type='struct',fields=[{name='y',type='bytes'}]}";
        table.declare(&schema(grown)).unwrap();
        let names: Vec<String> = table
            .fields()
            .iter()
            .map(|f| format!("{} {}", f.name(), f.data_type()))
            .collect();
        assert_eq!(names[0], "n Int64");
        assert!(
            names[1].contains("x") && names[1].contains("Date32") && names[1].contains("BinaryView"),
            "{names:?}"
        );
        assert_eq!(names[2], "m Decimal128(38, 2)");
        for (fields, part) in [
            ("{name='n',type='text'}", "field n: the table has"),
            ("{name='N',type='int64'}", "column=n"),
            (
                "{name='s',type='struct',fields=[{name='x',type='text'}]}",
                "field s.x",
            ),
            ("{name='m',type='decimal(9,3)'}", "type=decimal(9,3)"),
        ] {
            let error = table.declare(&schema(fields)).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(table.fields().len(), 3, "what is refused changes nothing");
    }
}
