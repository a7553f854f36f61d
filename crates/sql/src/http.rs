//! The HTTP door: `POST /v1/query` and `GET /v1/stores/{job}/{key}`.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use store::Store;

use crate::format::Encoder;
use crate::limits::BODY_BYTES_MAX;
use crate::{Engine, Error, ErrorKind, Format, QueryStream, Result, Shape};

/// The routes, to be merged into a server's router.
///
/// * `POST /v1/query`: the body is SQL, or with `Content-Type: application/json` an object
///   `{"query": "…", "format": "json|ndjson|csv|arrow"}`. The format is the body's, else `?format=`, else the
///   `Accept` header's, else JSON. The answer streams; if the query fails after the first rows, the connection
///   is cut.
/// * `GET /v1/queries`: those that run, `DELETE /v1/queries/{id}` ends one (204).
/// * `GET /v1/stores/{job}/{key}`: `{"key": …, "value": …}`, or 404. The key is text, or JSON where the store's
///   keys are no text.
///
/// Errors are `{"error": {"kind": "invalid", "message": "…", "line": 1, "column": 8}}` with status 400, 404, 409
/// (cancelled), 422 (over a limit), 429 or 500; `line` and `column` where the place in the query is known, and then the message shows it as well.
pub fn router(engine: Arc<Engine>) -> Router {
    Router::new()
        .route("/v1/query", post(query))
        .route("/v1/queries", get(queries))
        .route("/v1/queries/{id}", delete(cancel))
        .route("/v1/stores/{job}/{key}", get(value))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(engine)
}

