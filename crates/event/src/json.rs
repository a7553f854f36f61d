//! Events straight into columns: one pass, no tree. A row that does not fit is taken back out.
//!
//! An event comes as what `serde` reads: JSON text, or records of another format that call the same visitors.
//! Beside what JSON has they may give times (an `i128`, µs since 1970) and bytes.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::UnknownFields;
use crate::column::Column;
use crate::constraint::{Constraint, check_row};
use crate::infer::Unplaced;
use crate::loose::Loose;
use crate::scalar;

/// Rows under construction: the columns of `fields`, and what found no column.
pub(crate) struct Rows {
    columns: Vec<Column>,
    names: Names,
    rows: usize,
    rules: Rules,
    /// What found no column, with the row it belongs to.
    pub(crate) unplaced: Vec<(usize, Unplaced)>,
}

/// What rows are asked for beyond the types of their columns; nothing by default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) unknown: UnknownFields,
    pub(crate) constraints: Vec<Constraint>,
}

struct Names(Vec<FieldRef>);

impl Rows {
    /// No rows yet, of these columns.
    pub(crate) fn new(fields: &[FieldRef], rules: Rules) -> Self {
        Self {
            columns: fields
                .iter()
                .map(|field| Column::new(field.data_type()))
                .collect(),
            names: Names(fields.to_vec()),
            rows: 0,
            rules,
            unplaced: Vec::new(),
        }
    }

    /// What rows are asked for.
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// Adds the row that a JSON object makes, or says why it makes none and adds nothing.
    pub(crate) fn push(&mut self, json: &[u8]) -> Result<(), String> {
        self.push_json(serde_json::Deserializer::from_slice(json))
    }

    /// [`Rows::push`] of what is known to be UTF-8.
    pub(crate) fn push_text(&mut self, json: &str) -> Result<(), String> {
        self.push_json(serde_json::Deserializer::from_str(json))
    }

    fn push_json<'de>(
        &mut self,
        mut deserializer: serde_json::Deserializer<impl serde_json::de::Read<'de>>,
    ) -> Result<(), String> {
        let read = |seed: ObjectSeed<'_>| {
            seed.deserialize(&mut deserializer)
                .and_then(|()| deserializer.end())
        };
        self.push_read(read, |error, field| {
            let at = format!("at column {}", error.column());
            let text = error.to_string();
            let text = text
                .rsplit_once(" at line ")
                .map_or(text.as_str(), |(text, _)| text);
            match field {
                Some(path) => format!("field {path}: {text} {at}"),
                None => format!("{text} {at}"),
            }
        })
    }

    /// Adds the row that a record of another format makes, or says why it makes none and adds nothing.
    pub(crate) fn push_from<'de, D: Deserializer<'de>>(&mut self, record: D) -> Result<(), String> {
        let read = |seed: ObjectSeed<'_>| seed.deserialize(record);
        self.push_read(read, |error, field| match field {
            Some(path) => format!("field {path}: {error}"),
            None => error.to_string(),
        })
    }

    /// Adds the row that `read` gives to the visitor of an event, or says why (`tell` has the error, and the field that
    /// it is of) and adds nothing.
    fn push_read<E>(
        &mut self,
        read: impl FnOnce(ObjectSeed<'_>) -> Result<(), E>,
        tell: impl FnOnce(E, Option<String>) -> String,
    ) -> Result<(), String> {
        let mut place = Place {
            path: Vec::new(),
            failed: None,
            unplaced: Vec::new(),
        };
        let seed = ObjectSeed {
            columns: &mut self.columns,
            names: &self.names.0,
            row: self.rows,
            place: &mut place,
        };
        let outcome = match read(seed) {
            Ok(()) => self.check_last(&place.unplaced),
            Err(error) => Err(tell(error, place.failed)),
        };
        match outcome {
            Ok(()) => {
                let row = self.rows;
                self.unplaced
                    .extend(place.unplaced.into_iter().map(|unplaced| (row, unplaced)));
                self.rows += 1;
            }
            Err(_) => self
                .columns
                .iter_mut()
                .for_each(|column| column.truncate(self.rows)),
        }
        outcome
    }

    /// Whether the row that is there and not counted yet is what is asked for.
    fn check_last(&self, unplaced: &[Unplaced]) -> Result<(), String> {
        check_row(&self.columns, &self.rules.constraints, self.rows)?;
        match unplaced.first() {
            Some(unplaced) if self.rules.unknown == UnknownFields::Reject => {
                Err(unknown_field(&unplaced.path.join(".")))
            }
            _ => Ok(()),
        }
    }

    /// Takes all rows back out; memory is kept.
    pub(crate) fn clear(&mut self) {
        self.columns.iter_mut().for_each(|column| column.truncate(0));
        self.unplaced.clear();
        self.rows = 0;
    }

    /// The finished columns.
    pub(crate) fn finish(self) -> Vec<ArrayRef> {
        let types = self.names.0.iter().map(|field| field.data_type());
        self.columns
            .into_iter()
            .zip(types)
            .map(|(column, data_type)| column.finish(data_type))
            .collect()
    }
}

