//! A dataset as what a job looks up: of each key, its newest row.

use std::collections::{BTreeSet, HashMap};
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use client::Client;
use event::{DatasetName, SystemColumn};
use flow::{Element, Error, ErrorKind, Key, Result, Service};
use futures::TryStreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{Remote, from_client};
use crate::limits::SERVICE_KEYS_MAX;

/// The column of the key in an answer, and the field that it is read into.
const KEY: &str = "_key";

impl Remote {
    /// The rows of a dataset by a column, read only: of several rows with the key, the one with the newest `eventTime`,
    /// of several of these the one received last. Columns are matched to the fields of `V` by name. Answers are as new
    /// as a query of that moment, so a job that reads its input again may see newer ones.
    ///
    /// A call is one SQL query for each 1,000 keys; it costs what a query over the whole dataset costs.
    ///
    /// # Errors
    /// `Invalid` when the name cannot be a dataset's. Its calls: `Invalid` when the dataset or the column is not there,
    /// when keys are neither text, whole numbers nor booleans, or when rows do not fit `V`; `Retry` when the server
    /// cannot be reached.
    pub fn service<K, V>(&self, dataset: &str, key: &str) -> Result<Arc<dyn Service<K, V>>>
    where
        K: Key + Serialize + DeserializeOwned,
        V: Element + DeserializeOwned,
    {
        let dataset = dataset
            .parse()
            .map_err(|error: event::Error| Error::new(ErrorKind::Invalid, error))?;
        Ok(Arc::new(Rows {
            client: self.client.clone(),
            dataset,
            column: key.to_owned(),
            types: PhantomData::<fn() -> (K, V)>,
        }))
    }
}

struct Rows<K, V> {
    client: Client,
    dataset: DatasetName,
    column: String,
    types: PhantomData<fn() -> (K, V)>,
}

#[derive(Deserialize)]
struct Keyed<K> {
    #[serde(rename = "_key")]
    key: K,
}

#[async_trait]
impl<K, V> Service<K, V> for Rows<K, V>
where
    K: Key + Serialize + DeserializeOwned,
    V: Element + DeserializeOwned,
{
    async fn multi_get(&self, keys: &[K]) -> Result<Vec<Option<V>>> {
        let asked: BTreeSet<&K> = keys.iter().collect();
        let literals: Vec<String> = asked
            .into_iter()
            .map(|key| self.literal(key))
            .collect::<Result<_>>()?;
        let mut found = HashMap::new();
        for literals in literals.chunks(SERVICE_KEYS_MAX) {
            let (_, rows) = self.client.query(self.sql(literals)).await.map_err(from_client)?;
            let batches: Vec<RecordBatch> = rows.try_collect().await.map_err(from_client)?;
            for batch in batches.iter().filter(|batch| batch.num_rows() > 0) {
                found.extend(self.pairs(batch)?);
            }
        }
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }
}

impl<K, V> Rows<K, V>
where
    K: Key + Serialize + DeserializeOwned,
    V: Element + DeserializeOwned,
{
    /// The newest row of each key that has one.
    fn sql(&self, literals: &[String]) -> String {
        let (dataset, column) = (quoted(self.dataset.as_str()), quoted(&self.column));
        let newest = [
            SystemColumn::EventTime,
            SystemColumn::ReceivedTime,
            SystemColumn::Sequence,
        ]
        .map(|column| format!("{} DESC", quoted(column.name())))
        .join(", ");
        format!(
            "SELECT * FROM (SELECT {column} AS {key}, *, row_number() OVER (PARTITION BY {column} ORDER BY {newest}) AS _rank \
             FROM {dataset} WHERE {column} IN ({literals})) WHERE _rank = 1",
            key = quoted(KEY),
            literals = literals.join(", "),
        )
    }

    /// A key as SQL.
    fn literal(&self, key: &K) -> Result<String> {
        match serde_json::to_value(key) {
            Ok(Json::String(text)) => Ok(format!("'{}'", text.replace('\'', "''"))),
            Ok(Json::Bool(truth)) => Ok(truth.to_string()),
            Ok(Json::Number(number)) if !number.is_f64() => Ok(number.to_string()),
            Ok(_) => Err(self.invalid("keys must be text, whole numbers or booleans")),
            Err(error) => Err(self.invalid(error)),
        }
    }

    fn pairs(&self, batch: &RecordBatch) -> Result<Vec<(K, V)>> {
        let place = batch
            .schema()
            .index_of(KEY)
            .map_err(|error| self.invalid(error))?;
        let keys = batch.project(&[place]).map_err(|error| self.invalid(error))?;
        let keys: Vec<Keyed<K>> =
            serde_arrow::from_record_batch(&keys).map_err(|error| self.invalid(error))?;
        let values: Vec<V> = serde_arrow::from_record_batch(batch).map_err(|error| self.invalid(error))?;
        Ok(keys.into_iter().map(|keyed| keyed.key).zip(values).collect())
    }

    fn invalid(&self, reason: impl std::fmt::Display) -> Error {
        let text = format!(
            "rows do not fit the look-up's key or value type: {reason} dataset={} column={}",
            self.dataset, self.column
        );
        Error::new(ErrorKind::Invalid, text)
    }
}

/// A name as SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
