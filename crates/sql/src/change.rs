//! Statements that change something: `CREATE DATASET` and `DELETE FROM`.
//!
//! ```sql
//! CREATE [OR REPLACE] DATASET [IF NOT EXISTS] clicks (
//!     "user" BIGINT NOT NULL,
//!     page   TEXT
//! ) WITH (event_time = 'time', partitions = 4, retention = '7d');
//!
//! DELETE FROM clicks WHERE "user" = 17;
//! ```
//!
//! Columns are the dataset's declared schema, options the keys of its section in the settings file. What has a section of
//! its own there (steps, tests, structs) is set over HTTP or in the file.

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, ColumnDef, ColumnOption, DataType, ExactNumberInfo, Expr, FromTable, SqlOption,
    Statement, TableFactor, UnaryOperator, Value as SqlValue,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;
use serde_json::{Map, Value, json};

use crate::rewrite::parse;
use crate::{Error, Result};

/// What a statement asks to be changed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// A dataset is set.
    Dataset {
        /// Its name, as it is written.
        name: String,
        /// The keys of its section in the settings file.
        settings: Map<String, Value>,
        /// What is done if it is set already.
        known: Known,
    },
    /// Rows of a table are deleted.
    Delete {
        /// Its name, as it is written.
        table: String,
        /// Those for which this is true, as it stands after WHERE.
        condition: String,
    },
}

/// What is done about a dataset that is set already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is an error.
    Refuse,
    /// Nothing.
    Keep,
    /// It is set anew.
    Replace,
}

impl Change {
    /// What a statement asks to be changed; `None` if it is not one of those at the top.
    ///
    /// # Errors
    /// `Invalid`: it is one of them, and wrong.
    pub fn parse(sql: &str) -> Result<Option<Self>> {
        let words: Vec<String> = sql
            .split_whitespace()
            .take(4)
            .map(str::to_ascii_uppercase)
            .collect();
        match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["CREATE", "DATASET", ..] | ["CREATE", "OR", "REPLACE", "DATASET"] => dataset(sql).map(Some),
            ["DELETE", ..] => delete(sql).map(Some),
            _ => Ok(None),
        }
    }
}

fn dataset(sql: &str) -> Result<Change> {
    let bad = |error: ParserError| {
        Error::invalid(format!(
            "statement does not parse: {error}; write CREATE DATASET name (column TYPE [NOT NULL], …) WITH (key = value, …)"
        ))
    };
    crate::rewrite::check_depth(sql)?;
    let mut parser = Parser::new(&GenericDialect {}).try_with_sql(sql).map_err(bad)?;
    parser.expect_keyword(Keyword::CREATE).map_err(bad)?;
    let replace = parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]);
    // DATASET is no word of SQL's.
    parser.next_token();
    let keep = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let name = parser.parse_identifier().map_err(bad)?.value;
    let (columns, constraints) = parser.parse_columns().map_err(bad)?;
    if let Some(constraint) = constraints.first() {
        return Err(Error::invalid(format!(
            "a dataset has no constraints but NOT NULL constraint={constraint}"
        )));
    }
    let options = parser.parse_options(Keyword::WITH).map_err(bad)?;
    while parser.consume_token(&Token::SemiColon) {}
    parser.expect_token(&Token::EOF).map_err(bad)?;
    let mut settings = Map::new();
    for option in options {
        let SqlOption::KeyValue { key, value } = option else {
            return Err(Error::invalid(format!(
                "an option is key = value option={option}"
            )));
        };
        let value = constant(&value)?;
        if settings.insert(key.value.clone(), value).is_some() {
            return Err(Error::invalid(format!(
                "an option stands twice option={}",
                key.value
            )));
        }
    }
    let fields = columns.iter().map(field).collect::<Result<Vec<_>>>()?;
    if !fields.is_empty() {
        let mut schema = Map::from_iter([("fields".to_owned(), Value::Array(fields))]);
        for (option, key) in [
            ("schema_version", "version"),
            ("unknown_fields", "unknown_fields"),
        ] {
            if let Some(value) = settings.remove(option) {
                schema.insert(key.to_owned(), value);
            }
        }
        settings.insert("schema".to_owned(), Value::Object(schema));
    }
    let known = match (replace, keep) {
        (true, _) => Known::Replace,
        (_, true) => Known::Keep,
        _ => Known::Refuse,
    };
    Ok(Change::Dataset {
        name,
        settings,
        known,
    })
}

