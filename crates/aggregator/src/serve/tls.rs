//! TLS: certificates from PEM files, taken anew when the files change.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::limits::PEM_BYTES_MAX;
use crate::reloaded::{Reloaded, read};
use crate::{Error, Result};

/// Where a server's certificate is: PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    /// The server's certificate, and after it those between it and the authority's.
    pub cert: PathBuf,
    /// Its private key: PKCS #8, PKCS #1 or SEC 1, without a password.
    pub key: PathBuf,
    /// Certificates of authorities: whoever connects must show a certificate of one of them (mutual TLS). Default:
    /// none is asked.
    pub client_ca: Option<PathBuf>,
}

/// A server's side of TLS 1.2 and 1.3, by rustls with ring. Clones share everything.
///
/// The files are looked at once a second at most, when somebody connects: a new connection gets the new certificate,
/// those that are open go on. While the files cannot be used (a key that is not the certificate's, because only one
/// of them has been written yet), the certificate before stays, and the log says why.
#[derive(Clone)]
pub struct Tls {
    current: Arc<Reloaded<Configs>>,
}

struct Configs {
    http: Arc<ServerConfig>,
    flight: Arc<ServerConfig>,
    postgres: Arc<ServerConfig>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// `Invalid`: names the file that is not there or is not what it should be, or says that key and certificate
    /// are not of one pair.
    pub fn open(options: TlsOptions) -> Result<Self> {
        let mut files = vec![options.cert.clone(), options.key.clone()];
        files.extend(options.client_ca.clone());
        let current = Reloaded::new("TLS certificate", files, move || Configs::read(&options))?;
        Ok(Self {
            current: Arc::new(current),
        })
    }

    /// For the HTTP door: its protocol is `http/1.1`.
    pub fn http_acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.current.get().http).into()
    }

    /// For the Flight door: its protocol is `h2`.
    pub fn flight_acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.current.get().flight).into()
    }

    /// For a Postgres door: its protocol is `postgresql`. Ask for one for each connection.
    pub fn postgres_acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.current.get().postgres).into()
    }

    /// Reads the files now.
    ///
    /// # Errors
    /// As [`Tls::open`]; the certificate before stays.
    pub fn reload(&self) -> Result<()> {
        self.current.reload()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Configs {
    fn read(options: &TlsOptions) -> Result<Self> {
        let chain = certificates(&options.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&read(&options.key, PEM_BYTES_MAX)?)
            .map_err(|error| bad(&options.key, "no private key in PEM", &error))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::invalid(format_args!("TLS cannot be set up: {error}")))?;
        let builder = match &options.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path)? {
                    let added = roots.add(certificate);
                    added.map_err(|error| bad(path, "not an authority's certificate", &error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(
                    verifier.map_err(|error| bad(path, "not certificates of authorities", &error))?,
                )
            }
        };
        let config = builder.with_single_cert(chain, key).map_err(|error| {
            Error::invalid(format_args!(
                "certificate and key cannot be used together: {error} cert={} key={}",
                options.cert.display(),
                options.key.display()
            ))
        })?;
        let speaking = |protocol: &str| {
            let mut config = config.clone();
            config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
            Arc::new(config)
        };
        Ok(Self {
            http: speaking("http/1.1"),
            flight: speaking("h2"),
            postgres: speaking("postgresql"),
        })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let pem = read(path, PEM_BYTES_MAX)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|error| bad(path, "not certificates in PEM", &error))?;
    match certificates.is_empty() {
        true => Err(bad(path, "no certificate in PEM", &"none found")),
        false => Ok(certificates),
    }
}

fn bad(path: &Path, what: &str, error: &dyn fmt::Display) -> Error {
    Error::invalid(format_args!("{what}: {error} file={}", path.display()))
}
