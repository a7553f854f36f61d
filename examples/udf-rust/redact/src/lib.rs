//! Hides the name in e-mail addresses: `ada@example.org` → `a***@example.org`; what is no address is rejected.
//!
//! Settings: the name of the column, `email` if they are empty. A dataset that has no such column passes unchanged.

use std::sync::Arc;

use udf_guest::array::{Array, StringArray};
use udf_guest::schema::{DataType, Field, Schema};
use udf_guest::{ERROR_COLUMN, RecordBatch, Udf};

struct Redact {
    column: String,
}

impl Udf for Redact {
    fn new(settings: &str) -> Result<Self, String> {
        let column = match settings.trim() {
            "" => "email",
            name if name.contains(char::is_whitespace) => {
                return Err(format!(
                    "settings must be the name of one column settings={name:?}"
                ));
            }
            name => name,
        };
        let column = column.to_owned();
        Ok(Self { column })
    }

    fn apply(&self, rows: &RecordBatch) -> Result<RecordBatch, String> {
        let Ok(place) = rows.schema().index_of(&self.column) else {
            return Ok(rows.clone());
        };
        let addresses = rows.column(place).as_any().downcast_ref::<StringArray>();
        let addresses = addresses.ok_or_else(|| {
            format!(
                "the column must be text column={} type={}",
                self.column,
                rows.column(place).data_type()
            )
        })?;
        let redacted: Vec<Option<Result<String, &str>>> = addresses.iter().map(|a| a.map(redact)).collect();
        let values = redacted.iter().map(|r| r.as_ref().and_then(|r| r.as_ref().ok()));
        let errors = redacted.iter().map(|r| r.as_ref().and_then(|r| r.as_ref().err()));

        let mut fields = rows.schema().fields().to_vec();
        let mut columns = rows.columns().to_vec();
        columns[place] = Arc::new(values.collect::<StringArray>());
        fields.push(Arc::new(Field::new(ERROR_COLUMN, DataType::Utf8, true)));
        columns.push(Arc::new(errors.collect::<StringArray>()));
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|error| error.to_string())
    }
}

fn redact(address: &str) -> Result<String, &'static str> {
    match address.split_once('@') {
        Some((name, domain)) if !name.is_empty() && !domain.is_empty() => {
            let first = name.chars().next().map_or(0, char::len_utf8);
            Ok(format!("{}***@{domain}", &name[..first]))
        }
        _ => Err("not an e-mail address"),
    }
}

udf_guest::udf!(Redact);
