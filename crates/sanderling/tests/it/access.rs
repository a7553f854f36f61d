//! Who may come in, at every door; TLS; and what a server tells clients.

use std::time::Duration;

use aggregator::access::Token;
use client::{Client, ClientOptions, ClientTls, DatasetOptions, ErrorKind, FlagSource, Secret};
use event::Durability;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use sanderling::{Edge, RelaySettings, Server, Settings, TlsSettings};
use serde_json::json;
use tokio_postgres::NoTls;

use crate::http::{http, post};
use crate::support::{PATIENCE, connect, scalar, settings, wait_for};

/// A server that asks for tokens, and the tokens.
struct Guarded {
    server: Server,
    sender: String,
    reader: String,
    _folder: tempfile::TempDir,
}

impl Guarded {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tokens_file = folder.path().join("tokens.toml");
        let [sender, reader] = [(); 2].map(|()| Token::generate().unwrap());
        let entries = [
            sender.entry("sender", &["send:clicks".to_owned()]).unwrap(),
            reader.entry("reader", &["query".to_owned()]).unwrap(),
        ];
        std::fs::write(&tokens_file, entries.concat()).unwrap();
        let server = Server::start(Settings {
            tokens_file: Some(tokens_file),
            ..settings(&folder.path().join("data"))
        });
        Self {
            server: server.await.unwrap(),
            sender: sender.text().to_owned(),
            reader: reader.text().to_owned(),
            _folder: folder,
        }
    }

    fn client(&self, token: Option<&str>) -> Client {
        let options = ClientOptions {
            token: token.map(Secret::from),
            ..ClientOptions::new(format!("http://{}", self.server.flight()))
        };
        Client::connect(options).unwrap()
    }
}