/// A declared field, as settings have it.
fn field(column: &ColumnDef) -> Result<Value> {
    let name = &column.name.value;
    let mut required = false;
    for option in &column.options {
        match &option.option {
            ColumnOption::NotNull => required = true,
            ColumnOption::Null => {}
            other => {
                return Err(Error::invalid(format!(
                    "a column is NOT NULL or nothing column={name} option={other}"
                )));
            }
        }
    }
    let data_type = type_name(&column.data_type).ok_or_else(|| {
        Error::invalid(format!(
            "no such type: take TEXT, BOOLEAN, SMALLINT, INTEGER, BIGINT, REAL, DOUBLE, DECIMAL(p,s), TIMESTAMP, DATE, BYTEA, or one of them with [] column={name} type={}",
            column.data_type
        ))
    })?;
    Ok(json!({"name": name, "type": data_type, "required": required}))
}

fn constant(value: &Expr) -> Result<Value> {
    let bad = || {
        Error::invalid(format!(
            "an option's value is text, a number, true or false value={value}"
        ))
    };
    match value {
        Expr::Value(value) => match &value.value {
            SqlValue::Number(text, _) => serde_json::from_str(text).map_err(|_| bad()),
            SqlValue::SingleQuotedString(text) => Ok(Value::String(text.clone())),
            SqlValue::Boolean(value) => Ok(Value::Bool(*value)),
            _ => Err(bad()),
        },
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => serde_json::from_str(&format!("-{expr}")).map_err(|_| bad()),
        _ => Err(bad()),
    }
}

/// The name of a field's type, as settings have it.
fn type_name(data_type: &DataType) -> Option<String> {
    let name = match data_type {
        DataType::Text | DataType::String(_) | DataType::Varchar(_) | DataType::Char(_) => "text",
        DataType::Boolean | DataType::Bool => "boolean",
        DataType::TinyInt(_) => "int8",
        DataType::SmallInt(_) | DataType::Int2(_) => "int16",
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => "int32",
        DataType::BigInt(_) | DataType::Int8(_) | DataType::Int64 => "int64",
        DataType::Real | DataType::Float4 => "float32",
        DataType::Double(_)
        | DataType::DoublePrecision
        | DataType::Float8
        | DataType::Float64
        | DataType::Float(_) => "float64",
        DataType::Timestamp(..) | DataType::Datetime(_) => "timestamp",
        DataType::Date => "date",
        DataType::Bytea
        | DataType::Bytes(_)
        | DataType::Binary(_)
        | DataType::Varbinary(_)
        | DataType::Blob(_) => "bytes",
        DataType::Decimal(digits) | DataType::Numeric(digits) => {
            return match digits {
                ExactNumberInfo::PrecisionAndScale(precision, scale) => {
                    Some(format!("decimal({precision},{scale})"))
                }
                ExactNumberInfo::Precision(precision) => Some(format!("decimal({precision},0)")),
                ExactNumberInfo::None => None,
            };
        }
        DataType::Array(
            ArrayElemTypeDef::AngleBracket(item)
            | ArrayElemTypeDef::SquareBracket(item, _)
            | ArrayElemTypeDef::Parenthesis(item),
        ) => return type_name(item).map(|item| format!("list<{item}>")),
        _ => return None,
    };
    Some(name.to_owned())
}

