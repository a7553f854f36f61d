//! The HTTP door asks for tokens.

use axum::Router;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Json, Response};
use event::DatasetName;

use super::{Access, Caller, Denied, Scope};

/// A router whose every request (of routes that there are not, too) must be allowed what `scope_of` says it needs;
/// `None`: nobody is asked. A handler finds the [`super::Who`] among the request's extensions, and the routes of
/// [`crate::router`] check each dataset by themselves. Others get 401 or 403
/// as `{"error": "…"}`, and nothing of their body is read.
///
/// ```
/// use aggregator::access::{self, Access};
/// let router = axum::Router::new(); // the server's routes
/// let router: axum::Router = access::require(router, Access::open(), access::scope_of);
/// ```
pub fn require(router: Router, access: Access, scope_of: fn(&Parts) -> Option<Scope>) -> Router {
    if access.is_open() {
        return router;
    }
    router.layer(from_fn(move |request: Request, next: Next| {
        let access = access.clone();
        async move {
            let (mut parts, body) = request.into_parts();
            if let Some(scope) = scope_of(&parts) {
                match access.check_headers(&parts.headers, &scope) {
                    Ok(who) => {
                        parts.extensions.insert(who.clone());
                        parts.extensions.insert(Caller { access, who });
                    }
                    Err(denied) => return denied.into_response(),
                }
            }
            next.run(Request::from_parts(parts, body)).await
        }
    }))
}

/// The routes under `/v1` whose events say themselves which dataset they are of.
const SHAPES: [&str; 9] = [
    "alias",
    "batch",
    "cloudevents",
    "group",
    "identify",
    "logs",
    "page",
    "screen",
    "track",
];

/// What the paths of a server need: `/health` and `/ready` nothing, `/v1/datasets/{dataset}/events` sending to that
/// dataset, the other routes of [`crate::router`] sending to some, `/`, `/metrics`, `/v1/query`, `/v1/queries…`,
/// `/v1/stores/…`, `/v1/jobs…`, `/v1/openapi.json` and getting of `/v1/datasets`, `/v1/datasets/{dataset}` and its `tap` before the table
/// reading, and all others `admin`.
pub fn scope_of(parts: &Parts) -> Option<Scope> {
    let mut path = parts.uri.path().split('/').skip(1);
    Some(
        match (path.next(), path.next(), path.next(), path.next(), path.next()) {
            (Some("health" | "ready"), None, ..) => return None,
            (Some("v1"), Some("datasets"), Some(dataset), Some("events"), None) => {
                // What is written otherwise, such as with %63, is another name after it was decoded.
                dataset.parse::<DatasetName>().map_or(Scope::Admin, Scope::Send)
            }
            (Some("v1"), Some(shape), None, ..) if SHAPES.contains(&shape) => Scope::SendSome,
            (Some("" | "metrics"), None, ..) => Scope::Query,
            (Some("v1"), Some("query" | "queries" | "stores" | "jobs" | "openapi.json"), ..) => Scope::Query,
            (Some("v1"), Some("datasets"), None, ..) => Scope::Query,
            (Some("v1"), Some("datasets"), Some(_), None, _) if parts.method == Method::GET => Scope::Query,
            // Elsewhere than before the table, a tap shows what steps may be there to hide.
            (Some("v1"), Some("datasets"), Some(_), Some("tap"), None)
                if parts.method == Method::GET && matches!(parts.uri.query(), None | Some("at=inserted")) =>
            {
                Scope::Query
            }
            _ => Scope::Admin,
        },
    )
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let status = self.http_status();
        let body = Json(serde_json::json!({ "error": self.to_string() }));
        let mut response = (status, body).into_response();
        if !matches!(self, Self::Scope { .. }) {
            let ask = HeaderValue::from_static("Bearer realm=\"sanderling\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, ask);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[test]
    fn each_path_has_its_scope() {
        for (path, needed) in [
            ("/health", ""),
            ("/ready", ""),
            ("/ready/x", "admin"),
            ("/", "query"),
            ("/metrics", "query"),
            ("/v1/datasets/clicks/events", "send:clicks"),
            ("/v1/datasets/clicks/events?a=b", "send:clicks"),
            ("/v1/datasets/%63licks/events", "admin"),
            ("/v1/datasets/clicks/events/", "admin"),
            ("/v1/datasets", "query"),
            ("/v1/datasets/clicks", "query"),
            ("/v1/datasets/clicks/tap", "query"),
            ("/v1/datasets/clicks/tap?at=inserted", "query"),
            ("/v1/datasets/clicks/tap?at=decoded", "admin"),
            ("/v1/datasets/clicks/delete", "admin"),
            ("/v1/track", "send:<dataset>"),
            ("/v1/logs", "send:<dataset>"),
            ("/v1/logs/x", "admin"),
            ("/v1/query", "query"),
            ("/v1/stores/words/love", "query"),
            ("/v1/jobs", "query"),
            ("/v2", "admin"),
            ("//health", "admin"),
        ] {
            let (parts, ()) = Request::get(path).body(()).unwrap().into_parts();
            let scope = scope_of(&parts).map_or(String::new(), |scope| scope.to_string());
            assert_eq!(scope, needed, "{path}");
        }
        for path in [
            "/v1/datasets/clicks",
            "/v1/datasets/clicks/replay",
            "/v1/datasets/clicks/delete",
        ] {
            for method in ["PUT", "POST", "DELETE"] {
                let request = Request::builder().method(method).uri(path);
                let (parts, ()) = request.body(()).unwrap().into_parts();
                assert_eq!(scope_of(&parts), Some(Scope::Admin), "{method} {path}");
            }
        }
    }
}
