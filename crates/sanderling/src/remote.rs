//! A running server as seen from a job in another process: its datasets are sources, its stores hold sums.

mod service;

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use client::{Client, ClientOptions};
use event::wire::Position;
use event::{DatasetName, SystemColumn};
use flow::{Element, Error, ErrorKind, Result, Slice, Source, Timestamp};
use futures::stream::{BoxStream, StreamExt};
use serde::de::DeserializeOwned;
use store::{Progress, Store, Typed};
use tokio::sync::Mutex;

use crate::shape;

/// A connection to a running server, for jobs.
#[derive(Clone)]
pub struct Remote {
    client: Client,
}

impl Remote {
    /// Connects to the Flight door of a server, for instance `http://127.0.0.1:8081`.
    ///
    /// # Errors
    /// `Invalid` when the address cannot be one. A server that cannot be reached shows at first use.
    pub fn connect(endpoint: &str) -> Result<Self> {
        Self::connect_with(ClientOptions::new(endpoint))
    }

    /// As [`Remote::connect`], with a token, TLS, or whatever else the options say.
    ///
    /// # Errors
    /// `Invalid` when an option cannot be used.
    pub fn connect_with(options: ClientOptions) -> Result<Self> {
        let client = Client::connect(options).map_err(from_client)?;
        Ok(Self { client })
    }

    /// A dataset's rows as a source of `T`: history first, then live, with an exact seam. Columns are matched to
    /// the fields of `T` by name; elements carry `eventTime`.
    ///
    /// # Errors
    /// `Invalid` when the name cannot be a dataset's.
    pub fn dataset<T: Element + DeserializeOwned>(&self, name: &str) -> Result<Arc<dyn Source<T>>> {
        self.source(name, Following::Yes)
    }

    /// As [`Remote::dataset`], but it ends where the dataset ends when it is first read: a batch run.
    ///
    /// # Errors
    /// `Invalid` when the name cannot be a dataset's.
    pub fn history<T: Element + DeserializeOwned>(&self, name: &str) -> Result<Arc<dyn Source<T>>> {
        self.source(name, Following::No)
    }

    fn source<T: Element + DeserializeOwned>(
        &self,
        name: &str,
        follow: Following,
    ) -> Result<Arc<dyn Source<T>>> {
        let dataset = name
            .parse()
            .map_err(|error: event::Error| Error::new(ErrorKind::Invalid, error))?;
        let client = self.client.clone();
        Ok(Arc::new(RemoteDataset {
            client,
            dataset,
            follow,
            open: Mutex::new(None),
        }))
    }

    /// The store of the job `name` on the server: its sums and its progress, in one. They are read there as the
    /// SQL table `stores.<name>` and at `GET /v1/stores/<name>/<key>`.
    ///
    /// # Errors
    /// `Invalid` when the name cannot be a store's; `Retry` when the server cannot be reached.
    pub async fn store<K, V>(&self, name: &str) -> Result<Arc<dyn Store<K, V>>>
    where
        Typed<K, V>: Store<K, V> + 'static,
        K: DeserializeOwned,
        V: DeserializeOwned,
    {
        let bytes = self
            .client
            .store(name, shape::of_store::<K, V>())
            .await
            .map_err(from_client)?;
        Ok(Arc::new(Typed::new(name, Arc::new(bytes))))
    }