pub(crate) fn unknown_field(path: &str) -> String {
    format!("field {path}: not in the schema, add it or leave it out")
}

/// Where in the row the parser is, and what it met on the way.
struct Place {
    path: Vec<String>,
    failed: Option<String>,
    unplaced: Vec<Unplaced>,
}

struct ObjectSeed<'a> {
    columns: &'a mut [Column],
    names: &'a [FieldRef],
    row: usize,
    place: &'a mut Place,
}

impl<'de> DeserializeSeed<'de> for ObjectSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ObjectSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut guess = 0;
        while let Some(index) = map.next_key_seed(NameSeed {
            names: self.names,
            guess,
        })? {
            let Ok(index) = index else {
                let name = index.err().unwrap_or_default();
                let value: Value = map.next_value_seed(Loose)?;
                if !value.is_null() {
                    let mut path = self.place.path.clone();
                    path.push(name);
                    self.place.unplaced.push(Unplaced { path, value });
                }
                continue;
            };
            guess = index + 1;
            let column = &mut self.columns[index];
            let name = self.names[index].name();
            if column.len() != self.row {
                self.place.failed.get_or_insert_with(|| name.clone());
                return Err(A::Error::custom("the field stands twice in the object"));
            }
            if column.is_nested() {
                self.place.path.push(name.clone());
            }
            let seed = ValueSeed {
                column,
                data_type: self.names[index].data_type(),
                place: self.place,
            };
            if let Err(error) = map.next_value_seed(seed) {
                let failed = match self.place.failed.take() {
                    Some(inner) => format!("{name}.{inner}"),
                    None => name.clone(),
                };
                self.place.failed = Some(failed);
                return Err(error);
            }
            if self.columns[index].is_nested() {
                self.place.path.pop();
            }
        }
        for column in self.columns.iter_mut().filter(|column| column.len() == self.row) {
            column.push_null();
        }
        Ok(())
    }
}

/// A field's name, read as the index of its column; objects mostly keep the order of the columns.
struct NameSeed<'a> {
    names: &'a [FieldRef],
    guess: usize,
}

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = Result<usize, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed<'_> {
    type Value = Result<usize, String>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        if self
            .names
            .get(self.guess)
            .is_some_and(|field| field.name() == name)
        {
            return Ok(Ok(self.guess));
        }
        Ok(self
            .names
            .iter()
            .position(|field| field.name() == name)
            .ok_or_else(|| name.to_owned()))
    }
}

struct ValueSeed<'a> {
    column: &'a mut Column,
    data_type: &'a DataType,
    place: &'a mut Place,
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // As text, since a float would not keep its digits.
        if matches!(self.column, Column::Decimal { .. }) && deserializer.is_human_readable() {
            let number = <&RawValue>::deserialize(deserializer)?.get();
            let text = number.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            return match (text, number.as_bytes()) {
                (Some(text), _) => self.visit_str(text),
                (None, b"null") => self.visit_unit(),
                (None, [b'-' | b'0'..=b'9', ..]) => self.visit_str(number),
                (None, [b'{', ..]) => Err(self.mismatch("an object")),
                (None, [b'[', ..]) => Err(self.mismatch("an array")),
                (None, _) => Err(self.mismatch("a boolean")),
            };
        }
        deserializer.deserialize_any(self)
    }
}

