//! The Postgres door: simple and extended protocol; a password and TLS if [`PostgresOptions`] say so.
//!
//! Queries are those of [`Engine::query`](crate::Engine::query). What a client asks of `pg_catalog` (psql's `\d`,
//! drivers' look-ups) is parsed as Postgres and answered by `datafusion-pg-catalog`. Transactions begin and end
//! without effect, since nothing is written; `SET statement_timeout` is kept to, `SET` of a client's other settings is
//! acknowledged without effect. A request to cancel ends the query, and so does a client that goes away.
//!
//! Structs and lists of structs are sent as `json`.

mod cancel;
mod connection;
mod encode;
mod handler;
mod settings;
mod startup;

use std::future::Future;
use std::io;
use std::sync::Arc;

use datafusion_postgres::pgwire::tokio::TlsAcceptor;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::Engine;
use crate::limits::{ACCEPT_PAUSE, POSTGRES_CONNECTIONS_MAX};
use handler::Handlers;

/// Says whether a password is good; the error is the text that the client gets.
pub type PostgresPassword = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// Gives the side of TLS that a server has, for one connection.
pub type PostgresTls = Arc<dyn Fn() -> TlsAcceptor + Send + Sync>;

/// How the Postgres door treats those who come.
#[derive(Clone, Default)]
pub struct PostgresOptions {
    /// Asked for in clear text (inside TLS, if there is TLS), of any user. Default: no password.
    pub password: Option<PostgresPassword>,
    /// With it, a client that does not ask for TLS is refused. Default: no TLS.
    pub tls: Option<PostgresTls>,
}

/// Serves Postgres clients until `shutdown` is done; connections are then cut, with the queries they run.
///
/// # Errors
/// None now: what fails in accepting is tried again.
pub async fn serve_postgres(
    listener: TcpListener,
    engine: Arc<Engine>,
    options: PostgresOptions,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let handlers = Arc::new(Handlers::new(engine, options.clone()));
    let permits = Arc::new(Semaphore::new(POSTGRES_CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let (socket, peer) = tokio::select! {
            () = &mut shutdown => return Ok(()),
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                // The client has gone again, or this process is out of descriptors or memory: none of it ends the door.
                Err(error) => {
                    tracing::warn!(%error, "a Postgres client was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let Ok(permit) = permits.clone().try_acquire_owned() else {
            tracing::warn!(%peer, connections_max = POSTGRES_CONNECTIONS_MAX, "too many Postgres connections");
            continue;
        };
        let (handlers, tls) = (handlers.clone(), options.tls.as_ref().map(|tls| tls()));
        connections.spawn(async move {
            let _permit = permit;
            if let Err(error) = socket.set_nodelay(true) {
                tracing::debug!(%peer, %error, "a Postgres connection stays with delayed sends");
            }
            if let Err(error) = connection::serve(socket, tls, handlers).await {
                tracing::debug!(%peer, %error, "a Postgres connection ended");
            }
        });
    }
}
