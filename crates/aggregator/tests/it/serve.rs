//! Peers that are slow, silent or many, on raw sockets.

use std::net::SocketAddr;
use std::time::Duration;

use aggregator::{AggregatorOptions, ServeOptions, flight_incoming, serve_http};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::StatusCode;
use axum::routing::{get, post};
use bytes::Bytes;
use futures::StreamExt;
use queue::MemoryQueue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::door;

/// Long enough for a machine that is busy; a test that waits for it fails.
const PATIENCE: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(200);

/// Short where a test needs the time-out, long elsewhere.
fn patient() -> ServeOptions {
    ServeOptions {
        header_timeout: PATIENCE,
        idle_timeout: PATIENCE,
        body_timeout: PATIENCE,
        body_rate_min: 0,
        write_timeout: PATIENCE,
        ..ServeOptions::default()
    }
}

struct Served {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    done: JoinHandle<std::io::Result<()>>,
}

async fn serve(options: ServeOptions) -> Served {
    let echo = |body: Body| async move {
        match axum::body::to_bytes(body, 1 << 20).await {
            Ok(body) => (StatusCode::OK, body),
            Err(error) => (StatusCode::BAD_REQUEST, error.to_string().into()),
        }
    };
    let large = || async { Bytes::from(vec![b'x'; 64 << 20]) };
    let router = Router::new()
        .route("/echo", post(echo))
        .route("/large", get(large))
        .route(
            "/who",
            get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async move {
        let _ = stopped.await;
    };
    let done = tokio::spawn(serve_http(listener, router, options, stopped));
    Served { address, stop, done }
}

/// What comes until the server closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    // A reset is an end, too.
    let _ = read.expect("server keeps the connection open");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The head and the body of an answer.
async fn ask(stream: &mut TcpStream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    // It may have been refused already.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let (_, length) = head.split_once("content-length: ").unwrap();
            if body.len() >= length.lines().next().unwrap().parse().unwrap() {
                return text.into_owned();
            }
        }
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut answer)).await;
        if read.expect("no answer").unwrap_or(0) == 0 {
            return String::from_utf8(answer).unwrap();
        }
    }
}

