//! The stores of jobs, reached from other processes by `DoAction`.

use std::sync::Arc;

use aggregator::access::Scope;
use bytes::Bytes;
use event::wire::{StoreCommit, StoreGet, StoreName, StoreOpen, StoreScan, action};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use store::{Commit, Embedded, EmbeddedStore, Progress, Store};
use tonic::Status;

use crate::limits::STORE_SCAN_PAIRS_MAX;

/// Name and description of each action.
pub(crate) const ACTIONS: [(&str, &str); 5] = [
    (action::STORE_OPEN, "open or make the store of a job"),
    (action::STORE_PROGRESS, "the progress a store holds"),
    (action::STORE_GET, "the values of keys"),
    (action::STORE_COMMIT, "write values and progress in one step"),
    (action::STORE_SCAN, "pairs in key order"),
];

/// What an action needs; `None`: a token that is known.
pub(crate) fn scope_of(name: &str, body: &[u8]) -> Result<Option<Scope>, Status> {
    #[derive(serde::Deserialize)]
    struct Named {
        name: String,
    }
    match name {
        action::STORE_OPEN | action::STORE_COMMIT => {
            let Named { name } = parse(body)?;
            Ok(Some(Scope::Store(name)))
        }
        action::STORE_PROGRESS | action::STORE_GET | action::STORE_SCAN => Ok(Some(Scope::Query)),
        _ => Ok(None),
    }
}

/// Does one action; the answer's body, if it has one.
pub(crate) async fn act(stores: Arc<Embedded>, name: &str, body: &[u8]) -> Result<Option<Vec<u8>>, Status> {
    match name {
        action::STORE_OPEN => {
            let open: StoreOpen = parse(body)?;
            stores.store(&open.name).map_err(status)?;
            stores.set_shape(&open.name, open.shape).map_err(status)?;
            Ok(None)
        }
        action::STORE_PROGRESS => {
            let StoreName { name } = parse(body)?;
            let progress = known(&stores, &name)?.progress().await.map_err(status)?;
            answer(&progress.map(|progress| progress.0))
        }
        action::STORE_GET => {
            let get: StoreGet = parse(body)?;
            let keys: Vec<Bytes> = get.keys.iter().map(|key| bytes(key)).collect();
            let values = known(&stores, &get.name)?
                .multi_get(&keys)
                .await
                .map_err(status)?;
            let values: Result<Vec<_>, _> = values
                .into_iter()
                .map(|value| value.map(raw).transpose())
                .collect();
            answer(&values?)
        }
        action::STORE_COMMIT => {
            let commit: StoreCommit = parse(body)?;
            let writes = commit
                .writes
                .iter()
                .map(|(key, value)| (bytes(key), value.as_deref().map(bytes)));
            known(&stores, &commit.name)?
                .commit(Commit {
                    writes: writes.collect(),
                    expected: commit.expected.map(Progress),
                    progress: Progress(commit.progress),
                })
                .await
                .map_err(status)?;
            Ok(None)
        }
        action::STORE_SCAN => {
            let scan: StoreScan = parse(body)?;
            let after = scan.after.as_deref().map(bytes);
            let limit = scan.limit.min(STORE_SCAN_PAIRS_MAX);
            let pairs = known(&stores, &scan.name)?
                .scan(after.as_ref(), limit)
                .await
                .map_err(status)?;
            let pairs: Result<Vec<_>, Status> = pairs
                .into_iter()
                .map(|(key, value)| Ok((raw(key)?, raw(value)?)))
                .collect();
            answer(&pairs?)
        }
        other => {
            let known = ACTIONS.map(|(name, _)| name).join(" ");
            Err(Status::unimplemented(format!(
                "no such action, there are {known} action={other:?}"
            )))
        }
    }
}

/// A store that has been opened before: reading must not make one.
fn known(stores: &Embedded, name: &str) -> Result<Arc<EmbeddedStore>, Status> {
    if !stores.names().iter().any(|known| known == name) {
        return Err(Status::not_found(format!(
            "no such store, open it first store={name:?}"
        )));
    }
    stores.store(name).map_err(status)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Status> {
    serde_json::from_slice(body)
        .map_err(|error| Status::invalid_argument(format!("body of the action: {error}")))
}

fn answer(value: &impl serde::Serialize) -> Result<Option<Vec<u8>>, Status> {
    serde_json::to_vec(value)
        .map(Some)
        .map_err(|error| Status::internal(error.to_string()))
}

fn bytes(json: &RawValue) -> Bytes {
    Bytes::copy_from_slice(json.get().as_bytes())
}

fn raw(json: Bytes) -> Result<Box<RawValue>, Status> {
    let text = String::from_utf8(json.into()).map_err(|error| Status::data_loss(error.to_string()))?;
    RawValue::from_string(text).map_err(|error| Status::data_loss(error.to_string()))
}

pub(crate) fn status(error: store::Error) -> Status {
    match error.kind() {
        store::ErrorKind::Retry => Status::unavailable(error.to_string()),
        store::ErrorKind::Conflict => Status::aborted(error.to_string()),
        store::ErrorKind::NotFound => Status::not_found(error.to_string()),
        store::ErrorKind::Corrupt => Status::data_loss(error.to_string()),
        _ => Status::invalid_argument(error.to_string()),
    }
}
