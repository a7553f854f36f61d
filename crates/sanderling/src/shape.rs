//! The shape of a store's keys and values, for those who only read it: `"string"`, `"i64"`, `"u64"`, `"f64"`,
//! `"bool"`, `{"struct": [[name, shape], …]}`, `{"list": shape}`, or `"json"` for all else.

use arrow::datatypes::{DataType, FieldRef};
use serde::de::DeserializeOwned;
use serde_arrow::schema::{SchemaLike, TracingOptions};
use serde_json::{Value, json};

/// `{"key": …, "value": …}`.
pub(crate) fn of_store<K: DeserializeOwned, V: DeserializeOwned>() -> Value {
    json!({ "key": of_type::<K>(), "value": of_type::<V>() })
}

fn of_type<T: DeserializeOwned>() -> Value {
    /// A type that is no struct is traced as the one field of this.
    #[derive(serde::Deserialize)]
    struct Item<T> {
        #[expect(dead_code, reason = "only its type is traced")]
        item: T,
    }
    match Vec::<FieldRef>::from_type::<Item<T>>(TracingOptions::default().allow_null_fields(true)) {
        Ok(fields) => fields
            .first()
            .map_or(json!("json"), |field| of_data_type(field.data_type())),
        Err(_) => json!("json"),
    }
}

fn of_data_type(data_type: &DataType) -> Value {
    match data_type {
        DataType::Boolean => json!("bool"),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => json!("i64"),
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => json!("u64"),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => json!("f64"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => json!("string"),
        DataType::List(item) | DataType::LargeList(item) => json!({ "list": of_data_type(item.data_type()) }),
        DataType::Struct(fields) => {
            let fields: Vec<Value> = fields
                .iter()
                .map(|field| json!([field.name(), of_data_type(field.data_type())]))
                .collect();
            json!({ "struct": fields })
        }
        _ => json!("json"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_of_types() {
        #[derive(serde::Deserialize)]
        #[expect(dead_code, reason = "only its type is traced")]
        struct Sum {
            count: u64,
            mean: f64,
            names: Vec<String>,
        }
        assert_eq!(
            of_store::<String, u64>(),
            json!({"key": "string", "value": "u64"})
        );
        assert_eq!(
            of_type::<Sum>(),
            json!({"struct": [["count", "u64"], ["mean", "f64"], ["names", {"list": "string"}]]})
        );
        assert_eq!(
            of_type::<std::collections::BTreeMap<String, u64>>(),
            json!("json")
        );
    }
}