/// Writes a byte at a time until the server has closed.
async fn trickle(stream: &mut TcpStream, text: &str) {
    let mut every = tokio::time::interval(SHORT / 10);
    for byte in text.bytes().cycle() {
        every.tick().await;
        if stream.write_all(&[byte]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn silent_peers_and_slow_headers_are_closed() {
    let served = serve(ServeOptions {
        header_timeout: SHORT,
        ..patient()
    })
    .await;
    let mut silent = TcpStream::connect(served.address).await.unwrap();
    assert_eq!(rest(&mut silent).await, "");
    let mut slow = TcpStream::connect(served.address).await.unwrap();
    slow.write_all(b"POST /echo HTTP/1.1\r\nhost: ").await.unwrap();
    tokio::time::timeout(PATIENCE, trickle(&mut slow, "x"))
        .await
        .unwrap();
    // Also after a request that was answered, where the idle time-out is far away.
    let mut later = TcpStream::connect(served.address).await.unwrap();
    assert!(ask(&mut later, "/who").await.starts_with("HTTP/1.1 200"));
    later.write_all(b"GET /who HTTP/1.1\r\n").await.unwrap();
    rest(&mut later).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_one_in_use_is_not() {
    let served = serve(ServeOptions {
        header_timeout: SHORT,
        idle_timeout: SHORT,
        ..patient()
    })
    .await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let own = stream.local_addr().unwrap().to_string();
    for _ in 0..3 {
        assert!(ask(&mut stream, "/who").await.ends_with(&own));
    }
    assert_eq!(rest(&mut stream).await, "");
}

const HEAD: &str = "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n";

#[tokio::test]
async fn half_a_body_is_answered_with_408() {
    let served = serve(ServeOptions {
        body_timeout: SHORT,
        ..patient()
    })
    .await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(HEAD.as_bytes()).await.unwrap();
    stream.write_all(&[b'x'; 500]).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(
        answer.contains("too slowly") && answer.contains("connection: close"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_body_below_the_rate_is_answered_with_408_though_it_never_pauses() {
    let served = serve(ServeOptions {
        body_timeout: SHORT,
        body_rate_min: 1 << 20,
        ..patient()
    })
    .await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(HEAD.as_bytes()).await.unwrap();
    let (mut reads, mut writes) = stream.split();
    let mut answer = Vec::new();
    let mut every = tokio::time::interval(SHORT / 10);
    let trickle = async {
        loop {
            every.tick().await;
            if writes.write_all(b"x").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        read = reads.read_buf(&mut answer) => { read.unwrap(); }
        () = trickle => {}
        () = tokio::time::sleep(PATIENCE) => panic!("server waits on"),
    }
    assert!(answer.starts_with(b"HTTP/1.1 408 "));
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_cut() {
    let served = serve(ServeOptions {
        write_timeout: SHORT,
        connections_max: 1,
        ..patient()
    })
    .await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream
        .write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    // Its place is free again when it was cut.
    loop {
        let mut other = TcpStream::connect(served.address).await.unwrap();
        if ask(&mut other, "/who").await.starts_with("HTTP/1.1 200 ") {
            break;
        }
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.len() < 64 << 20);
}

/// A connection from another address of this machine.
async fn connect_from(address: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_too_many_leave_room_for_others() {
    let served = serve(ServeOptions {
        connections_max: 100,
        connections_per_peer_max: 50,
        ..patient()
    })
    .await;
    let mut flood = Vec::new();
    for _ in 0..1_050 {
        flood.push(TcpStream::connect(served.address).await.unwrap());
    }
    let mut other = connect_from("127.0.0.2", served.address).await;
    assert!(ask(&mut other, "/who").await.starts_with("HTTP/1.1 200"));
    // The first fifty are in, the rest are told or closed.
    assert!(ask(&mut flood[0], "/who").await.starts_with("HTTP/1.1 200"));
    let mut answer = Vec::new();
    for stream in &mut flood[50..] {
        answer.clear();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        let _ = read.expect("connection beyond the limit stays open");
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 503 "));
    }
    // A place that is free again is given again.
    flood.truncate(1);
    drop(flood.pop());
    loop {
        let mut again = TcpStream::connect(served.address).await.unwrap();
        if ask(&mut again, "/who").await.starts_with("HTTP/1.1 200") {
            break;
        }
    }
}

#[tokio::test]
async fn stopping_answers_what_is_under_way_and_closes_the_rest() {
    let served = serve(patient()).await;
    let mut idle = TcpStream::connect(served.address).await.unwrap();
    ask(&mut idle, "/who").await;
    let mut busy = TcpStream::connect(served.address).await.unwrap();
    let request = "POST /echo HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    busy.write_all(request.as_bytes()).await.unwrap();
    // The handler reads.
    let mut seen = [0; 12];
    busy.read_exact(&mut seen).await.unwrap();
    assert_eq!(&seen, b"HTTP/1.1 100");
    served.stop.send(()).unwrap();
    assert_eq!(rest(&mut idle).await, "");
    busy.write_all(b"done").await.unwrap();
    let answer = rest(&mut busy).await;
    assert!(
        answer.contains("HTTP/1.1 200") && answer.ends_with("done"),
        "{answer}"
    );
    served.done.await.unwrap().unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}

#[tokio::test]
async fn the_flight_door_closes_silent_peers_and_keeps_calm_streams() {
    let doors = door::open_before(
        std::sync::Arc::new(MemoryQueue::default()),
        AggregatorOptions::default(),
    )
    .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let options = ServeOptions {
        header_timeout: SHORT,
        connections_max: 2,
        ..patient()
    };
    let ping = SHORT;
    tokio::spawn(
        tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(ping))
            .http2_keepalive_timeout(Some(ping))
            .layer(
                doors
                    .aggregator
                    .meter(aggregator::limits::FLIGHT_MESSAGE_BYTES_MAX),
            )
            .add_service(door::service(&doors.aggregator))
            .serve_with_incoming(flight_incoming(listener, options)),
    );
    let mut client = door::flight(&format!("http://{address}"));
    let messages = futures::stream::iter([door::line("orders", 0)]).chain(futures::stream::pending());
    let mut acks = client.do_put(messages).await.unwrap().into_inner();
    acks.next().await.unwrap().unwrap();
    // One that says nothing, then one that speaks HTTP/2 and answers no ping.
    let mut silent = TcpStream::connect(address).await.unwrap();
    rest(&mut silent).await;
    let mut dead = TcpStream::connect(address).await.unwrap();
    dead.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    rest(&mut dead).await;
    // The calm stream has outlived them.
    let still_open = tokio::time::timeout(Duration::ZERO, acks.next()).await;
    assert!(still_open.is_err(), "{still_open:?}");
}
