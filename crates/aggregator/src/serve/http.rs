//! The loop of the HTTP door.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use hyper::body::Incoming as IncomingBody;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::ServiceExt;

use super::ServeOptions;
use super::body::{Answer, Paced, TooSlow};
use super::connection::{Connection, Phase};
use super::incoming::{Incoming, Speaks};
use crate::limits::{HEADER_BYTES_MAX, READ_BYTES_MAX};

/// Serves a router by HTTP/1.1, with TLS if the options have it, until `stopped` is done: then no more connections
/// are taken, requests under way are answered, idle connections are closed, and it returns when all are.
/// Handlers find the peer's address as axum's [`ConnectInfo`]`<SocketAddr>`.
///
/// ```no_run
/// # use aggregator::{ServeOptions, serve_http};
/// # async fn example(router: axum::Router) -> std::io::Result<()> {
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
/// serve_http(listener, router, ServeOptions::default(), std::future::pending()).await
/// # }
/// ```
///
/// # Errors
/// None now: what fails in accepting is tried again.
pub async fn serve_http(
    listener: TcpListener,
    router: Router,
    options: ServeOptions,
    stopped: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let mut incoming = Incoming::new(listener, options.clone(), Speaks::Http1);
    let stop = watch::Sender::new(false);
    let options = Arc::new(options);
    let mut connections = JoinSet::new();
    let mut stopped = pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            connection = incoming.next() => {
                let serve = serve(connection, router.clone(), Arc::clone(&options), stop.subscribe());
                connections.spawn(serve);
            }
        }
    }
    drop(incoming);
    stop.send_replace(true);
    while connections.join_next().await.is_some() {}
    Ok(())
}

async fn serve(
    connection: Connection,
    router: Router,
    options: Arc<ServeOptions>,
    mut stop: watch::Receiver<bool>,
) {
    let (phase, peer) = (connection.phase(), connection.peer());
    let idle_timeout = options.idle_timeout.max(options.header_timeout);
    let service = service_fn(move |mut request: Request<IncomingBody>| {
        if let Some(peer) = peer {
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        answer(router.clone(), request, Arc::clone(&phase), Arc::clone(&options))
    });
    // Its timer runs from the end of an answer to the end of the next header.
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle_timeout)
        .max_header_size(HEADER_BYTES_MAX)
        .max_buf_size(READ_BYTES_MAX)
        .serve_connection(TokioIo::new(connection), service);
    let mut serving = pin!(serving);
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = until(&mut stop) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(?peer, %error, "an HTTP connection ended");
    }
}

async fn until(stop: &mut watch::Receiver<bool>) {
    // An error would mean that the loop that serves is gone.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn answer(
    router: Router,
    request: Request<IncomingBody>,
    phase: Arc<Phase>,
    options: Arc<ServeOptions>,
) -> Result<Response, Infallible> {
    phase.busy();
    let too_slow = Arc::new(AtomicBool::new(false));
    let paced = |body| {
        let too_slow = Arc::clone(&too_slow);
        Body::new(Paced::new(
            body,
            options.body_timeout,
            options.body_rate_min,
            too_slow,
        ))
    };
    let mut response = router.oneshot(request.map(paced)).await?;
    if too_slow.load(Ordering::Relaxed) {
        let body = Json(serde_json::json!({ "error": TooSlow.to_string() }));
        response = (StatusCode::REQUEST_TIMEOUT, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Body::new(Answer { body, phase })))
}