#[derive(Deserialize)]
struct QueryParameters {
    format: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QueryBody {
    query: String,
    format: Option<String>,
}

async fn query(
    State(engine): State<Arc<Engine>>,
    Query(parameters): Query<QueryParameters>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response> {
    let text_of = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let is_json = text_of(header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/json"));
    let text = std::str::from_utf8(&body).map_err(|_| Error::invalid("the body is not UTF-8"))?;
    let body = match is_json {
        true => serde_json::from_str(text).map_err(|e| {
            Error::invalid(format!(
                "the body is not {{\"query\": \"…\", \"format\": \"…\"}}: {e}"
            ))
        })?,
        false => QueryBody {
            query: text.to_owned(),
            format: None,
        },
    };
    let format = match body.format.or(parameters.format) {
        Some(name) => serde_json::from_value(Value::String(name.clone())).map_err(|_| {
            Error::invalid(format!(
                "no such format, take json, ndjson, csv or arrow format={name}"
            ))
        })?,
        None => text_of(header::ACCEPT)
            .and_then(Format::accepted)
            .unwrap_or_default(),
    };
    respond(engine.query(&body.query).await?, format).await
}

/// Streams an answer. The first batch is waited for, so that a query that fails at once is an error and no
/// broken answer.
async fn respond(mut batches: QueryStream, format: Format) -> Result<Response> {
    let written = |e: arrow::error::ArrowError| {
        Error::invalid(format!(
            "the answer cannot be written so, take another format: {e}"
        ))
        .with_source(e)
    };
    let (mut encoder, head) = Encoder::begin(format, batches.schema().clone()).map_err(written)?;
    let first = match batches.next().await.transpose()? {
        Some(batch) => encoder.batch(&batch).map_err(written)?,
        None => Bytes::new(),
    };
    let start = stream::iter([Ok(head), Ok(first)]);
    let body = Body::from_stream(start.chain(rest(batches, encoder)));
    Ok(([(header::CONTENT_TYPE, format.content_type())], body).into_response())
}

fn rest(batches: QueryStream, encoder: Encoder) -> impl Stream<Item = Result<Bytes>> + Send {
    stream::try_unfold(Some((batches, encoder)), |state| async move {
        let Some((mut batches, mut encoder)) = state else {
            return Ok(None);
        };
        let written = |e: arrow::error::ArrowError| Error::new(ErrorKind::Bug, &e).with_source(e);
        match batches.next().await.transpose() {
            Ok(Some(batch)) => {
                let bytes = encoder.batch(&batch).map_err(written)?;
                Ok(Some((bytes, Some((batches, encoder)))))
            }
            Ok(None) => Ok(Some((encoder.end().map_err(written)?, None))),
            Err(error) => {
                tracing::warn!(%error, "a query failed after its first rows");
                Err(error)
            }
        }
    })
}

async fn queries(State(engine): State<Arc<Engine>>) -> Response {
    let queries = engine.running();
    let queries = queries.iter().map(|query| {
        json!({
            "id": query.id(),
            "sql": query.text(),
            "seconds": query.since().elapsed().unwrap_or_default().as_secs_f64(),
            "rows": query.rows(),
            "memory_bytes": query.memory_bytes(),
        })
    });
    let body = Value::Array(queries.collect()).to_string();
    ([(header::CONTENT_TYPE, Format::Json.content_type())], body).into_response()
}

async fn cancel(State(engine): State<Arc<Engine>>, Path(id): Path<u64>) -> Result<StatusCode> {
    engine.cancel(id)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn value(
    State(engine): State<Arc<Engine>>,
    Path((job, key)): Path<(String, String)>,
) -> Result<Response> {
    let stores = engine.stores();
    if !stores.names().contains(&job) {
        let names = stores.names().join(",");
        return Err(Error::new(
            ErrorKind::NotFound,
            format!("no such store store={job} stores={names}"),
        ));
    }
    let shape = stores.shape(&job)?;
    let store = stores.store(&job)?;
    let keys = keys(&key, &Shape::pair(shape.as_ref()).0);
    let values = store.multi_get(&keys).await?;
    for (key, value) in keys.into_iter().zip(values) {
        if let Some(value) = value {
            let body = [b"{\"key\":", &key[..], b",\"value\":", &value[..], b"}\n"].concat();
            return Ok(([(header::CONTENT_TYPE, Format::Json.content_type())], body).into_response());
        }
    }
    Err(Error::new(
        ErrorKind::NotFound,
        format!("no such key store={job} key={key}"),
    ))
}

/// The stored keys that the text can mean, likeliest first.
fn keys(text: &str, shape: &Shape) -> Vec<Bytes> {
    let string = Bytes::from(Value::String(text.to_owned()).to_string());
    let parsed = match shape {
        Shape::String => None,
        _ => serde_json::from_str::<Value>(text)
            .ok()
            .map(|json| Bytes::from(json.to_string())),
    };
    parsed.into_iter().chain([string]).collect()
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = match self.kind() {
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Retry => StatusCode::TOO_MANY_REQUESTS,
            ErrorKind::Limit | ErrorKind::Timeout => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::Cancelled => StatusCode::CONFLICT,
            ErrorKind::Corrupt | ErrorKind::Bug => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut told = json!({"kind": self.kind().name(), "message": self.to_string()});
        if let Some(place) = self.place() {
            told["line"] = place.line.into();
            told["column"] = place.column.into();
        }
        let body = json!({ "error": told }).to_string();
        let mut response = (
            status,
            [(header::CONTENT_TYPE, Format::Json.content_type())],
            body,
        )
            .into_response();
        if self.kind() == ErrorKind::Retry {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_follow_the_shape() {
        let check = |text: &str, shape: &Shape, expected: &[&str]| {
            assert_eq!(
                keys(text, shape),
                expected
                    .iter()
                    .map(|k| Bytes::from(k.to_string()))
                    .collect::<Vec<_>>()
            );
        };
        check("17", &Shape::String, &[r#""17""#]);
        check("17", &Shape::U64, &["17", r#""17""#]);
        check("[1, \"a\"]", &Shape::Json, &[r#"[1,"a"]"#, r#""[1, \"a\"]""#]);
        check("whale", &Shape::Json, &[r#""whale""#]);
    }
}
