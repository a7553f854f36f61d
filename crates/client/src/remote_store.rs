//! A store of the server, reached over Flight actions.

use arrow_flight::Action;
use arrow_flight::flight_service_client::FlightServiceClient;
use async_trait::async_trait;
use bytes::Bytes;
use event::wire::{StoreCommit, StoreGet, StoreName, StoreOpen, StoreScan, action};
use futures::TryStreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use store::{Commit, Error, ErrorKind, Progress, Result, Store};
use tonic::{Code, Status};

use crate::Client;
use crate::credentials::Dialed;
use crate::limits::{ANSWER_BYTES_MAX, STORE_KEYS_MAX};

/// A store of the server whose keys and values are JSON texts.
///
/// Its laws are those of [`Store`]: the server's store keeps them, and a commit that was sent twice because its
/// answer got lost is `Ok` by the law *fenced*. A commit travels as one message of up to 64 MiB; a larger one is
/// `Invalid`, and so is a value that is the JSON text `null`, which stands for no value on the wire.
#[derive(Clone)]
pub struct RemoteStore {
    name: String,
    flight: FlightServiceClient<Dialed>,
}

impl Client {
    /// Opens a store of the server, and makes it if it is not there. `shape` says what keys and values look
    /// like: JSON of Arrow fields.
    ///
    /// # Errors
    /// `Invalid` when the server does not take the name or the shape, `Retry` when it cannot be reached.
    pub async fn store(
        &self,
        name: impl Into<String>,
        shape: serde_json::Value,
    ) -> crate::Result<RemoteStore> {
        let flight = FlightServiceClient::new(self.channel())
            .max_decoding_message_size(ANSWER_BYTES_MAX)
            .max_encoding_message_size(ANSWER_BYTES_MAX);
        let store = RemoteStore {
            name: name.into(),
            flight,
        };
        let open = StoreOpen {
            name: store.name.clone(),
            shape,
        };
        let body = serde_json::to_vec(&open)
            .map_err(|error| crate::Error::invalid(format_args!("shape cannot be JSON: {error}")))?;
        store.act(action::STORE_OPEN, body).await?;
        Ok(store)
    }
}

impl RemoteStore {
    /// The store's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    async fn act(&self, kind: &str, body: Vec<u8>) -> Result<Bytes, Status> {
        let mut flight = self.flight.clone();
        let mut answers = flight.do_action(Action::new(kind, body)).await?.into_inner();
        let mut body = Bytes::new();
        while let Some(answer) = answers.try_next().await? {
            if body.is_empty() {
                body = answer.body;
            }
        }
        Ok(body)
    }

    async fn call(&self, kind: &str, request: &impl Serialize) -> Result<Bytes> {
        let body = serde_json::to_vec(request)
            .map_err(|error| Error::new(ErrorKind::Invalid, "request cannot be JSON").with_source(error))?;
        if body.len() + (1 << 10) > ANSWER_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::Invalid,
                format_args!("message is too large, commit less at a time bytes={}", body.len()),
            ));
        }
        self.act(kind, body)
            .await
            .map_err(|status| of_status(kind, &self.name, &status))
    }

    async fn ask<T: DeserializeOwned>(&self, kind: &str, request: &impl Serialize) -> Result<T> {
        let answer = self.call(kind, request).await?;
        serde_json::from_slice(&answer).map_err(|error| {
            Error::new(
                ErrorKind::Corrupt,
                format_args!("answer cannot be read action={kind}"),
            )
            .with_source(error)
        })
    }
}

#[async_trait]
impl Store<Bytes, Bytes> for RemoteStore {
    async fn multi_get(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        let mut values = Vec::with_capacity(keys.len());
        for keys in keys.chunks(STORE_KEYS_MAX) {
            let asked = keys.len();
            let keys = keys.iter().map(raw).collect::<Result<_>>()?;
            let request = StoreGet {
                name: self.name.clone(),
                keys,
            };
            let answer: Vec<Option<Box<RawValue>>> = self.ask(action::STORE_GET, &request).await?;
            if answer.len() != asked {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    format_args!(
                        "answer has not a value for each key keys={asked} values={}",
                        answer.len()
                    ),
                ));
            }
            values.extend(answer.into_iter().map(|value| value.map(bytes)));
        }
        Ok(values)
    }

    async fn commit(&self, commit: Commit<Bytes, Bytes>) -> Result<()> {
        let writes = commit
            .writes
            .iter()
            .map(|(key, value)| Ok((raw(key)?, value.as_ref().map(raw_value).transpose()?)))
            .collect::<Result<_>>()?;
        let request = StoreCommit {
            name: self.name.clone(),
            writes,
            expected: commit.expected.map(|progress| progress.0),
            progress: commit.progress.0,
        };
        self.call(action::STORE_COMMIT, &request).await.map(|_| ())
    }

    async fn progress(&self) -> Result<Option<Progress>> {
        self.ask(
            action::STORE_PROGRESS,
            &StoreName {
                name: self.name.clone(),
            },
        )
        .await
    }

    async fn scan(&self, after: Option<&Bytes>, limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        let request = StoreScan {
            name: self.name.clone(),
            after: after.map(raw).transpose()?,
            limit,
        };
        let pairs: Vec<(Box<RawValue>, Box<RawValue>)> = self.ask(action::STORE_SCAN, &request).await?;
        Ok(pairs
            .into_iter()
            .map(|(key, value)| (bytes(key), bytes(value)))
            .collect())
    }
}

fn raw(json: &Bytes) -> Result<Box<RawValue>> {
    serde_json::from_slice(json)
        .map_err(|error| Error::new(ErrorKind::Invalid, "key or value is not JSON").with_source(error))
}

/// On the wire `null` stands for no value.
fn raw_value(json: &Bytes) -> Result<Box<RawValue>> {
    let value = raw(json)?;
    if value.get() == "null" {
        return Err(Error::new(
            ErrorKind::Invalid,
            "value is null, use a type whose JSON is not null",
        ));
    }
    Ok(value)
}

fn bytes(json: Box<RawValue>) -> Bytes {
    Bytes::from(String::from(Box::<str>::from(json)))
}

fn of_status(kind: &str, name: &str, status: &Status) -> Error {
    let error = match status.code() {
        Code::Aborted | Code::FailedPrecondition => ErrorKind::Conflict,
        Code::NotFound => ErrorKind::NotFound,
        Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented => ErrorKind::Invalid,
        // Asking again helps only after somebody has given another token.
        Code::Unauthenticated | Code::PermissionDenied => ErrorKind::Invalid,
        Code::DataLoss => ErrorKind::Corrupt,
        _ => ErrorKind::Retry,
    };
    Error::new(
        error,
        format_args!(
            "{} action={kind} store={name} code={:?}",
            status.message(),
            status.code()
        ),
    )
}
