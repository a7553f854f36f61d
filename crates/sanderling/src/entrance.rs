//! What a server has at its doors, whatever is behind them: where batches go, who may come in, what clients are told.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use aggregator::access::{Access, Scope};
use aggregator::{
    Aggregator, AggregatorOptions, Rate, ServeOptions, Tls, TlsOptions, flight_incoming, limits, serve_http,
};
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use axum::Router;
use event::DatasetName;
use event::flags::Flags;
use event::limits::FLAGS_BYTES_MAX;
use queue::Queue;
use sql::{PostgresOptions, PostgresPassword, PostgresTls};
use tokio::net::TcpListener;

use crate::Settings;
use crate::limits::FLIGHT_MESSAGE_BYTES_MAX;
use crate::server::ServerError;

/// The doors of a server. Clones share everything.
#[derive(Clone)]
pub(crate) struct Entrance {
    pub(crate) aggregator: Aggregator,
    pub(crate) access: Access,
    pub(crate) tls: Option<Tls>,
    pub(crate) flags: FlagsFile,
    serve: ServeOptions,
}

impl Entrance {
    /// Reads the files that the settings name. `options` are for what the settings do not say.
    pub(crate) fn open(
        settings: &Settings,
        queue: Arc<dyn Queue>,
        options: AggregatorOptions,
    ) -> Result<Self, ServerError> {
        let access = match &settings.tokens_file {
            None => Access::open(),
            Some(path) => Access::from_file(path)
                .map_err(|error| ServerError::new("cannot ask for tokens, look at tokens_file", error))?,
        };
        let tls = settings.tls.clone().map(|tls| {
            let (cert, key, client_ca) = (tls.cert, tls.key, tls.client_ca);
            Tls::open(TlsOptions { cert, key, client_ca })
        });
        let tls = tls
            .transpose()
            .map_err(|error| ServerError::new("cannot speak TLS, look at [tls]", error))?;
        let flags = FlagsFile(settings.flags_file.clone());
        let read = flags.read();
        let (_, ignored) = read.map_err(|error| {
            ServerError::new("cannot tell clients their flags, look at flags_file", error)
        })?;
        for ignored in ignored {
            tracing::warn!("of flags_file: {ignored}");
        }
        let aggregator = Aggregator::new(
            queue,
            AggregatorOptions {
                received_at: settings.received_at,
                memory_bytes_max: settings.limits.memory_bytes_max as usize,
                ..options
            },
        );
        Ok(Self {
            serve: serve_options(settings, tls.clone()),
            aggregator,
            access,
            tls,
            flags,
        })
    }

    /// Serves HTTP until `stopped` is done.
    pub(crate) fn serve_http(
        &self,
        listener: TcpListener,
        router: Router,
        stopped: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = Result<(), ServerError>> + Send + 'static {
        let router = aggregator::access::require(router, self.access.clone(), aggregator::access::scope_of);
        let options = self.serve.clone();
        async move {
            serve_http(listener, router, options, stopped)
                .await
                .map_err(|error| ServerError::new("HTTP door", error))
        }
    }

