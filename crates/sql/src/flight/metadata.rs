//! What a driver asks of a server rather than of its tables: which tables there are, which types, what it can do.

use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::sql::metadata::{
    SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder,
};
use arrow_flight::sql::{
    Command, CommandGetDbSchemas, CommandGetTables, Nullable, Searchable, SqlInfo, XdbcDataType,
};
use tonic::Status;

use crate::Engine;
use crate::catalog::CATALOG;

/// What all tables are called, since none is a view.
const TABLE: &str = "TABLE";

/// The answer to a command that asks for metadata.
pub(super) fn rows(engine: &Engine, command: Command) -> Result<RecordBatch, Status> {
    use Command as C;
    let made = match command {
        C::CommandGetCatalogs(asked) => {
            let mut catalogs = asked.into_builder();
            catalogs.append(CATALOG);
            catalogs.build()
        }
        C::CommandGetDbSchemas(asked) => schemas(engine, asked),
        C::CommandGetTables(asked) => return tables(engine, asked),
        C::CommandGetTableTypes(asked) => {
            let mut types = asked.into_builder();
            types.append(TABLE);
            types.build()
        }
        C::CommandGetSqlInfo(asked) => asked.into_builder(&INFO).build(),
        C::CommandGetXdbcTypeInfo(asked) => asked.into_builder(&TYPES).build(),
        // No table has keys.
        C::CommandGetPrimaryKeys(_) => return Ok(RecordBatch::new_empty(Arc::new(primary_keys()))),
        C::CommandGetExportedKeys(_) | C::CommandGetImportedKeys(_) | C::CommandGetCrossReference(_) => {
            return Ok(RecordBatch::new_empty(Arc::new(foreign_keys())));
        }
        other => {
            let name = other.type_url().rsplit('.').next().unwrap_or_default();
            return Err(Status::unimplemented(format!(
                "queries only read, this is not offered command={name}"
            )));
        }
    };
    made.map_err(Status::from)
}

fn schemas(engine: &Engine, asked: CommandGetDbSchemas) -> arrow_flight::error::Result<RecordBatch> {
    let mut schemas = asked.into_builder();
    for schema in engine.schemas() {
        schemas.append(CATALOG, schema);
    }
    schemas.build()
}

fn tables(engine: &Engine, asked: CommandGetTables) -> Result<RecordBatch, Status> {
    let with_columns = asked.include_schema;
    let mut tables = asked.into_builder();
    for schema in engine.schemas() {
        for name in engine.tables(schema) {
            let columns = match with_columns {
                true => engine.columns(schema, &name)?,
                false => None,
            };
            // One that went away since it was listed has no columns.
            let columns = columns.unwrap_or_else(|| Arc::new(Schema::empty()));
            tables
                .append(CATALOG, schema, &name, TABLE, &columns)
                .map_err(Status::from)?;
        }
    }
    tables.build().map_err(Status::from)
}

fn utf8(name: &str, is_nullable: Nullability) -> Field {
    Field::new(name, DataType::Utf8, is_nullable == Nullability::Nullable)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Nullability {
    Required,
    Nullable,
}

use Nullability::{Nullable as Optional, Required};

/// The columns of `GetPrimaryKeys`, as the specification has them.
fn primary_keys() -> Schema {
    Schema::new(vec![
        utf8("catalog_name", Optional),
        utf8("db_schema_name", Optional),
        utf8("table_name", Required),
        utf8("column_name", Required),
        Field::new("key_sequence", DataType::Int32, false),
        utf8("key_name", Optional),
    ])
}

/// The columns of `GetExportedKeys`, `GetImportedKeys` and `GetCrossReference`, as the specification has them.
fn foreign_keys() -> Schema {
    Schema::new(vec![
        utf8("pk_catalog_name", Optional),
        utf8("pk_db_schema_name", Optional),
        utf8("pk_table_name", Required),
        utf8("pk_column_name", Required),
        utf8("fk_catalog_name", Optional),
        utf8("fk_db_schema_name", Optional),
        utf8("fk_table_name", Required),
        utf8("fk_column_name", Required),
        Field::new("key_sequence", DataType::Int32, false),
        utf8("fk_key_name", Optional),
        utf8("pk_key_name", Optional),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ])
}

static INFO: LazyLock<SqlInfoData> =
    LazyLock::new(|| info().build().expect("each value is of its name's type"));

fn info() -> SqlInfoDataBuilder {
    let mut info = SqlInfoDataBuilder::new();
    info.append(SqlInfo::FlightSqlServerName, "sanderling");
    info.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    info.append(SqlInfo::FlightSqlServerArrowVersion, "1.3");
    info.append(SqlInfo::FlightSqlServerReadOnly, true);
    info.append(SqlInfo::FlightSqlServerSql, true);
    info.append(SqlInfo::FlightSqlServerSubstrait, false);
    info.append(SqlInfo::FlightSqlServerTransaction, 0i32);
    info.append(SqlInfo::FlightSqlServerCancel, false);
    info.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    info.append(SqlInfo::SqlSearchStringEscape, "\\");
    info.append(SqlInfo::SqlCatalogTerm, "database");
    info.append(SqlInfo::SqlSchemaTerm, "schema");
    info
}

static TYPES: LazyLock<XdbcTypeInfoData> = LazyLock::new(|| types().build().expect("the types are complete"));

fn types() -> XdbcTypeInfoDataBuilder {
    use XdbcDataType as X;
    let mut types = XdbcTypeInfoDataBuilder::new();
    for (name, of, size, quote) in [
        ("boolean", X::XdbcBit, 1, None),
        ("int", X::XdbcInteger, 10, None),
        ("bigint", X::XdbcBigint, 19, None),
        ("double", X::XdbcDouble, 15, None),
        ("decimal", X::XdbcDecimal, 38, None),
        ("varchar", X::XdbcVarchar, i32::MAX, Some("'")),
        ("binary", X::XdbcVarbinary, i32::MAX, None),
        ("date", X::XdbcDate, 10, Some("'")),
        ("timestamp", X::XdbcTimestamp, 32, Some("'")),
    ] {
        types.append(XdbcTypeInfo {
            type_name: name.to_owned(),
            data_type: of,
            column_size: Some(size),
            literal_prefix: quote.map(str::to_owned),
            literal_suffix: quote.map(str::to_owned),
            nullable: Nullable::NullabilityNullable,
            case_sensitive: of == X::XdbcVarchar,
            searchable: Searchable::Full,
            local_type_name: Some(name.to_owned()),
            sql_data_type: of,
            ..XdbcTypeInfo::default()
        });
    }
    types
}
