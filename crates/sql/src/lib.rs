//! SQL over the warehouse and the stores, and its doors.
//!
//! | name | what it is |
//! |---|---|
//! | [`Engine`] | text → [`QueryStream`], a schema and Arrow batches as they come |
//! | [`rewrite`] | SQL as users write it → a statement whose names are spelled as they are stored |
//! | [`router`] | HTTP: `POST /v1/query`, `/v1/queries`, `GET /v1/stores/{job}/{key}` |
//! | [`FlightSql`] | Arrow Flight SQL: its messages, for a server's Flight service |
//! | [`serve_postgres`] | the Postgres wire protocol |
//! | [`SqlUdf`], [`RowQuery`], [`RowFilter`] | SQL over rows as they pass: steps of a chain, live queries, conditions |
//! | [`Change`] | `CREATE DATASET` and `DELETE FROM`, read for those who may |
//! | [`Shape`] | what the keys and values of a store look like |
//!
//! Besides DataFusion's functions there are those of sketches (`hll`, `theta`, `kll`, `frequent_items`) and BigQuery's
//! spellings of some.
//!
//! Schema `public` has a table per dataset and one per `<dataset>$failed`, schema `stores` one per job's store, schema
//! `sanderling` those of the server itself ([`SystemTable`]).
//! A query reads one version of each table, taken once.
//!
//! Not here: writing (every statement that would is refused), users and passwords.

mod catalog;
mod change;
mod engine;
mod error;
mod flight;
mod format;
mod http;
pub mod limits;
mod memory;
mod place;
mod postgres;
mod rewrite;
mod running;
mod shape;
mod sketch;
mod step;
mod store_table;
mod system;
mod table;
mod text;

pub use change::{Change, Known};
pub use engine::{Engine, EngineOptions, QueryOptions, QueryStream, Spill};
pub use error::{Error, ErrorKind, Result};
pub use flight::{FLIGHT_SQL_ACTIONS, FlightMessages, FlightSql, flight_messages, is_flight_sql};
pub use format::Format;
pub use http::router;
pub use place::Place;
pub use postgres::{PostgresOptions, PostgresPassword, PostgresTls, serve_postgres};
pub use rewrite::{Catalog, Found, rewrite};
pub use running::RunningQuery;
pub use shape::Shape;
pub use step::{RowFilter, RowQuery, SqlUdf};
pub use system::SystemTable;
