//! The remote store, by the laws of stores.

use std::sync::Arc;

use ::store::{ErrorKind, Progress, Store, Typed, laws};
use arrow_flight::Action;
use bytes::Bytes;
use client::{Client, ClientOptions};
use event::wire::{StoreCommit, StoreGet, StoreScan, action};
use queue::MemoryQueue;
use serde_json::json;
use serde_json::value::RawValue;
use tonic::Status;

use crate::server::{Service, serve};

fn raw(bytes: &Bytes) -> Box<RawValue> {
    serde_json::from_slice(bytes).unwrap()
}

fn bytes(json: &RawValue) -> Bytes {
    Bytes::copy_from_slice(json.get().as_bytes())
}

fn status(error: &::store::Error) -> Status {
    match error.kind() {
        ErrorKind::Conflict => Status::aborted(error.to_string()),
        ErrorKind::NotFound => Status::not_found(error.to_string()),
        ErrorKind::Invalid => Status::invalid_argument(error.to_string()),
        _ => Status::unavailable(error.to_string()),
    }
}

/// The server's side.
pub(crate) async fn answer(store: &dyn Store<Bytes, Bytes>, asked: &Action) -> Result<Vec<u8>, Status> {
    let json = match asked.r#type.as_str() {
        action::STORE_OPEN => return Ok(Vec::new()),
        action::STORE_PROGRESS => serde_json::to_vec(&store.progress().await.map_err(|e| status(&e))?),
        action::STORE_GET => {
            let get: StoreGet = serde_json::from_slice(&asked.body).unwrap();
            let keys: Vec<_> = get.keys.iter().map(|key| bytes(key)).collect();
            let values = store.multi_get(&keys).await.map_err(|e| status(&e))?;
            serde_json::to_vec(
                &values
                    .iter()
                    .map(|value| value.as_ref().map(raw))
                    .collect::<Vec<_>>(),
            )
        }
        action::STORE_COMMIT => {
            let commit: StoreCommit = serde_json::from_slice(&asked.body).unwrap();
            let writes = commit
                .writes
                .iter()
                .map(|(key, value)| (bytes(key), value.as_deref().map(bytes)));
            let commit = ::store::Commit {
                writes: writes.collect(),
                expected: commit.expected.map(Progress),
                progress: Progress(commit.progress),
            };
            store.commit(commit).await.map_err(|e| status(&e))?;
            return Ok(Vec::new());
        }
        action::STORE_SCAN => {
            let scan: StoreScan = serde_json::from_slice(&asked.body).unwrap();
            let after = scan.after.as_deref().map(bytes);
            let pairs = store
                .scan(after.as_ref(), scan.limit)
                .await
                .map_err(|e| status(&e))?;
            serde_json::to_vec(
                &pairs
                    .iter()
                    .map(|(key, value)| (raw(key), raw(value)))
                    .collect::<Vec<_>>(),
            )
        }
        other => return Err(Status::unimplemented(other.to_owned())),
    };
    Ok(json.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_store_keeps_the_laws() {
    let servers = std::sync::Mutex::new(Vec::new());
    laws::check::<String, u64, _>(async || {
        let server = serve(Service::new(Arc::new(MemoryQueue::default())));
        let client = Client::connect(ClientOptions::new(format!("http://{}", server.address))).unwrap();
        servers.lock().unwrap().push(server);
        let remote = client.store("counts", json!({})).await.unwrap();
        Arc::new(Typed::<String, u64>::new("counts", Arc::new(remote)))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_keep_their_kind() {
    let server = serve(Service::new(Arc::new(MemoryQueue::default())));
    let client = Client::connect(ClientOptions::new(format!("http://{}", server.address))).unwrap();
    let remote = client.store("counts", json!({})).await.unwrap();
    let commit = |value: &'static str| ::store::Commit {
        writes: vec![(
            Bytes::from_static(b"1"),
            Some(Bytes::from_static(value.as_bytes())),
        )],
        expected: None,
        progress: [("a", 1)].into_iter().collect(),
    };
    for bad in ["null", "{", ""] {
        assert_eq!(
            remote.commit(commit(bad)).await.unwrap_err().kind(),
            ErrorKind::Invalid,
            "{bad:?}"
        );
    }
    remote.commit(commit("2")).await.unwrap();
    let other = ::store::Commit {
        progress: [("a", 2)].into_iter().collect(),
        ..commit("3")
    };
    assert_eq!(
        remote.commit(other).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    drop(server);
    assert_eq!(remote.progress().await.unwrap_err().kind(), ErrorKind::Retry);
}