fn delete(sql: &str) -> Result<Change> {
    let bad = || Error::invalid("write DELETE FROM table WHERE condition; WHERE true deletes all rows");
    let Statement::Delete(delete) = crate::engine::one(parse(sql)?)? else {
        return Err(bad());
    };
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    let is_plain = delete.tables.is_empty()
        && delete.using.is_none()
        && delete.returning.is_none()
        && delete.order_by.is_empty()
        && delete.limit.is_none();
    match (from.as_slice(), &delete.selection) {
        ([table], Some(condition)) if is_plain && table.joins.is_empty() => match &table.relation {
            TableFactor::Table {
                name,
                alias: None,
                args: None,
                ..
            } => {
                let path: Vec<_> = name.0.iter().filter_map(|part| part.as_ident()).collect();
                let name = match path.as_slice() {
                    [name] => name,
                    [schema, name] if schema.value.eq_ignore_ascii_case("public") => name,
                    _ => return Err(bad()),
                };
                Ok(Change::Delete {
                    table: name.value.clone(),
                    condition: condition.to_string(),
                })
            }
            _ => Err(bad()),
        },
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(sql: &str) -> Change {
        Change::parse(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
            .unwrap()
    }

    #[test]
    fn datasets() {
        let sql = "create dataset Clicks (\"user\" BIGINT NOT NULL, page TEXT, price NUMERIC(12, 2), tags TEXT[], at TIMESTAMPTZ NULL) \
                   WITH (event_time = 'at', partitions = 4, unknown_fields = 'reject', schema_version = 2);";
        let Change::Dataset {
            name,
            settings,
            known,
        } = parsed(sql)
        else {
            panic!()
        };
        assert_eq!((name.as_str(), known), ("Clicks", Known::Refuse));
        let field = |name: &str, data_type: &str, required: bool| json!({"name": name, "type": data_type, "required": required});
        let expected = json!({
            "event_time": "at",
            "partitions": 4,
            "schema": {
                "version": 2,
                "unknown_fields": "reject",
                "fields": [
                    field("user", "int64", true), field("page", "text", false), field("price", "decimal(12,2)", false),
                    field("tags", "list<text>", false), field("at", "timestamp", false),
                ],
            },
        });
        assert_eq!(Value::Object(settings), expected);
        let known = |sql: &str| match parsed(sql) {
            Change::Dataset { known, .. } => known,
            Change::Delete { .. } => panic!(),
        };
        assert_eq!(known("CREATE OR REPLACE DATASET a"), Known::Replace);
        assert_eq!(
            known("CREATE DATASET IF NOT EXISTS a WITH (retention = '1h')"),
            Known::Keep
        );
    }

    #[test]
    fn rows_to_delete() {
        let expected = Change::Delete {
            table: "wiki".to_owned(),
            condition: "\"user\" = 'x' AND n > 1".to_owned(),
        };
        assert_eq!(
            parsed("DELETE FROM public.wiki WHERE \"user\" = 'x' AND n > 1"),
            expected
        );
    }

    #[test]
    fn what_is_wrong_says_how_it_is_written() {
        let refused = |sql: &str, part: &str| {
            let error = Change::parse(sql).expect_err(sql).to_string();
            assert!(error.contains(part), "{sql}: {error}");
        };
        refused("CREATE DATASET", "CREATE DATASET name");
        refused("CREATE DATASET a (x WIBBLE)", "TIMESTAMP");
        refused("CREATE DATASET a (x INT PRIMARY KEY)", "NOT NULL");
        refused("CREATE DATASET a (x INT, UNIQUE (x))", "NOT NULL");
        refused("CREATE DATASET a WITH (k = now())", "value");
        refused("CREATE DATASET a WITH (k = 1, k = 2)", "twice");
        refused("CREATE DATASET a; SELECT 1", "CREATE DATASET name");
        refused("DELETE FROM a", "WHERE");
        refused("DELETE FROM stores.a WHERE true", "WHERE");
        refused("DELETE FROM a WHERE x = 1 LIMIT 1", "WHERE");
        refused("DELETE FROM a, b WHERE x = 1", "WHERE");
        assert_eq!(Change::parse("SELECT 1").unwrap(), None);
        assert_eq!(Change::parse("CREATE TABLE a (x INT)").unwrap(), None);
    }
}
