//! Who a client says it is, and whom it believes.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use crate::{Error, Result};

/// A text that does not show itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    fn text(&self) -> &str {
        &self.0
    }
}

impl<T: Into<Arc<str>>> From<T> for Secret {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How servers with `https://` addresses are believed. The default believes the authorities that the system does.
#[derive(Clone, Debug, Default)]
pub struct ClientTls {
    /// Certificates in PEM of the authorities to believe, and no others. Default: those of the system.
    pub ca: Option<Vec<u8>>,
    /// What this client shows to a server that asks for a certificate. Default: none.
    pub identity: Option<ClientIdentity>,
    /// The name that the server's certificate must have. Default: the one in the address.
    pub server_name: Option<String>,
}

/// A client's certificate and its private key, in PEM.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    /// The certificate, and after it those between it and the authority's.
    pub cert: Vec<u8>,
    /// The private key.
    pub key: Secret,
}

/// A channel whose every call carries the token.
pub type Dialed = InterceptedService<Channel, Bearer>;

/// Adds the token to a call.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// What all connections of a client have in common.
pub(crate) struct Credentials {
    bearer: Bearer,
    tls: ClientTlsConfig,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Credentials {
    /// `Invalid` when the token cannot be a header's value.
    pub(crate) fn new(token: Option<&Secret>, tls: Option<&ClientTls>) -> Result<Self> {
        let bearer = token.map(|token| {
            let value = MetadataValue::try_from(format!("Bearer {}", token.text().trim()));
            let mut value =
                value.map_err(|_| Error::invalid("token has characters that no token has, copy it again"))?;
            value.set_sensitive(true);
            Ok::<_, Error>(value)
        });
        Ok(Self {
            bearer: Bearer(bearer.transpose()?),
            tls: config(tls.cloned().unwrap_or_default()),
        })
    }

    /// TLS for an `https://` address.
    pub(crate) fn secure(&self, endpoint: Endpoint, address: &str) -> Result<Endpoint> {
        if !address.starts_with("https://") {
            if self.bearer.0.is_some() && !is_here(endpoint.uri().host()) {
                tracing::warn!("token travels in clear text, use https:// endpoint={address:?}");
            }
            return Ok(endpoint);
        }
        endpoint.tls_config(self.tls.clone()).map_err(|error| {
            let why = std::error::Error::source(&error).map_or_else(String::new, |why| format!(": {why}"));
            Error::invalid(format_args!(
                "TLS cannot be set up, look at ca, identity and server_name: {error}{why} endpoint={address:?}"
            ))
        })
    }

    pub(crate) fn connection(&self, channel: Channel) -> Dialed {
        InterceptedService::new(channel, self.bearer.clone())
    }
}

/// Whether a host is surely this machine.
fn is_here(host: Option<&str>) -> bool {
    let host = host.unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn config(tls: ClientTls) -> ClientTlsConfig {
    let config = ClientTlsConfig::new().timeout(Duration::from_secs(10));
    let config = match tls.ca {
        Some(pem) => config.ca_certificate(Certificate::from_pem(pem)),
        None => config.with_native_roots(),
    };
    let config = match tls.identity {
        Some(identity) => config.identity(Identity::from_pem(identity.cert, identity.key.text())),
        None => config,
    };
    match tls.server_name {
        Some(name) => config.domain_name(name),
        None => config,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_here() {
        for (host, here) in [
            ("127.0.0.1", true),
            ("[::1]", true),
            ("localhost", true),
            ("10.0.0.1", false),
        ] {
            assert_eq!(is_here(Some(host)), here, "{host}");
        }
    }

    #[test]
    fn secrets_do_not_show_themselves() {
        let key = Secret::from("PRIVATE");
        let tls = ClientTls {
            identity: Some(ClientIdentity {
                cert: Vec::new(),
                key: key.clone(),
            }),
            ..ClientTls::default()
        };
        let credentials = Credentials::new(Some(&Secret::from("sdl_abc")), Some(&tls)).unwrap();
        let value = credentials.bearer.0.clone().unwrap();
        let said = format!("{key:?} {tls:?} {credentials:?} {value:?}");
        assert!(!said.contains("PRIVATE") && !said.contains("abc"), "{said}");
        let error = Credentials::new(Some(&Secret::from("sdl_\nabc")), None)
            .err()
            .unwrap();
        assert!(!error.to_string().contains("abc"), "{error}");
    }
}
