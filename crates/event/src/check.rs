//! Checking one event against the fields it should have, before it is sent.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use crate::constraint::{constraints, not_null};
use crate::fit::fit_rows;
use crate::json::{Rows, Rules};
use crate::limits::EVENT_BYTES_MAX;
use crate::stored::{canonical, stored_field};
use crate::{Error, Result, SchemaSettings, UnknownFields};

/// The fields of a dataset's events, as a check: JSON text or rows → fine, or what is wrong and where.
///
/// Types are those the decoder has: a value that passes fits a column of the field's stored type. A field that
/// is not nullable must be there. A check of JSON parses the event once and allocates only for unknown fields.
///
/// ```
/// use arrow::datatypes::{DataType, Field};
/// let fields = [Field::new("user", DataType::Int64, false).into()];
/// let mut checker = event::Checker::new(&fields, event::UnknownFields::Add).unwrap();
/// assert!(checker.check_json(br#"{"user":7,"page":"home"}"#).is_ok());
/// let error = checker.check_json(br#"{"user":"seven"}"#).unwrap_err();
/// assert!(error.to_string().contains("field user"), "{error}");
/// ```
pub struct Checker {
    fields: SchemaRef,
    rows: Rows,
}

impl std::fmt::Debug for Checker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checker")
            .field("fields", self.fields.fields())
            .field("rules", self.rows.rules())
            .finish_non_exhaustive()
    }
}

impl Checker {
    /// A check for events with these fields; one that is not nullable must be there, within structs too.
    ///
    /// # Errors
    /// `Invalid`: a field has a type that is not stored; the text names it.
    pub fn new(fields: &[FieldRef], unknown: UnknownFields) -> Result<Self> {
        let constraints = not_null(fields);
        let stored = fields.iter().map(|field| {
            stored_field(field).ok_or_else(|| {
                Error::invalid(format_args!(
                    "field of this type is not stored, use another field={} type={}",
                    field.name(),
                    field.data_type()
                ))
            })
        });
        let fields: Vec<FieldRef> = stored.collect::<Result<_>>()?;
        Ok(Self::of(fields, Rules { unknown, constraints }))
    }

    /// A check by a declared schema: what passes is what a dataset with this schema takes.
    ///
    /// # Errors
    /// Those of [`SchemaSettings::check`].
    pub fn declared(schema: &SchemaSettings) -> Result<Self> {
        schema.check()?;
        let fields = schema.columns();
        let rules = Rules {
            unknown: schema.unknown_fields,
            constraints: constraints(&fields, &schema.fields, schema.unknown_fields),
        };
        Ok(Self::of(fields, rules))
    }

    fn of(fields: Vec<FieldRef>, rules: Rules) -> Self {
        Self {
            rows: Rows::new(&fields, rules),
            fields: Arc::new(Schema::new(fields)),
        }
    }

    /// Checks one event as JSON text.
    ///
    /// # Errors
    /// `Invalid`: not a JSON object, a value that is not of its field's type, a field that must be there and is
    /// not (or is null), an unknown field if those are rejected. `TooLarge`: over [`EVENT_BYTES_MAX`].
    pub fn check_json(&mut self, json: &[u8]) -> Result<()> {
        if json.len() > EVENT_BYTES_MAX {
            return Err(Error::too_large(format_args!(
                "event is too large bytes={} bytes_max={EVENT_BYTES_MAX}",
                json.len()
            )));
        }
        let outcome = self.rows.push(json).map_err(Error::invalid);
        self.rows.clear();
        outcome
    }