    /// Whether the server has a store of this name, which reading it would make otherwise.
    pub(crate) async fn has_store(&self, name: &str) -> Result<bool> {
        match self
            .client
            .query(format!("SELECT 1 FROM stores.\"{name}\" LIMIT 0"))
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == client::ErrorKind::Retry => Err(from_client(error)),
            Err(_) => Ok(false),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Following {
    Yes,
    No,
}

/// A dataset of a server, read over Flight.
struct RemoteDataset {
    client: Client,
    dataset: DatasetName,
    follow: Following,
    /// The stream that is open, and where it stands.
    open: Mutex<Option<Open>>,
}

struct Open {
    at: Progress,
    until: Option<Progress>,
    rows: BoxStream<'static, client::Result<(RecordBatch, Position)>>,
}

#[async_trait]
impl<T: Element + DeserializeOwned> Source<T> for RemoteDataset {
    async fn start(&self) -> Result<Progress> {
        Ok(Progress::default())
    }

    async fn read(
        &self,
        from: &Progress,
        until: Option<&Progress>,
        _bytes_max: usize,
    ) -> Result<Option<Vec<Slice<T>>>> {
        let mut slot = self.open.lock().await;
        let mut empty_streams = 0;
        loop {
            // Taken out while it is read: a read that fails or is dropped opens a new stream the next time.
            let mut open = match slot.take() {
                Some(open) if open.at == *from && open.until.as_ref() == until => open,
                _ => self.open(from, until),
            };
            let Some(item) = open.rows.next().await else {
                // The end; or the columns have grown, and the stream goes on with the new ones when asked again.
                empty_streams += 1;
                if empty_streams < 2 {
                    continue;
                }
                if until.is_some() || self.follow == Following::No {
                    return Ok(None);
                }
                return Err(Error::new(
                    ErrorKind::Retry,
                    format_args!("the server ended the stream dataset={}", self.dataset),
                ));
            };
            let (rows, next) = item.map_err(from_client)?;
            let next = Progress(next);
            let slices = self.slices(&rows, from, &next)?;
            open.at = next;
            *slot = Some(open);
            return Ok(Some(slices));
        }
    }
}

impl RemoteDataset {
    fn open(&self, from: &Progress, until: Option<&Progress>) -> Open {
        let position = (!from.0.is_empty()).then(|| from.0.clone());
        let name = self.dataset.as_str();
        let rows = match until {
            Some(until) => self.client.stream_until(name, position, until.0.clone()).boxed(),
            None => self
                .client
                .stream(name, position, self.follow == Following::Yes)
                .boxed(),
        };
        Open {
            at: from.clone(),
            until: until.cloned(),
            rows,
        }
    }

    /// One slice for each part that has moved; the first one holds the rows.
    fn slices<T: Element + DeserializeOwned>(
        &self,
        rows: &RecordBatch,
        from: &Progress,
        next: &Progress,
    ) -> Result<Vec<Slice<T>>> {
        let mut items = self.items(rows)?;
        let bytes = rows.get_array_memory_size();
        let moved = next.0.iter().filter(|(part, offset)| **offset > from.of(part));
        Ok(moved
            .map(|(part, offset)| Slice {
                part: part.clone(),
                next: *offset,
                bytes: if items.is_empty() { 0 } else { bytes },
                items: std::mem::take(&mut items),
            })
            .collect())
    }

    fn items<T: Element + DeserializeOwned>(&self, rows: &RecordBatch) -> Result<Vec<(Timestamp, T)>> {
        let invalid = |reason: String| {
            Error::new(
                ErrorKind::Invalid,
                format_args!(
                    "rows do not fit the job's type: {reason} dataset={}",
                    self.dataset
                ),
            )
        };
        let times = rows
            .column_by_name(SystemColumn::EventTime.name())
            .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>())
            .ok_or_else(|| invalid("no eventTime".to_owned()))?;
        let elements: Vec<T> = if rows.num_rows() == 0 {
            Vec::new()
        } else {
            serde_arrow::from_record_batch(rows).map_err(|e| invalid(e.to_string()))?
        };
        debug_assert_eq!(times.len(), elements.len());
        let millis = times.values().iter().map(|us| Timestamp(us.div_euclid(1_000)));
        Ok(millis.zip(elements).collect())
    }
}

fn from_client(error: client::Error) -> Error {
    let kind = match error.kind() {
        client::ErrorKind::Retry | client::ErrorKind::Full => ErrorKind::Retry,
        client::ErrorKind::NotFound => ErrorKind::NotFound,
        client::ErrorKind::Conflict => ErrorKind::Conflict,
        _ => ErrorKind::Invalid,
    };
    Error::new(kind, error)
}
