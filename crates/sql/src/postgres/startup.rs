//! Who may come in by the Postgres door.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion_postgres::pgwire::api::auth::{
    DefaultServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
    save_startup_parameters_to_metadata,
};
use datafusion_postgres::pgwire::api::{
    ClientInfo, ConnectionManager, PgWireConnectionState, PidSecretKeyGenerator, RandomPidSecretKeyGenerator,
};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::startup::Authentication;
use datafusion_postgres::pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use futures::{Sink, SinkExt};

use super::PostgresOptions;

/// The beginning of each connection.
pub(crate) struct Startup {
    connections: Arc<ConnectionManager>,
    options: PostgresOptions,
}

impl Startup {
    pub(crate) fn new(connections: Arc<ConnectionManager>, options: PostgresOptions) -> Self {
        Self { connections, options }
    }

    async fn let_in<C>(&self, client: &mut C) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let (pid, secret_key) = RandomPidSecretKeyGenerator::default().generate(client);
        client.set_pid_and_secret_key(pid, secret_key.clone());
        let (handle, guard) = self.connections.register(pid, secret_key);
        client.session_extensions().insert(handle);
        client.session_extensions().insert(guard);
        finish_authentication(client, &DefaultServerParameterProvider::default()).await
    }
}

#[async_trait]
impl StartupHandler for Startup {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        match message {
            PgWireFrontendMessage::Startup(startup) => {
                protocol_negotiation(client, &startup).await?;
                save_startup_parameters_to_metadata(client, &startup);
                if self.options.tls.is_some() && !client.is_secure() {
                    return Err(refused(
                        "28000",
                        "this server speaks TLS alone, use sslmode=require",
                    ));
                }
                if self.options.password.is_none() {
                    return self.let_in(client).await;
                }
                client.set_state(PgWireConnectionState::AuthenticationInProgress);
                let ask = PgWireBackendMessage::Authentication(Authentication::CleartextPassword);
                client.send(ask).await?;
                Ok(())
            }
            PgWireFrontendMessage::PasswordMessageFamily(message) => {
                let given = message.into_password()?;
                if let Some(password) = &self.options.password {
                    password(&given.password).map_err(|why| refused("28P01", &why))?;
                }
                self.let_in(client).await
            }
            _ => Ok(()),
        }
    }
}

fn refused(code: &str, why: &str) -> PgWireError {
    let info = ErrorInfo::new("FATAL".to_owned(), code.to_owned(), why.to_owned());
    PgWireError::UserError(Box::new(info))
}
