//! SQL over the warehouse and the stores, and its doors.
//!
//! | name | what it is |
//! |---|---|
//! | [`Engine`] | text → [`QueryStream`], a schema and Arrow batches as they come |
//! | [`rewrite`] | SQL as users write it → a statement whose names are spelled as they are stored |
//! | [`router`] | HTTP: `POST /v1/query`, `GET /v1/stores/{job}/{key}` |
//! | [`serve_postgres`] | the Postgres wire protocol |
//! | [`SqlUdf`], [`RowQuery`], [`RowFilter`] | SQL over rows as they pass: steps of a chain, live queries, conditions |
//! | [`Shape`] | what the keys and values of a store look like |
//!
//! Besides DataFusion's functions there are those of sketches (`hll`, `theta`, `kll`, `frequent_items`) and BigQuery's
//! spellings of some.
//!
//! Schema `public` has a table per dataset and one per `<dataset>$failed`, schema `stores` one per job's store.
//! A query reads one version of each table, taken once.
//!
//! Not here: writing (every statement that would is refused), users and passwords, Flight SQL.

mod catalog;
mod engine;
mod error;
mod format;
mod http;
pub mod limits;
mod postgres;
mod rewrite;
mod shape;
mod sketch;
mod step;
mod store_table;
mod table;
mod text;

pub use engine::{Engine, EngineOptions, QueryStream};
pub use error::{Error, ErrorKind, Result};
pub use format::Format;
pub use http::router;
pub use postgres::{PostgresOptions, PostgresPassword, PostgresTls, serve_postgres};
pub use rewrite::{Catalog, Found, rewrite};
pub use shape::Shape;
pub use step::{RowFilter, RowQuery, SqlUdf};
