//! Servers that ask who comes, and speak TLS.

use std::sync::Arc;
use std::time::Duration;

use aggregator::access::{Access, Token};
use aggregator::{ServeOptions, Tls, TlsOptions};
use client::{Client, ClientIdentity, ClientOptions, ClientTls, ErrorKind};
use futures::TryStreamExt;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;

use crate::emit::{all, numbers, options, queue};
use crate::server::{Server, Service, batches, serve, serve_with};

fn entry(token: &Token, scopes: &str) -> String {
    format!(
        "[[tokens]]\nname = \"t\"\nsha256 = \"{}\"\nscopes = [{scopes}]\n",
        token.sha256()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_not_let_in_keeps_its_events_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let token = Token::generate().unwrap();
    std::fs::write(&file, "").unwrap();
    let (queue, access) = (queue(), Access::from_file(&file).unwrap());
    let server = serve(Service {
        access: access.clone(),
        ..Service::new(Arc::clone(&queue))
    });
    let client = Client::connect(ClientOptions {
        token: Some(token.text().into()),
        retry_max: Duration::from_millis(20),
        ..options(&server)
    })
    .unwrap();
    let orders = client.dataset("orders").unwrap();
    for n in 0..10 {
        orders.emit_wait(&json!({ "n": n })).await.unwrap();
    }
    let says = async |code: &str, denied: u64| {
        while orders.stats().denied <= denied {
            tokio::task::yield_now().await;
        }
        let stats = client.stats();
        let error = stats.last_error.unwrap();
        assert!(
            error.contains(code) && error.contains("ClientOptions::token"),
            "{error}"
        );
        assert!(!error.contains(token.text()), "{error}");
        assert_eq!((stats.acked, stats.dropped), (0, 0));
    };
    says("Unauthenticated", 2).await;
    let denied = client.query("select 1").await.err().unwrap();
    assert_eq!(denied.kind(), ErrorKind::Denied);
    std::fs::write(&file, entry(&token, "\"send:clicks\"")).unwrap();
    access.reload().unwrap();
    let before = orders.stats().denied;
    says("PermissionDenied", before + 2).await;
    std::fs::write(&file, entry(&token, "\"send:o*\", \"query\"")).unwrap();
    access.reload().unwrap();
    client.flush().await.unwrap();
    assert_eq!(numbers(&batches(&*queue, "orders").await), all(10));
    let (_, rows) = client.query("select 1").await.unwrap();
    assert_eq!(rows.try_collect::<Vec<_>>().await.unwrap().len(), 1);
    client.store("words", json!({})).await.unwrap();
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
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

/// Certificate and key.
fn pair(authority: &Authority, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let cert = params.signed_by(&key, &authority.issuer).unwrap();
    (cert.pem(), key.serialize_pem())
}

/// A server whose certificate is of one authority, for clients whose certificate is of another.
fn serve_tls(service: Service, ca: &Authority, clients: &Authority) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = pair(ca, "sanderling.example");
    let write = |name: &str, pem: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path
    };
    let tls = Tls::open(TlsOptions {
        cert: write("cert.pem", &cert),
        key: write("key.pem", &key),
        client_ca: Some(write("clients.pem", &clients.pem)),
    });
    let options = ServeOptions {
        tls: Some(tls.unwrap()),
        ..ServeOptions::default()
    };
    serve_with(service, "127.0.0.1:0".parse().unwrap(), options)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_by_tls_to_a_server_that_is_believed_and_to_no_other() {
    let (ca, clients, queue) = (authority(), authority(), queue());
    let server = serve_tls(Service::new(Arc::clone(&queue)), &ca, &clients);
    let (cert, key) = pair(&clients, "me");
    let tls = |ca: &Authority| ClientTls {
        ca: Some(ca.pem.clone().into_bytes()),
        identity: Some(ClientIdentity {
            cert: cert.clone().into_bytes(),
            key: key.as_str().into(),
        }),
        server_name: Some("sanderling.example".to_owned()),
    };
    let connect = |tls: ClientTls| {
        Client::connect(ClientOptions {
            tls: Some(tls),
            retry_max: Duration::from_millis(20),
            ..ClientOptions::new(format!("https://{}", server.address))
        })
    };
    let good = connect(tls(&ca)).unwrap();
    let orders = good.dataset("orders").unwrap();
    for n in 0..100 {
        orders.emit_wait(&json!({ "n": n })).await.unwrap();
    }
    good.close().await.unwrap();
    assert_eq!(numbers(&batches(&*queue, "orders").await), all(100));
    let nameless = ClientTls {
        server_name: None,
        ..tls(&ca)
    };
    let anonymous = ClientTls {
        identity: None,
        ..tls(&ca)
    };
    for distrusting in [tls(&clients), nameless, anonymous] {
        let client = connect(distrusting).unwrap();
        let orders = client.dataset("orders").unwrap();
        orders.emit_wait(&json!({ "n": 100 })).await.unwrap();
        while client.stats().last_error.is_none() {
            tokio::task::yield_now().await;
        }
        assert_eq!((client.stats().acked, client.stats().dropped), (0, 0));
    }
    assert_eq!(
        batches(&*queue, "orders")
            .await
            .iter()
            .map(|batch| batch.header.events)
            .sum::<u32>(),
        100
    );
    let broken = ClientTls {
        ca: Some(b"-----BEGIN CERTIFICATE-----\n!\n".to_vec()),
        ..ClientTls::default()
    };
    let error = connect(broken).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("look at ca"), "{error}");
}