    /// Serves Flight until `stopped` is done.
    pub(crate) fn serve_flight(
        &self,
        listener: TcpListener,
        service: impl FlightService,
        stopped: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = Result<(), ServerError>> + Send + 'static {
        let service = FlightServiceServer::new(service)
            .max_decoding_message_size(FLIGHT_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(FLIGHT_MESSAGE_BYTES_MAX);
        let incoming = flight_incoming(listener, self.serve.clone());
        let meter = self.aggregator.meter(FLIGHT_MESSAGE_BYTES_MAX);
        async move {
            tonic::transport::Server::builder()
                .layer(meter)
                .initial_stream_window_size(FLIGHT_MESSAGE_BYTES_MAX as u32 / 4)
                .initial_connection_window_size(FLIGHT_MESSAGE_BYTES_MAX as u32)
                .http2_keepalive_interval(Some(limits::PING_EVERY))
                .http2_keepalive_timeout(Some(limits::PING_TIMEOUT))
                .max_concurrent_streams(limits::STREAMS_PER_CONNECTION_MAX)
                .add_service(service)
                .serve_with_incoming_shutdown(incoming, stopped)
                .await
                .map_err(|error| ServerError::new("Flight door", error))
        }
    }
}

impl Entrance {
    /// How the Postgres door treats those who come: a token that may read is the password, of any user.
    pub(crate) fn postgres(&self) -> PostgresOptions {
        let access = self.access.clone();
        let password = move |given: &str| {
            let let_in = access.check(Some(given), &Scope::Query);
            let_in.map(|_| ()).map_err(|denied| denied.to_string())
        };
        PostgresOptions {
            password: (!self.access.is_open()).then(|| Arc::new(password) as PostgresPassword),
            tls: self
                .tls
                .clone()
                .map(|tls| Arc::new(move || tls.postgres_acceptor()) as PostgresTls),
        }
    }
}

fn serve_options(settings: &Settings, tls: Option<Tls>) -> ServeOptions {
    let limits = &settings.limits;
    ServeOptions {
        connections_max: limits.connections_max,
        connections_per_peer_max: limits.connections_per_peer_max,
        header_timeout: limits.header_timeout,
        idle_timeout: limits.idle_timeout,
        body_timeout: limits.body_timeout,
        // Checked when the settings were read.
        body_rate_min: u32::try_from(limits.body_rate_min).unwrap_or(u32::MAX),
        write_timeout: limits.write_timeout,
        tls,
        ..ServeOptions::default()
    }
}

impl Settings {
    pub(crate) fn durability(&self, name: &DatasetName) -> event::Durability {
        self.datasets
            .get(name)
            .map(|own| own.durability)
            .unwrap_or_default()
    }

    pub(crate) fn rate(&self, name: &DatasetName) -> Rate {
        let own = self.datasets.get(name);
        Rate {
            events_per_second: own.and_then(|own| own.events_per_second),
            bytes_per_second: own.and_then(|own| own.bytes_per_second),
        }
    }
}

/// The file with the flags of clients, if there is one.
#[derive(Clone, Debug)]
pub(crate) struct FlagsFile(Option<PathBuf>);

impl FlagsFile {
    /// What it says now, and what of it is ignored; without a file all flags have their defaults.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub(crate) fn read(&self) -> Result<(Flags, Vec<String>), String> {
        let Some(path) = &self.0 else {
            return Ok(Default::default());
        };
        let bad = |what: &dyn std::fmt::Display| format!("{what} file={}", path.display());
        let bytes = std::fs::metadata(path).map_err(|error| bad(&error))?.len();
        if bytes > FLAGS_BYTES_MAX as u64 {
            return Err(bad(&format_args!(
                "flags are too large bytes={bytes} bytes_max={FLAGS_BYTES_MAX}"
            )));
        }
        let text = std::fs::read_to_string(path).map_err(|error| bad(&error))?;
        let (flags, warnings) = Flags::parse(&text).map_err(|error| bad(&error))?;
        Ok((flags, warnings))
    }
}

/// A door whose failure is logged when it happens.
pub(crate) async fn told(door: impl Future<Output = Result<(), ServerError>>) -> Result<(), ServerError> {
    let ended = door.await;
    if let Err(error) = &ended {
        tracing::error!("a door has ended, start the server again: {error}");
    }
    ended
}

/// Listens for a door.
pub(crate) async fn bind(door: &'static str, address: SocketAddr) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address).await.map_err(|error| {
        ServerError::new(
            format_args!("cannot listen, choose another address or port 0 door={door} address={address}"),
            error,
        )
    })
}

/// Where a door listens.
pub(crate) fn address(listener: &TcpListener) -> Result<SocketAddr, ServerError> {
    listener
        .local_addr()
        .map_err(|error| ServerError::new("cannot tell the address of a door", error))
}
