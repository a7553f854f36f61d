//! TLS at both doors, with certificates made here.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aggregator::{AggregatorOptions, ServeOptions, Tls, TlsOptions, flight_incoming, serve_http};
use arrow_flight::flight_service_client::FlightServiceClient;
use axum::Router;
use axum::routing::get;
use futures::StreamExt;
use queue::MemoryQueue;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::door;

/// An authority with its certificate in PEM.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// Certificate and key in PEM.
struct Pair {
    cert: String,
    key: String,
}

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    Authority {
        issuer: Issuer::new(params, key),
        pem,
    }
}

impl Authority {
    fn pair(&self, name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        Pair {
            cert: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

struct Files {
    folder: TempDir,
}

impl Files {
    fn new(pair: &Pair) -> Self {
        let files = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        files.write("cert.pem", &pair.cert);
        files.write("key.pem", &pair.key);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::join(self.folder.path(), name)
    }

    fn write(&self, name: &str, pem: &str) {
        std::fs::write(self.path(name), pem).unwrap();
    }

    fn options(&self) -> TlsOptions {
        TlsOptions {
            cert: self.path("cert.pem"),
            key: self.path("key.pem"),
            client_ca: None,
        }
    }
}

async fn serve(tls: &Tls) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let options = ServeOptions {
        tls: Some(tls.clone()),
        handshake_timeout: Duration::from_millis(500),
        ..ServeOptions::default()
    };
    let router = Router::new().route("/", get(|| async { "hello" }));
    tokio::spawn(serve_http(listener, router, options, std::future::pending()));
    address
}

/// What the server says to a client that trusts an authority, and the server's certificate.
async fn ask(
    address: SocketAddr,
    trusted: &Authority,
    own: Option<&Pair>,
) -> std::io::Result<(String, CertificateDer<'static>)> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(trusted.pem.as_bytes()).unwrap();
    roots.add(root).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match own {
        None => config.with_no_client_auth(),
        Some(pair) => {
            let cert = CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
            config.with_client_auth_cert(vec![cert], key).unwrap()
        }
    };
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TcpStream::connect(address).await?;
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let certificate = stream.get_ref().1.peer_certificates().unwrap()[0]
        .clone()
        .into_owned();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok((answer, certificate))
}

#[tokio::test]
async fn the_http_door_speaks_tls_and_ends_handshakes_that_stall() {
    let ca = authority();
    let tls = Tls::open(Files::new(&ca.pair("localhost")).options()).unwrap();
    let address = serve(&tls).await;
    let (answer, _) = ask(address, &ca, None).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"),
        "{answer}"
    );
    assert!(ask(address, &authority(), None).await.is_err());
    // Plain HTTP gets no HTTP, and silence is not waited for.
    for said in ["GET / HTTP/1.1\r\nhost: x\r\n\r\n", ""] {
        let mut plain = TcpStream::connect(address).await.unwrap();
        plain.write_all(said.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(30), plain.read_to_end(&mut answer)).await;
        let _ = read.expect("connection stays open");
        assert!(!answer.starts_with(b"HTTP"));
    }
}

#[tokio::test]
async fn a_new_certificate_is_taken_and_a_broken_pair_is_not() {
    let ca = authority();
    let (first, second) = (ca.pair("localhost"), ca.pair("localhost"));
    let files = Files::new(&first);
    let tls = Tls::open(files.options()).unwrap();
    let address = serve(&tls).await;
    let shown = async || ask(address, &ca, None).await.unwrap().1;
    let of = |pair: &Pair| CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap();
    assert_eq!(shown().await, of(&first));
    files.write("cert.pem", &second.cert);
    let error = tls.reload().unwrap_err().to_string();
    assert!(error.contains("cert.pem") && error.contains("key.pem"), "{error}");
    assert_eq!(shown().await, of(&first));
    files.write("key.pem", &second.key);
    tls.reload().unwrap();
    assert_eq!(shown().await, of(&second));
    for (file, pem) in [
        ("cert.pem", "no PEM"),
        ("key.pem", second.cert.as_str()),
        ("cert.pem", ""),
    ] {
        files.write(file, pem);
        let error = tls.reload().unwrap_err().to_string();
        assert!(error.contains("file="), "{error}");
    }
    assert_eq!(shown().await, of(&second));
    std::fs::remove_file(files.path("key.pem")).unwrap();
    assert!(Tls::open(files.options()).is_err());
}

#[tokio::test]
async fn clients_show_a_certificate_where_one_is_asked() {
    let (ca, clients) = (authority(), authority());
    let files = Files::new(&ca.pair("localhost"));
    files.write("clients.pem", &clients.pem);
    let options = TlsOptions {
        client_ca: Some(files.path("clients.pem")),
        ..files.options()
    };
    let address = serve(&Tls::open(options).unwrap()).await;
    assert!(ask(address, &ca, None).await.is_err());
    assert!(ask(address, &ca, Some(&ca.pair("me"))).await.is_err());
    assert!(ask(address, &ca, Some(&clients.pair("me"))).await.is_ok());
}

#[tokio::test]
async fn the_flight_door_speaks_tls() {
    let (ca, clients) = (authority(), authority());
    let files = Files::new(&ca.pair("localhost"));
    files.write("clients.pem", &clients.pem);
    let options = TlsOptions {
        client_ca: Some(files.path("clients.pem")),
        ..files.options()
    };
    let options = ServeOptions {
        tls: Some(Tls::open(options).unwrap()),
        ..ServeOptions::default()
    };
    let doors = door::open_before(Arc::new(MemoryQueue::default()), AggregatorOptions::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(door::service(&doors.aggregator))
            .serve_with_incoming(flight_incoming(listener, options)),
    );
    let own = clients.pair("me");
    let config = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&ca.pem))
        .identity(Identity::from_pem(&own.cert, &own.key));
    let channel = Endpoint::from_shared(address)
        .unwrap()
        .tls_config(config)
        .unwrap();
    let mut client = FlightServiceClient::new(channel.connect().await.unwrap());
    let messages = futures::stream::iter([door::line("orders", 0)]);
    let mut acks = client.do_put(messages).await.unwrap().into_inner();
    acks.next().await.unwrap().unwrap();
    assert_eq!(doors.batches("orders").await.len(), 1);
}