impl ValueSeed<'_> {
    fn mismatch<E: serde::de::Error>(&self, got: &str) -> E {
        let expected = match self.column {
            Column::Bool(..) => "true or false",
            Column::Int(..) => "an integer",
            Column::Float(..) => "a number",
            Column::Time(..) => "a time (RFC 3339 text or ms since 1970)",
            Column::Date(..) => "a date (text YYYY-MM-DD)",
            Column::Decimal { .. } => "a decimal number",
            Column::Text { .. } => "text",
            Column::Bytes { .. } => "bytes (base64 text)",
            Column::List { .. } => "an array",
            Column::Struct { .. } => "an object",
            Column::Other(_) => "null (this column is not written by events)",
        };
        E::custom(format_args!("expected {expected}, got {got}"))
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.column.push_null();
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        match self.column {
            Column::Bool(values, valid) => {
                values.push(value);
                valid.push(true);
                Ok(())
            }
            _ => Err(self.mismatch("a boolean")),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        match self.column {
            Column::Int(values, valid) => {
                values.push(value);
                valid.push(true);
                Ok(())
            }
            Column::Float(values, valid) => {
                values.push(value as f64);
                valid.push(true);
                Ok(())
            }
            Column::Time(values, valid) => {
                values.push(scalar::time_of_ms(value).map_err(E::custom)?);
                valid.push(true);
                Ok(())
            }
            Column::Decimal { .. } => self.visit_str(&value.to_string()),
            _ => Err(self.mismatch("an integer")),
        }
    }

    /// A time, in µs since 1970.
    fn visit_i128<E: serde::de::Error>(self, us: i128) -> Result<(), E> {
        match (i64::try_from(us), self.column) {
            (Ok(us), Column::Time(values, valid)) => {
                values.push(us);
                valid.push(true);
                Ok(())
            }
            (_, column) => Err(ValueSeed { column, ..self }.mismatch("a time")),
        }
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        match (i64::try_from(value), &self.column) {
            (Ok(value), _) => self.visit_i64(value),
            (Err(_), Column::Float(..)) => self.visit_f64(value as f64),
            (Err(_), Column::Decimal { .. }) => self.visit_str(&value.to_string()),
            (Err(_), _) => Err(self.mismatch("an integer beyond 64 bits")),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53: up to here every integer is a double of its own
        match self.column {
            Column::Float(values, valid) => {
                values.push(value);
                valid.push(true);
                Ok(())
            }
            Column::Int(values, valid) if value.fract() == 0.0 && value.abs() <= EXACT => {
                values.push(value as i64);
                valid.push(true);
                Ok(())
            }
            Column::Time(..) if value.fract() == 0.0 && value.abs() <= EXACT => self.visit_i64(value as i64),
            _ => Err(self.mismatch("a number with a fraction or beyond 64 bits")),
        }
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        match self.column {
            Column::Text { bytes, ends, valid } => {
                bytes.extend_from_slice(value.as_bytes());
                ends.push(bytes.len() as i32);
                valid.push(true);
                Ok(())
            }
            Column::Time(values, valid) => {
                values.push(scalar::time_us(value).map_err(E::custom)?);
                valid.push(true);
                Ok(())
            }
            Column::Date(values, valid) => {
                values.push(scalar::days(value).map_err(E::custom)?);
                valid.push(true);
                Ok(())
            }
            Column::Decimal {
                unscaled,
                valid,
                precision,
                scale,
            } => {
                unscaled.push(scalar::decimal(value, *precision, *scale).map_err(E::custom)?);
                valid.push(true);
                Ok(())
            }
            Column::Bytes { bytes, ends, valid } => {
                scalar::bytes(value, bytes).map_err(E::custom)?;
                ends.push(bytes.len() as i32);
                valid.push(true);
                Ok(())
            }
            _ => Err(self.mismatch("text")),
        }
    }

    fn visit_bytes<E: serde::de::Error>(self, value: &[u8]) -> Result<(), E> {
        match self.column {
            Column::Bytes { bytes, ends, valid } => {
                bytes.extend_from_slice(value);
                ends.push(bytes.len() as i32);
                valid.push(true);
                Ok(())
            }
            _ => Err(self.mismatch("bytes")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let (Column::List { ends, valid, items }, DataType::List(item)) = (&mut *self.column, self.data_type)
        else {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Err(self.mismatch("an array"));
        };
        let unplaced_before = self.place.unplaced.len();
        while seq
            .next_element_seed(ValueSeed {
                column: items,
                data_type: item.data_type(),
                place: self.place,
            })?
            .is_some()
        {}
        if self.place.unplaced.len() > unplaced_before {
            // A field within an array's item has no path of its own: the column grows by the item's type.
            let path = self.place.path.clone();
            for unplaced in &mut self.place.unplaced[unplaced_before..] {
                let inner = unplaced.path.split_off(path.len());
                let object = inner
                    .into_iter()
                    .rev()
                    .fold(unplaced.value.take(), |value, name| {
                        Value::Object([(name, value)].into_iter().collect())
                    });
                unplaced.path = path.clone();
                unplaced.value = Value::Array(vec![object]);
            }
        }
        ends.push(items.len() as i32);
        valid.push(true);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let (Column::Struct { columns, valid }, DataType::Struct(names)) =
            (&mut *self.column, self.data_type)
        else {
            return Err(self.mismatch("an object"));
        };
        let row = valid.len();
        ObjectSeed {
            columns,
            names,
            row,
            place: self.place,
        }
        .visit_map(map)?;
        valid.push(true);
        Ok(())
    }
}
