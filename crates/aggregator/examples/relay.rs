//! What a relay costs: batches of 100 events to a core at once, and through a relay before it, over the loopback.
//!
//! ```sh
//! cargo run --release -p aggregator --example relay -- [BATCHES]
//! ```
//!
//! The core's queue is in memory, so that the way there is what is measured and not the disk. *One at a time*: the next
//! batch is sent when the one before is acked; *many*: 64 are under way.

#[path = "../tests/it/put_only.rs"]
mod put_only;

use std::sync::Arc;
use std::time::{Duration, Instant};

use aggregator::{Aggregator, AggregatorOptions, Relay, RelayOptions, limits};
use arrow_flight::flight_service_server::FlightServiceServer;
use client::{Dial, Endpoints, PutStream};
use event::wire::PutHeader;
use event::{EmitterId, Encoding, Epoch, Sequence};
use put_only::PutOnly;
use queue::{MemoryQueue, Queue};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use uuid::Uuid;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let batches: u64 = std::env::args().nth(1).map_or(Ok(20_000), |text| text.parse())?;
    let folder = tempfile::tempdir()?;
    println!("| to | batches/s, many | p50 | p99, one at a time |");
    println!("|---|---|---|---|");
    for round in 0..3 {
        let core = serve(Arc::new(MemoryQueue::new(1))).await?;
        report("core", &core, batches).await?;
        let spool = folder.path().join(format!("{round}"));
        let relay = Arc::new(Relay::open(RelayOptions::new(core.clone(), spool)).await?);
        let edge = serve(relay.clone()).await?;
        report("relay before it", &edge, batches).await?;
        let counts = relay.counts().into_values().next().unwrap_or_default();
        assert_eq!(
            (counts.forwarded_batches, counts.spooled_batches),
            (batches + batches / 10, 0)
        );
    }
    Ok(())
}

async fn report(name: &str, address: &str, batches: u64) -> Result<(), Failure> {
    let started = Instant::now();
    send(address, batches, 64).await?;
    let rate = batches as f64 / started.elapsed().as_secs_f64();
    let mut times = send(address, batches / 10, 1).await?;
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("| {name} | {rate:.0} | {:?} | {:?} |", at(0.5), at(0.99));
    Ok(())
}

/// Sends batches of a fresh emitter, so many under way at a time; how long each took to its ack.
async fn send(address: &str, batches: u64, under_way: usize) -> Result<Vec<Duration>, Failure> {
    let channel = Endpoints::new(vec![address.to_owned()], None, &Dial::default())?.channel(address)?;
    let mut stream = PutStream::open(channel, "clicks");
    let lines: String = (0..100)
        .map(|n| format!("{{\"user\":{n},\"page\":\"/home/{n}\"}}\n"))
        .collect();
    let (payload, emitter) = (bytes::Bytes::from(lines), EmitterId(Uuid::now_v7()));
    let mut sent = std::collections::VecDeque::new();
    let mut times = Vec::new();
    let mut next = 0;
    while (times.len() as u64) < batches {
        while sent.len() < under_way && next < batches {
            let header = PutHeader {
                emitter,
                epoch: Epoch(0),
                sequence: Sequence(next),
                events: Some(100),
                encoding: Encoding::Ndjson,
                generated_at_us: None,
                received_at_us: None,
                durability: None,
            };
            stream.send_whole(&header, payload.clone());
            sent.push_back(Instant::now());
            next += 1;
        }
        stream.answer().await?;
        times.extend(sent.pop_front().map(|at: Instant| at.elapsed()));
    }
    Ok(times)
}

async fn serve(queue: Arc<dyn Queue>) -> Result<String, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let door = PutOnly(Aggregator::new(queue, AggregatorOptions::default()));
    let service = FlightServiceServer::new(door).max_decoding_message_size(limits::FLIGHT_MESSAGE_BYTES_MAX);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(incoming));
    Ok(address)
}
