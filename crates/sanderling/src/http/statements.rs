//! `POST /v1/statements`: SQL that changes something, for those who may.

use axum::Json;
use axum::extract::State;
use event::DatasetName;
use serde_json::{Value, json};
use sql::{Change, Known};

use super::datasets::{Refused, as_toml};
use super::rows::{Delete, delete_from};
use crate::server::Parts;

/// Runs one statement.
pub(super) async fn run(State(parts): State<Parts>, body: String) -> Result<Json<Value>, Refused> {
    let change = Change::parse(&body).map_err(Refused::invalid)?;
    let Some(change) = change else {
        return Err(Refused::invalid(
            "not a statement that changes something: CREATE DATASET and DELETE FROM go here, queries to /v1/query",
        ));
    };
    match change {
        Change::Dataset {
            name,
            settings,
            known,
        } => {
            let name: DatasetName = name.parse().map_err(Refused::invalid)?;
            let is_set = parts.live.set_by(&name).is_some();
            if is_set && known == Known::Keep {
                return Ok(Json(json!({"dataset": name, "changed": false})));
            }
            if is_set && known == Known::Refuse {
                return Err(Refused::invalid(format_args!(
                    "the dataset is set already, write CREATE OR REPLACE DATASET to change it dataset={name}"
                )));
            }
            if let Some((_, Some(text))) = parts.live.set_by(&name) {
                let known: toml::Table = toml::from_str(&text).map_err(Refused::invalid)?;
                let beyond = ["steps", "tests", "time_range", "protobuf"];
                if let Some(key) = beyond.iter().find(|key| known.contains_key(**key)) {
                    return Err(Refused::invalid(format_args!(
                        "the dataset has settings that a statement cannot say and would drop, change it with PUT dataset={name} key={key}"
                    )));
                }
            }
            let text = as_toml(Value::Object(settings))?;
            let changed = parts.live.put(&name, &text, false, &parts.processor).await;
            let changed = changed.map_err(Refused::invalid)?;
            Ok(Json(json!({"dataset": name, "changed": !changed.is_empty()})))
        }
        Change::Delete { table, condition } => {
            // As in queries, the case of a name does not matter.
            let tables = parts.warehouse.tables();
            let mut fits = tables
                .iter()
                .filter(|known| known.name().eq_ignore_ascii_case(&table));
            let name = match (fits.next(), fits.next()) {
                (Some(one), None) => one.name(),
                _ => &table,
            };
            delete_from(&parts, name, Delete::new(condition)).await.map(Json)
        }
        _ => Err(Refused::invalid("this statement cannot be run here")),
    }
}
