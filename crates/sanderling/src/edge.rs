//! An edge: the doors before a relay, which passes batches on to another server.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aggregator::{AggregatorOptions, Relay, RelayOptions, Visibility};
use async_trait::async_trait;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use client::{ClientTls, Dial, Secret};
use event::DatasetName;
use queue::{Offset, Partition};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::entrance::{Entrance, address, bind, told};
use crate::flight::Doors;
use crate::limits::DRAIN_WAIT_MAX;
use crate::{ServerError, Settings, metrics};

const INDEX: &str = "sanderling edge: batches are passed on

POST /v1/datasets/{dataset}/events   NDJSON or a JSON array of events
POST /v1/cloudevents                 CloudEvents: binary, structured, batched
POST /v1/{track,identify,page,screen,group,alias,batch}   Segment's calls
POST /v1/logs                        OTLP logs, JSON or protobuf
GET  /health  /ready  /metrics
";

/// A running edge: it takes batches by HTTP and Flight and answers when another server has them, or its own disk while
/// that is away. It keeps nothing else, and nothing can be read from it.
pub struct Edge {
    http: SocketAddr,
    flight: SocketAddr,
    entrance: Entrance,
    relay: Arc<Relay>,
    stop: watch::Sender<bool>,
    doors: JoinSet<Result<(), ServerError>>,
}

impl Edge {
    /// Opens the spool in the data folder, goes on with what is in it, and opens the doors. The other server need not
    /// be there.
    ///
    /// # Errors
    /// Names what could not be opened: the folder (perhaps another process has it), a file that the settings name, or a
    /// door's address.
    pub async fn start(settings: Settings) -> Result<Self, ServerError> {
        let settings = Arc::new(settings);
        let relay = Relay::open(relay_options(&settings)?)
            .await
            .map_err(|error| ServerError::new("cannot pass batches on, look at [relay]", error))?;
        let relay = Arc::new(relay);
        let rates = settings.clone();
        let options = AggregatorOptions {
            // An ack that comes before the core's cannot say whether the batch is spooled, so that its sender would be
            // free to go elsewhere: see decision 12.
            early_bytes_max: 0,
            visibility: Some(Arc::new(Elsewhere)),
            rates: Arc::new(move |name| rates.rate(name)),
            ..AggregatorOptions::default()
        };
        let entrance = Entrance::open(&settings, relay.clone(), options)?;
        let (http, flight) = (
            bind("http", settings.http).await?,
            bind("flight", settings.flight).await?,
        );
        let mut edge = Self {
            http: address(&http)?,
            flight: address(&flight)?,
            relay,
            stop: watch::Sender::new(false),
            doors: JoinSet::new(),
            entrance: entrance.clone(),
        };
        let router = router(&entrance, &edge.relay);
        let service = Doors::new(entrance.clone(), None);
        edge.doors
            .spawn(entrance.serve_http(http, router, edge.stopped()));
        edge.doors
            .spawn(told(entrance.serve_flight(flight, service, edge.stopped())));
        Ok(edge)
    }

    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.subscribe();
        async move {
            // An error means that the edge is gone, which is the same.
            let _ = stop.wait_for(|stop| *stop).await;
        }
    }

    /// Address of the HTTP door.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Address of the Flight door.
    pub fn flight(&self) -> SocketAddr {
        self.flight
    }

    /// Drains: takes no more batches, answers those that it has, ends. What is in the spool stays there for the next
    /// start.
    pub async fn shutdown(mut self) {
        self.entrance.aggregator.close();
        let relay = Arc::clone(&self.relay);
        if tokio::time::timeout(DRAIN_WAIT_MAX, relay.close()).await.is_err() {
            tracing::warn!("batches without an ack are left, their senders will send them again");
        }
        self.stop.send_replace(true);
        let closing = async { while self.doors.join_next().await.is_some() {} };
        if tokio::time::timeout(DOORS_CLOSE_WAIT_MAX, closing).await.is_err() {
            self.doors.abort_all();
        }
    }
}

/// How long open connections may go on when the edge ends.
const DOORS_CLOSE_WAIT_MAX: Duration = Duration::from_secs(2);

/// What queries see is known to the server with the tables. A batch that asks for it is passed on, and its sender, told
/// to come again, may do so there.
struct Elsewhere;

#[async_trait]
impl Visibility for Elsewhere {
    async fn visible(&self, _: &DatasetName, _: Partition, _: Offset) -> aggregator::Result<()> {
        Err(aggregator::Error::new(
            aggregator::ErrorKind::Retry,
            "batch is passed on, and only the server with the tables knows when queries see it: ask for durable here, or send to that server",
        ))
    }
}

fn router(entrance: &Entrance, relay: &Arc<Relay>) -> Router {
    let (of_metrics, of_ready) = ((entrance.clone(), Arc::clone(relay)), Arc::clone(relay));
    Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/health", get(|| async { "ok\n" }))
        .route("/ready", get(async move || ready(&of_ready)))
        .route(
            "/metrics",
            get(async move || metrics::of_edge(&of_metrics.0, &of_metrics.1)),
        )
        .merge(aggregator::router(entrance.aggregator.clone()))
}

/// 200 with what becomes of each dataset's batches: an edge whose upstream is away takes batches all the same.
fn ready(relay: &Relay) -> (StatusCode, String) {
    let mut text = "ready\n".to_owned();
    for (dataset, counts) in relay.counts() {
        let (state, waiting) = (counts.state.as_str(), counts.waiting_batches);
        text += &format!("{dataset}: {state}, {waiting} batches in the spool");
        if let Some(error) = counts.last_error {
            text += &format!(" ({error})");
        }
        text.push('\n');
    }
    (StatusCode::OK, text)
}

fn relay_options(settings: &Settings) -> Result<RelayOptions, ServerError> {
    let relay = &settings.relay;
    let spool_dir = settings.data_dir.join("spool");
    let [first, ..] = relay.upstreams.as_slice() else {
        return Err(ServerError::new(
            "cannot pass batches on",
            "no server to pass them on to, set upstreams in [relay] or give --upstream http://host:port",
        ));
    };
    let read = |what: &str, path: &Path| {
        std::fs::read(path).map_err(|error| {
            ServerError::new(
                format_args!("cannot read {what} of [relay] file={}", path.display()),
                error,
            )
        })
    };
    let token = match &relay.token_file {
        None => None,
        Some(path) => {
            let text = String::from_utf8(read("token_file", path)?)
                .map_err(|error| ServerError::new("token_file of [relay] is not text", error))?;
            Some(Secret::from(text.trim()))
        }
    };
    let tls = match &relay.ca {
        None => None,
        Some(path) => Some(ClientTls {
            ca: Some(read("ca", path)?),
            ..ClientTls::default()
        }),
    };
    Ok(RelayOptions {
        upstreams: relay.upstreams.clone(),
        dial: Dial {
            token,
            tls,
            ..Dial::default()
        },
        spool_after: relay.spool_after,
        spool_bytes_max: relay.spool_bytes_max,
        ack_timeout: relay.ack_timeout,
        return_after: relay.return_after,
        ..RelayOptions::new(first, spool_dir)
    })
}
