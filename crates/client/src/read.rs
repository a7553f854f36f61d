//! Reading: a dataset's stream, and queries.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow_flight::decode::{DecodedPayload, FlightDataDecoder};
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use event::DatasetName;
use event::wire::{Position, StreamHeader, Ticket};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};

use crate::limits::ANSWER_BYTES_MAX;
use crate::{Client, Error, ErrorKind, Result};

impl Client {
    /// A dataset's rows: history first, then live, each batch with the position after it. With `follow` it goes
    /// on waiting for rows, else it ends after those there are. Hand the last position in as `from` to go on
    /// there; `None` begins with the first row.
    ///
    /// The stream ends at its first error; `Retry` means that the connection was lost, go on from the last position.
    pub fn stream(
        &self,
        dataset: &str,
        from: Option<Position>,
        follow: bool,
    ) -> impl Stream<Item = Result<(RecordBatch, Position)>> + Send + use<> {
        self.stream_of(dataset, move |dataset| Ticket::Stream {
            dataset,
            from,
            until: None,
            follow,
        })
    }

    /// A dataset's rows from one position to another, and then the end. Parts that `until` does not name give
    /// nothing.
    pub fn stream_until(
        &self,
        dataset: &str,
        from: Option<Position>,
        until: Position,
    ) -> impl Stream<Item = Result<(RecordBatch, Position)>> + Send + use<> {
        self.stream_of(dataset, move |dataset| Ticket::Stream {
            dataset,
            from,
            until: Some(until),
            follow: false,
        })
    }

    fn stream_of(
        &self,
        dataset: &str,
        ticket: impl FnOnce(DatasetName) -> Ticket,
    ) -> BoxStream<'static, Result<(RecordBatch, Position)>> {
        let client = self.clone();
        let ticket = dataset.parse().map(ticket);
        let start = async move {
            let ticket = ticket?;
            let mut position = match &ticket {
                Ticket::Stream { from: Some(from), .. } => from.clone(),
                _ => Position::new(),
            };
            let decoder = client.get(&ticket).await?;
            let batches = decoder
                .map_err(Error::from)
                .try_filter_map(move |message| futures::future::ready(read_batch(message, &mut position)));
            Ok::<_, Error>(batches)
        };
        ending_at_error(futures::stream::once(start).try_flatten().boxed()).boxed()
    }

    /// The rows of an SQL query.
    ///
    /// # Errors
    /// `Invalid` when it is not a query that the server understands; `Retry` when it cannot be reached. The
    /// stream ends at its first error.
    pub async fn query(
        &self,
        sql: impl Into<String>,
    ) -> Result<(SchemaRef, BoxStream<'static, Result<RecordBatch>>)> {
        let mut decoder = self.get(&Ticket::Query { sql: sql.into() }).await?;
        let schema = loop {
            match decoder.try_next().await?.map(|message| message.payload) {
                Some(DecodedPayload::Schema(schema)) => break schema,
                Some(DecodedPayload::None) => {}
                Some(DecodedPayload::RecordBatch(_)) | None => {
                    return Err(Error::new(ErrorKind::Corrupt, "answer has no schema"));
                }
            }
        };
        let rows = decoder.map_err(Error::from).try_filter_map(|message| {
            futures::future::ready(Ok(match message.payload {
                DecodedPayload::RecordBatch(batch) => Some(batch),
                _ => None,
            }))
        });
        Ok((schema, ending_at_error(rows.boxed()).boxed()))
    }

    async fn get(&self, ticket: &Ticket) -> Result<FlightDataDecoder> {
        let ticket = serde_json::to_vec(ticket)
            .map_err(|error| Error::invalid(format_args!("ticket cannot be JSON: {error}")))?;
        let mut client = FlightServiceClient::new(self.channel()).max_decoding_message_size(ANSWER_BYTES_MAX);
        let messages = client
            .do_get(arrow_flight::Ticket::new(ticket))
            .await?
            .into_inner();
        Ok(FlightDataDecoder::new(
            messages.map_err(|status| FlightError::Tonic(Box::new(status))),
        ))
    }
}

/// A message's batch and the position after it. A batch that the server sent in parts says its position with
/// the last part; the parts before it carry the one before the batch.
fn read_batch(
    message: arrow_flight::decode::DecodedFlightData,
    position: &mut Position,
) -> Result<Option<(RecordBatch, Position)>> {
    let DecodedPayload::RecordBatch(batch) = message.payload else {
        return Ok(None);
    };
    let header = message.inner.app_metadata;
    if !header.is_empty() {
        let header: StreamHeader = serde_json::from_slice(&header).map_err(|error| {
            Error::new(
                ErrorKind::Corrupt,
                format_args!("position of a batch cannot be read: {error}"),
            )
        })?;
        position.clone_from(&header.next);
    }
    Ok(Some((batch, position.clone())))
}

fn ending_at_error<T: Send + 'static>(
    stream: BoxStream<'static, Result<T>>,
) -> impl Stream<Item = Result<T>> + Send + use<T> {
    futures::stream::unfold(Some(stream), |stream| async move {
        let mut stream = stream?;
        let item = stream.next().await?;
        let rest = item.is_ok().then_some(stream);
        Some((item, rest))
    })
}
