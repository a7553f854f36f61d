//! Calls for the values of many keys: of how many at once, and how many at a time.

use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::stage::check_len;
use crate::{NodeOptions, Result};

/// How a node asks for keys.
pub(super) struct Calls {
    keys_max: usize,
    at_once: usize,
}

impl Calls {
    pub(super) fn of(options: &NodeOptions) -> Self {
        Self {
            keys_max: options.call_keys_max.unwrap_or(usize::MAX).max(1),
            at_once: options.calls_max.unwrap_or(1).max(1),
        }
    }

    /// The values of the keys, in their order; `Corrupt` if a call gives another number of values than it had keys.
    pub(super) async fn ask<'a, K: Sync, V: Send, E: Into<crate::Error>>(
        &self,
        keys: &'a [K],
        call: impl Fn(&'a [K]) -> BoxFuture<'a, Result<Vec<Option<V>>, E>>,
    ) -> Result<Vec<Option<V>>> {
        if keys.len() <= self.keys_max {
            return checked(call(keys).await, keys.len());
        }
        let calls = keys.chunks(self.keys_max).map(|keys| {
            let answer = call(keys);
            async move { checked(answer.await, keys.len()) }
        });
        let answers = stream::iter(calls.collect::<Vec<_>>()).buffered(self.at_once);
        answers.try_concat().await
    }
}

fn checked<V, E: Into<crate::Error>>(
    answer: Result<Vec<Option<V>>, E>,
    keys: usize,
) -> Result<Vec<Option<V>>> {
    let values = answer.map_err(Into::into)?;
    check_len(values.len(), keys)?;
    Ok(values)
}