/// Emits one event and waits until it is acked, or until the server has said no.
async fn is_let_in(client: &Client, dataset: &str) -> bool {
    let dataset = client.dataset(dataset).unwrap();
    dataset.emit(&json!({ "n": 1 })).unwrap();
    let denied = async {
        while dataset.stats().denied == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        flushed = dataset.flush() => flushed.is_ok(),
        () = denied => false,
        () = tokio::time::sleep(PATIENCE) => panic!("neither let in nor not"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_door_asks_for_a_token_that_is_for_what_is_asked() {
    let guarded = Guarded::start().await;
    let (nobody, sender, reader) = (
        guarded.client(None),
        guarded.client(Some(&guarded.sender)),
        guarded.client(Some(&guarded.reader)),
    );
    assert!(is_let_in(&sender, "clicks").await);
    for (client, dataset) in [(&nobody, "clicks"), (&reader, "clicks"), (&sender, "orders")] {
        assert!(!is_let_in(client, dataset).await, "{dataset}");
    }
    wait_for(&reader, "SELECT count(*) FROM clicks", 1).await;
    for client in [&nobody, &sender] {
        let denied = client.query("SELECT 1").await.err().unwrap();
        assert_eq!(denied.kind(), ErrorKind::Denied, "{denied}");
        let store = client
            .store("sums", json!({}))
            .await
            .err()
            .map(|error| error.to_string());
        assert!(store.is_some(), "a store is not made by whoever comes");
    }

    let http_door = guarded.server.http();
    let bearer = |token: &str| format!("authorization: Bearer {token}").leak() as &'static str;
    let (as_sender, as_reader) = (bearer(&guarded.sender), bearer(&guarded.reader));
    let event = br#"{"n":2}"#;
    let (clicks, orders) = ("/v1/datasets/clicks/events", "/v1/datasets/orders/events");
    for (path, headers, expected) in [
        (clicks, vec![], 401),
        (clicks, vec![as_reader], 403),
        (clicks, vec![as_sender], 200),
        (orders, vec![as_sender], 403),
        ("/v1/query", vec![as_sender], 403),
    ] {
        let (status, answer) = post(http_door, path, &headers, event.as_slice()).await;
        assert_eq!(status, expected, "{path} {answer}");
        assert!(!answer.to_string().contains("sdl_"), "{answer}");
    }
    let track = br#"{"event":"e","userId":"u","type":"track","messageId":"m"}"#;
    let (status, answer) = post(http_door, "/v1/track", &[as_sender], track.as_slice()).await;
    assert_eq!(status, 403, "{answer}");
    let (status, _) = post(
        http_door,
        "/v1/track?dataset=clicks",
        &[as_sender],
        track.as_slice(),
    )
    .await;
    assert_eq!(status, 200);
    for (path, expected) in [
        ("/health", 200),
        ("/ready", 200),
        ("/metrics", 401),
        ("/v1/jobs", 401),
        ("/", 401),
    ] {
        let (status, _) = tokio::task::spawn_blocking(move || http(http_door, "GET", path, &[], b""))
            .await
            .unwrap();
        assert_eq!(status, expected, "{path}");
    }

    let port = guarded.server.postgres().port();
    let postgres = async |password: &str| {
        let address = format!("host=127.0.0.1 port={port} user=any dbname=sanderling password={password}");
        tokio_postgres::connect(&address, NoTls)
            .await
            .map(|(client, connection)| {
                tokio::spawn(connection);
                client
            })
    };
    let rows = postgres(&guarded.reader).await.unwrap();
    assert_eq!(
        rows.query("SELECT count(*) FROM clicks", &[])
            .await
            .unwrap()
            .len(),
        1
    );
    for wrong in [guarded.sender.as_str(), "wrong"] {
        let denied = postgres(wrong).await.err().unwrap();
        assert_eq!(denied.as_db_error().unwrap().code().code(), "28P01");
    }
    guarded.server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_door_speaks_tls_and_an_edge_shows_its_token() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap().pem();
    let (issuer, key) = (Issuer::new(params, key), KeyPair::generate().unwrap());
    let cert = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let token = Token::generate().unwrap();
    for (name, text) in [
        ("ca.pem", ca.clone()),
        ("cert.pem", cert.signed_by(&key, &issuer).unwrap().pem()),
        ("key.pem", key.serialize_pem()),
        ("tokens.toml", token.entry("all", &["admin".to_owned()]).unwrap()),
        ("token", format!("{}\n", token.text())),
    ] {
        std::fs::write(path(name), text).unwrap();
    }
    let server = Server::start(Settings {
        tls: Some(TlsSettings {
            cert: path("cert.pem"),
            key: path("key.pem"),
            client_ca: None,
        }),
        tokens_file: Some(path("tokens.toml")),
        ..settings(&path("core"))
    });
    let server = server.await.unwrap();
    let endpoint = format!("https://{}", server.flight());
    let edge = Edge::start(Settings {
        relay: RelaySettings {
            upstreams: vec![endpoint.clone()],
            token_file: Some(path("token")),
            ca: Some(path("ca.pem")),
            ..RelaySettings::default()
        },
        ..settings(&path("edge"))
    });
    let edge = edge.await.unwrap();

    let near = Client::connect(ClientOptions::new(format!("http://{}", edge.flight()))).unwrap();
    near.dataset("clicks").unwrap().emit(&json!({ "n": 1 })).unwrap();
    near.flush().await.unwrap();
    let body = br#"{"n":2}"#.as_slice();
    let (status, answer) = post(edge.http(), "/v1/datasets/clicks/events", &[], body).await;
    assert_eq!((status, &answer["acked"]), (200, &json!(1)), "{answer}");
    let unread = near.query("SELECT 1").await.err().unwrap().to_string();
    assert!(unread.contains("passes batches on"), "{unread}");

    let options = ClientOptions {
        token: Some(Secret::from(token.text())),
        tls: Some(ClientTls {
            ca: Some(ca.into_bytes()),
            ..ClientTls::default()
        }),
        ..ClientOptions::new(&endpoint)
    };
    let far = Client::connect(options).unwrap();
    wait_for(&far, "SELECT count(*) FROM clicks", 2).await;
    let clear = ClientOptions {
        token: Some(Secret::from(token.text())),
        ..ClientOptions::new(format!("http://{}", server.flight()))
    };
    assert!(Client::connect(clear).unwrap().query("SELECT 1").await.is_err());
    let port = server.postgres().port();
    let address = format!(
        "host=127.0.0.1 port={port} user=any dbname=sanderling password={}",
        token.text()
    );
    let clear = tokio_postgres::connect(&address, NoTls).await.err().unwrap();
    assert!(
        clear.as_db_error().unwrap().message().contains("sslmode"),
        "{clear}"
    );
    edge.shutdown().await;
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_may_wait_for_queries_and_clients_are_told_their_flags() {
    let folder = tempfile::tempdir().unwrap();
    let flags = folder.path().join("flags.toml");
    std::fs::write(&flags, "[datasets.quiet]\nmode = \"off\"\n").unwrap();
    let server = Server::start(Settings {
        flags_file: Some(flags.clone()),
        ..settings(&folder.path().join("data"))
    });
    let server = server.await.unwrap();
    let client = Client::connect(ClientOptions {
        flags: vec![FlagSource::Server],
        flags_every: Duration::from_millis(20),
        tracers: Some(Duration::from_millis(50)),
        ..ClientOptions::new(format!("http://{}", server.flight()))
    })
    .unwrap();
    let options = DatasetOptions {
        durability: Some(Durability::Queryable),
        ..DatasetOptions::default()
    };
    let seen = client.dataset_with("seen", options).await.unwrap();
    let asking = connect(&server);
    for n in 0..20 {
        let ack = seen.emit_acked(&json!({ "n": n })).unwrap().await.unwrap();
        assert_eq!(ack.durability, Durability::Queryable);
        let count = scalar(&asking, "SELECT count(*) FROM seen").await;
        assert_eq!(count, Some(n + 1), "acked, so it is seen at once");
    }

    let quiet = client.dataset("quiet").unwrap();
    let mode_is = async |text: &str| {
        while format!("{:?}", quiet.stats().mode).to_lowercase() != text {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, mode_is("off")).await.unwrap();
    quiet.emit(&json!({ "n": 1 })).unwrap();
    client.flush().await.unwrap();
    assert_eq!(quiet.stats().dropped.off, 1);
    std::fs::write(&flags, "").unwrap();
    tokio::time::timeout(PATIENCE, mode_is("stream")).await.unwrap();
    quiet.emit(&json!({ "n": 2 })).unwrap();
    client.flush().await.unwrap();
    wait_for(&asking, "SELECT sum(n) FROM quiet", 2).await;

    let traced = "SELECT count(DISTINCT dataset) FROM sanderling.tracers WHERE processed_at IS NOT NULL AND events > 0";
    wait_for(&asking, traced, 2).await;
    server.shutdown().await.unwrap();
}
