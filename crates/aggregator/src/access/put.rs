//! The Flight door's `DoPut` asks for tokens.

use arrow_flight::FlightData;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::{Access, Scope, credentials};
use crate::put::dataset_of;

type Messages = BoxStream<'static, Result<FlightData, Status>>;

impl Access {
    /// The messages of a `DoPut`, for [`crate::do_put`], if its caller may send to the dataset that the first of them
    /// names. The stream ends as `PERMISSION_DENIED` if not, and as [`Access::while_allowed`] says later.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, before anything is read.
    pub fn put<S>(&self, metadata: &MetadataMap, messages: S) -> Result<Messages, Status>
    where
        S: Stream<Item = Result<FlightData, Status>> + Send + 'static,
    {
        let who = self.let_in(credentials::in_metadata(metadata).as_deref(), None)?;
        let (Some(shared), Some(hash)) = (self.shared.clone(), who.hash) else {
            return Ok(messages.boxed());
        };
        let access = self.clone();
        let checked = async move {
            let mut messages = messages.boxed();
            let first = messages.next().await;
            let dataset = match &first {
                Some(Ok(data)) => dataset_of(data),
                _ => return futures::stream::iter(first).boxed(),
            };
            // The door says what is wrong with a message that names none.
            let Ok(dataset) = dataset else {
                return futures::stream::iter(first).boxed();
            };
            let scope = Scope::Send(dataset);
            match shared.check(hash, Some(&scope)) {
                Ok(who) => access
                    .while_allowed(who, scope, futures::stream::iter(first).chain(messages))
                    .boxed(),
                Err(denied) => {
                    shared.count(&denied);
                    futures::stream::iter([Err(denied.into())]).boxed()
                }
            }
        };
        Ok(futures::stream::once(checked).flatten().boxed())
    }
}
