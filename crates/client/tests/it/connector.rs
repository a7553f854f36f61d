//! Connections that come from elsewhere than the system's TCP.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use client::{Client, ClientOptions, Connector};
use queue::MemoryQueue;
use serde_json::json;
use tokio::net::TcpStream;

use crate::server::{Service, batches, serve};

#[tokio::test(flavor = "multi_thread")]
async fn it_is_asked_for_each_connection_and_may_fail() {
    let queue = Arc::new(MemoryQueue::new(1));
    let server = serve(Service::new(queue.clone()));
    let (address, asked) = (server.address, Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&asked);
    let connector = Connector::new(move |endpoint| {
        assert_eq!(endpoint, "http://no-such-host:1");
        let attempt = count.fetch_add(1, Ordering::SeqCst);
        async move {
            match attempt {
                0 => Err(io::ErrorKind::ConnectionRefused.into()),
                _ => TcpStream::connect(address).await,
            }
        }
    });
    let options = ClientOptions {
        connector: Some(connector),
        retry_max: Duration::from_millis(20),
        ..ClientOptions::new("http://no-such-host:1")
    };
    let client = Client::connect(options).unwrap();
    let orders = client.dataset("orders").unwrap();
    orders.emit(&json!({ "n": 1 })).unwrap();
    client.flush().await.unwrap();
    assert_eq!(batches(&*queue, "orders").await.len(), 1);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert!(client.stats().last_error.is_some());
}
