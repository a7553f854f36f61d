//! Who may come in by the Postgres door.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion_postgres::pgwire::api::auth::{
    DefaultServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
    save_startup_parameters_to_metadata,
};
use datafusion_postgres::pgwire::api::{
    ClientInfo, PgWireConnectionState, PidSecretKeyGenerator, RandomPidSecretKeyGenerator,
};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::startup::Authentication;
use datafusion_postgres::pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use futures::{Sink, SinkExt};

use super::cancel::Connections;
use super::{PostgresOptions, PostgresPassword, settings};

/// The beginning of each connection.
pub(crate) struct Startup {
    connections: Arc<Connections>,
    options: PostgresOptions,
}

impl Startup {
    pub(crate) fn new(connections: Arc<Connections>, options: PostgresOptions) -> Self {
        Self { connections, options }
    }

    async fn let_in<C>(&self, client: &mut C, given: Option<String>) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let (pid, secret_key) = RandomPidSecretKeyGenerator::default().generate(client);
        client.set_pid_and_secret_key(pid, secret_key.clone());
        let connection = self.connections.add(pid, &secret_key);
        if let Some(timeout) = asked_timeout(client) {
            connection.set_timeout(timeout.map_err(|why| refused("22023", &why))?);
        }
        client.session_extensions().insert(connection);
        let password = self.options.password.clone();
        client.session_extensions().insert(LetIn(password.zip(given)));
        finish_authentication(client, &DefaultServerParameterProvider::default()).await
    }
}

/// `options='-c statement_timeout=5s'`, or the same as a parameter of its own.
fn asked_timeout(client: &impl ClientInfo) -> Option<Result<Option<Duration>, String>> {
    let asked = client.metadata();
    let value = match asked.get("statement_timeout") {
        Some(value) => value.as_str(),
        None => {
            let options = asked.get("options")?;
            options
                .split("statement_timeout=")
                .nth(1)?
                .split_whitespace()
                .next()?
        }
    };
    Some(settings::timeout(value))
}

/// Says that a connection was let in, and with what. pgwire reads on after a startup that failed, so each query asks.
#[derive(Clone)]
struct LetIn(Option<(PostgresPassword, String)>);

/// Whether a connection may ask: it was let in, and what it has shown is still good.
pub(crate) fn check_let_in(client: &(impl ClientInfo + ?Sized)) -> PgWireResult<()> {
    let Some(let_in) = client.session_extensions().get::<LetIn>() else {
        return Err(refused("28000", "this connection was not let in"));
    };
    match &let_in.0 {
        None => Ok(()),
        Some((password, given)) => password(given).map_err(|why| refused("28P01", &why)),
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
                    return self.let_in(client, None).await;
                }
                client.set_state(PgWireConnectionState::AuthenticationInProgress);
                let ask = PgWireBackendMessage::Authentication(Authentication::CleartextPassword);
                client.send(ask).await?;
                Ok(())
            }
            PgWireFrontendMessage::PasswordMessageFamily(message) => {
                let given = message.into_password()?.password;
                let Some(password) = &self.options.password else {
                    return Err(refused("08P01", "nobody has asked for a password"));
                };
                password(&given).map_err(|why| refused("28P01", &why))?;
                self.let_in(client, Some(given)).await
            }
            _ => Ok(()),
        }
    }
}

fn refused(code: &str, why: &str) -> PgWireError {
    let info = ErrorInfo::new("FATAL".to_owned(), code.to_owned(), why.to_owned());
    PgWireError::UserError(Box::new(info))
}

#[cfg(test)]
mod tests {
    use datafusion_postgres::pgwire::api::DefaultClient;

    use super::*;

    #[test]
    fn a_connection_asks_only_while_it_is_let_in() {
        let address = "127.0.0.1:1".parse().unwrap();
        let client = DefaultClient::<String>::new(address, false);
        assert!(
            check_let_in(&client).is_err(),
            "its startup has failed, and it goes on"
        );
        client.session_extensions().insert(LetIn(None));
        assert!(check_let_in(&client).is_ok());
        let password: PostgresPassword = Arc::new(|given| match given {
            "good" => Ok(()),
            _ => Err("it was taken away".to_owned()),
        });
        for (given, is_good) in [("good", true), ("bad", false)] {
            let let_in = LetIn(Some((Arc::clone(&password), given.to_owned())));
            client.session_extensions().insert(let_in);
            assert_eq!(check_let_in(&client).is_ok(), is_good);
        }
    }
}