    /// Checks rows.
    ///
    /// # Errors
    /// As [`Checker::check_json`], for the first row that is not good: a column whose stored type is not the field's, a
    /// column that must be there and is not (or has nulls), an unknown column with a value if those are rejected.
    pub fn check_rows(&self, rows: &RecordBatch) -> Result<()> {
        let fitted = canonical(rows)
            .and_then(|rows| fit_rows(&rows, &self.fields))
            .map_err(Error::invalid)?;
        match fitted.faults(self.rows.rules()).into_iter().flatten().next() {
            Some(reason) => Err(Error::invalid(reason)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, BatchHeader, BatchKey, Decoder, EmitterId, Encoding, Epoch, Sequence};
    use crate::{DatasetSchema, DatasetSettings, ErrorKind};

    use arrow::array::{ArrayRef, Int32Array, StringArray};
    use arrow::datatypes::{DataType, Field};
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn fields() -> Vec<FieldRef> {
        let inner = vec![Field::new("x", DataType::Float64, true)];
        vec![
            Field::new("n", DataType::Int64, false).into(),
            Field::new("word", DataType::Utf8, true).into(),
            Field::new("point", DataType::Struct(inner.into()), true).into(),
        ]
    }

    #[test]
    fn what_passes_and_what_does_not() {
        let mut open = Checker::new(&fields(), UnknownFields::Add).unwrap();
        let mut closed = Checker::new(&fields(), UnknownFields::Reject).unwrap();
        for (json, by_open, by_closed) in [
            (r#"{"n":1}"#, None, None),
            (r#"{"n":1,"word":null,"point":{"x":1.5}}"#, None, None),
            (r#"{"n":1,"more":2}"#, None, Some("field more")),
            (r#"{"n":1,"point":{"y":2}}"#, None, Some("field point.y")),
            (r#"{"n":"1"}"#, Some("field n"), Some("field n")),
            (r#"{"n":null}"#, Some("field n"), Some("field n")),
            (r#"{"word":"a"}"#, Some("field n"), Some("field n")),
            (r#"{"n":1"#, Some(""), Some("")),
            ("[1]", Some(""), Some("")),
        ] {
            for (checker, expected) in [(&mut open, by_open), (&mut closed, by_closed)] {
                match (checker.check_json(json.as_bytes()), expected) {
                    (Ok(()), None) => {}
                    (Err(error), Some(part)) => assert!(error.to_string().contains(part), "{json}: {error}"),
                    (outcome, _) => panic!("{json}: {outcome:?}"),
                }
            }
        }
        let large = vec![b' '; EVENT_BYTES_MAX + 1];
        assert_eq!(open.check_json(&large).unwrap_err().kind(), ErrorKind::TooLarge);
        let union = Field::new("m", DataType::Duration(arrow::datatypes::TimeUnit::Second), true);
        assert!(Checker::new(&[union.into()], UnknownFields::Add).is_err());
    }

    #[test]
    fn rows_are_checked_by_their_stored_types() {
        let checker = Checker::new(&fields(), UnknownFields::Reject).unwrap();
        let of = |n: ArrayRef| RecordBatch::try_from_iter([("n", n)]).unwrap();
        assert!(
            checker
                .check_rows(&of(Arc::new(Int32Array::from(vec![1, 2]))))
                .is_ok()
        );
        assert!(
            checker
                .check_rows(&of(Arc::new(Int32Array::from(vec![Some(1), None]))))
                .is_err()
        );
        assert!(
            checker
                .check_rows(&of(Arc::new(StringArray::from(vec!["1"]))))
                .is_err()
        );
        let other: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        assert!(
            checker
                .check_rows(&RecordBatch::try_from_iter([("m", other)]).unwrap())
                .is_err()
        );
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::json;
        prop_oneof![
            Just(json!(null)),
            any::<i32>().prop_map(|n| json!(n)),
            any::<bool>().prop_map(|b| json!(b)),
            "[a-z]{0,3}".prop_map(|s| json!(s)),
            any::<i8>().prop_map(|x| json!({ "x": f64::from(x) })),
            "[a-z]".prop_map(|x| json!({ "x": x })),
        ]
    }

    proptest! {
        /// Without required fields, the check says what the decoder of a dataset with this schema says.
        #[test]
        fn the_check_is_the_decoder_s(n in value(), word in value(), point in value()) {
            let optional: Vec<FieldRef> = fields()
                .iter()
                .map(|field| stored_field(field).unwrap())
                .collect();
            let mut checker = Checker::new(&optional, UnknownFields::Add).unwrap();
            let line = serde_json::json!({ "n": n, "word": word, "point": point }).to_string();
            let schema = Arc::new(DatasetSchema::empty());
            schema.grow(|_| optional.clone());
            let header = BatchHeader {
                key: BatchKey { emitter: EmitterId(uuid::Uuid::nil()), epoch: Epoch(0), sequence: Sequence(0) },
                events: 1,
                encoding: Encoding::Ndjson,
                generated_at: Timestamp::UNIX_EPOCH,
                received_at: Timestamp::UNIX_EPOCH,
            };
            let batch = Batch { dataset: "d".parse().unwrap(), header, payload: line.clone().into_bytes().into() };
            let decoded = Decoder::new(schema, &DatasetSettings::default()).unwrap().decode(&batch);
            prop_assert_eq!(checker.check_json(line.as_bytes()).is_ok(), decoded.rejects.is_empty(), "{}", line);
        }
    }
}
