//! A relay before real servers: stopped, mute, refusing, and back again.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aggregator::{
    Aggregator, AggregatorOptions, ReceivedAt, Relay, RelayCounts, RelayOptions, RelayState, limits,
};
use arrow_flight::flight_service_server::FlightServiceServer;
use async_trait::async_trait;
use event::{Batch, BatchHeader, DatasetName};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use jiff::Timestamp;
use queue::laws::{all, batch};
use queue::{ErrorKind, MemoryQueue, Offset, Partition, Queue, Receipt, Record};
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tonic::transport::server::TcpIncoming;

use crate::put_only::PutOnly;

/// An aggregator in a runtime of its own: dropping it cuts all its connections.
struct Core {
    runtime: Option<Runtime>,
    address: SocketAddr,
}

impl Drop for Core {
    fn drop(&mut self) {
        let runtime = self.runtime.take().unwrap();
        // Nothing is answered after this. One runtime's thread may not wait for another runtime.
        let end = std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(60)));
        end.join().unwrap();
    }
}

fn core(queue: &Arc<dyn Queue>) -> Core {
    core_at("127.0.0.1:0".parse().unwrap(), queue)
}

fn core_at(address: SocketAddr, queue: &Arc<dyn Queue>) -> Core {
    let options = AggregatorOptions {
        received_at: ReceivedAt::First,
        ..AggregatorOptions::default()
    };
    let service = PutOnly(Aggregator::new(Arc::clone(queue), options));
    let service =
        FlightServiceServer::new(service).max_decoding_message_size(limits::FLIGHT_MESSAGE_BYTES_MAX);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let guard = runtime.enter();
    let listener = loop {
        // The port is free again when the tasks of the server before have ended.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        if socket.bind(address).is_ok() {
            break socket.listen(64).unwrap();
        }
        std::thread::yield_now();
    };
    let address = listener.local_addr().unwrap();
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = tonic::transport::Server::builder().add_service(service);
    runtime.spawn(server.serve_with_incoming(incoming));
    drop(guard);
    Core {
        runtime: Some(runtime),
        address,
    }
}

fn memory() -> Arc<dyn Queue> {
    Arc::new(MemoryQueue::new(1))
}

fn orders() -> DatasetName {
    "orders".parse().unwrap()
}

fn at(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// Waits for the upstream, however slow.
fn patient(upstream: SocketAddr, folder: &Path) -> RelayOptions {
    RelayOptions {
        spool_after: Duration::from_secs(600),
        ack_timeout: Duration::from_secs(600),
        ..options(upstream, folder)
    }
}

/// Short waits.
fn options(upstream: SocketAddr, folder: &Path) -> RelayOptions {
    RelayOptions {
        spool_after: Duration::from_millis(100),
        ack_timeout: Duration::from_millis(300),
        retry_max: Duration::from_millis(20),
        return_after: Duration::from_millis(50),
        ..RelayOptions::new(at(upstream), folder)
    }
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

async fn append(queue: &dyn Queue, emitter: u128, sequences: std::ops::Range<u64>) -> Vec<Receipt> {
    let appends: Vec<_> = sequences
        .map(|sequence| queue.append(batch(&orders(), emitter, 0, sequence)))
        .collect();
    let receipts = join_all(appends).await.into_iter();
    receipts.map(|receipt| receipt.unwrap()).collect()
}

/// The sequences of an emitter, in the order of the queue.
async fn kept(queue: &dyn Queue, emitter: u128) -> Vec<u64> {
    if queue.ends(&orders()).is_empty() {
        return Vec::new();
    }
    let records = all(queue, &orders(), Partition(0)).await.into_iter();
    let keys = records.map(|record| record.batch.header.key);
    keys.filter(|key| key.emitter.0.as_u128() == emitter)
        .map(|key| key.sequence.0)
        .collect()
}

fn counts(relay: &Relay) -> RelayCounts {
    relay.counts().remove(&orders()).unwrap_or_default()
}

/// Returns when it is so; the test's own time-out is the bound.
async fn until(relay: &Relay, is_so: impl Fn(&RelayCounts) -> bool) {
    let started = tokio::time::Instant::now();
    while !is_so(&counts(relay)) {
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", counts(relay));
        tokio::task::yield_now().await;
    }
}

/// Logs in the folder of a dataset.
fn spools(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder.join("orders"))
        .into_iter()
        .flatten()
        .flatten();
    entries.filter(|entry| entry.file_name() != "refused").count()
}

/// Appends through a relay, the rest by the queue behind it: what the laws ask for.
struct Through {
    relay: Relay,
    queue: Arc<dyn Queue>,
}

#[async_trait]
impl Queue for Through {
    fn append(&self, batch: Batch) -> BoxFuture<'static, queue::Result<Receipt>> {
        let (append, queue) = (self.relay.append(batch.clone()), Arc::clone(&self.queue));
        let found = async move {
            let mut receipt = append.await?;
            assert!(!receipt.spooled);
            if !receipt.duplicate {
                let partitions = queue.ends(&batch.dataset).len() as u32;
                let partition = Partition::of(batch.header.key.emitter, partitions);
                let records = all(&*queue, &batch.dataset, partition).await;
                let found = records.iter().find(|record| record.batch == batch);
                receipt.offset = found.map(|record| record.offset);
            }
            Ok(receipt)
        };
        found.boxed()
    }
    async fn create(&self, dataset: &DatasetName, partitions: u32) -> queue::Result<u32> {
        self.relay.create(dataset, partitions).await?;
        self.queue.create(dataset, partitions).await
    }
    async fn read(
        &self,
        dataset: &DatasetName,
        partition: Partition,
        from: Offset,
        bytes_max: usize,
    ) -> queue::Result<Vec<Record>> {
        self.queue.read(dataset, partition, from, bytes_max).await
    }
    fn ends(&self, dataset: &DatasetName) -> Vec<Offset> {
        self.queue.ends(dataset)
    }
    fn datasets(&self) -> watch::Receiver<Vec<DatasetName>> {
        self.queue.datasets()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_laws_of_appends_hold_through_a_relay() {
    let (queue, folder) = (memory(), tempfile::tempdir().unwrap());
    let core = core(&queue);
    let relay = Relay::open(patient(core.address, folder.path())).await.unwrap();
    queue::laws::check(Arc::new(Through { relay, queue })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_goes_on_as_it_came() {
    let (queue, folder) = (memory(), tempfile::tempdir().unwrap());
    let core = core(&queue);
    let relay = Relay::open(patient(core.address, folder.path())).await.unwrap();
    let edge: Arc<dyn Queue> = Arc::new(relay);
    let time = |second| Timestamp::from_second(second).unwrap();
    let lines = batch(&orders(), 7, 3, 40);
    let mut rows = lines.clone();
    rows.header.encoding = event::Encoding::ArrowIpc;
    rows.header.key.sequence = rows.header.key.sequence.next();
    rows.payload = crate::put::stream_of_rows(3).into();
    rows.header = BatchHeader {
        events: 3,
        generated_at: time(1_700_000_000),
        received_at: time(1_700_000_009),
        ..rows.header
    };
    for batch in [&lines, &rows] {
        let receipt = edge.append(batch.clone()).await.unwrap();
        assert_eq!((receipt.duplicate, receipt.spooled), (false, false));
    }
    let records = all(&*queue, &orders(), Partition(0)).await.into_iter();
    let there: Vec<_> = records.map(|record| record.batch).collect();
    assert_eq!(there, [lines, rows]);
    let error = edge
        .read(&orders(), Partition(0), Offset(0), 1)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains(&at(core.address)), "{error}");
}

/// One that does not trust whoever sends keeps its own time.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_of_receipt_is_not_believed_unless_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let doors = crate::door::open().await;
    let upstream = doors.flight.trim_start_matches("http://").parse().unwrap();
    let relay = Relay::open(patient(upstream, folder.path())).await.unwrap();
    let before = Timestamp::now();
    append(&relay, 7, 0..1).await;
    let kept = doors.batches("orders").await;
    assert!(kept[0].header.received_at.as_microsecond() >= before.as_microsecond());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_spooled_is_replayed_in_order_once() {
    let (queue, folder) = (memory(), tempfile::tempdir().unwrap());
    let mut up = core(&queue);
    let relay = Relay::open(options(up.address, folder.path())).await.unwrap();
    let (mut from, address) = (0, up.address);
    for _ in 0..3 {
        append(&relay, 7, from..from + 50).await;
        drop(up);
        let mut spooled = append(&relay, 7, from + 50..from + 100).await;
        spooled.extend(append(&relay, 8, from..from + 100).await);
        assert!(
            spooled
                .iter()
                .all(|receipt| receipt.spooled && !receipt.duplicate)
        );
        let twins = append(&relay, 8, from..from + 100).await;
        assert!(twins.iter().all(|receipt| receipt.spooled && receipt.duplicate));
        assert_eq!(
            (counts(&relay).state, spools(folder.path())),
            (RelayState::Spooling, 1)
        );
        up = core_at(address, &queue);
        // While it is replayed, new ones go behind.
        append(&relay, 7, from + 100..from + 120).await;
        until(&relay, |counts| counts.state == RelayState::Direct).await;
        from += 120;
        append(&relay, 8, from - 20..from).await;
    }
    for emitter in [7, 8] {
        assert_eq!(kept(&*queue, emitter).await, (0..from).collect::<Vec<_>>());
    }
    let counts = counts(&relay);
    assert_eq!(
        (counts.waiting_batches, counts.disk_bytes, counts.refused_batches),
        (0, 0, 0)
    );
    assert_eq!((spools(folder.path()), counts.oldest_received_at), (0, None));
    assert!(counts.replayed_batches >= counts.spooled_batches, "{counts:?}");
    assert_eq!(counts.upstream, Some(at(address)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_starts_again_replays_first() {
    let (queue, folder) = (memory(), tempfile::tempdir().unwrap());
    let away = nobody();
    for round in 0..3 {
        let relay = Relay::open(options(away, folder.path())).await.unwrap();
        let second = Relay::open(options(away, folder.path())).await.err().unwrap();
        assert_eq!(second.kind(), ErrorKind::Retry, "the folder is taken: {second}");
        let spooled = append(&relay, 7, round * 10..round * 10 + 10).await;
        assert!(spooled.iter().all(|receipt| receipt.spooled));
        relay.close().await;
        let closed = relay.append(batch(&orders(), 7, 0, 0)).await.unwrap_err();
        assert_eq!(closed.kind(), ErrorKind::Closed);
    }
    assert_eq!(spools(folder.path()), 3);
    let up = core(&queue);
    let relay = Relay::open(options(up.address, folder.path())).await.unwrap();
    let names = relay.datasets().borrow().clone();
    assert_eq!(names, [orders()]);
    append(&relay, 7, 30..40).await;
    until(&relay, |counts| counts.state == RelayState::Direct).await;
    assert_eq!(kept(&*queue, 7).await, (0..40).collect::<Vec<_>>());
    assert_eq!(spools(folder.path()), 0);
}

/// Takes connections and does not even read: a stopped process.
#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_does_not_answer_is_left() {
    let (queue, folder) = (memory(), tempfile::tempdir().unwrap());
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let up = core(&queue);
    let mut options = options(mute.local_addr().unwrap(), folder.path());
    options.upstreams.push(at(up.address));
    let relay = Relay::open(options).await.unwrap();
    let first = append(&relay, 7, 0..10).await;
    assert!(first.iter().all(|receipt| receipt.spooled));
    until(&relay, |counts| counts.state == RelayState::Direct).await;
    assert_eq!(kept(&*queue, 7).await, (0..10).collect::<Vec<_>>());
    assert_eq!(counts(&relay).upstream, Some(at(up.address)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_upstream_gets_its_place_back() {
    let (queue, folder) = (memory(), tempfile::tempdir().unwrap());
    let (first, second) = (core(&queue), core(&queue));
    let address = first.address;
    let mut options = patient(address, folder.path());
    options.upstreams.push(at(second.address));
    let relay = Relay::open(options).await.unwrap();
    append(&relay, 7, 0..10).await;
    drop(first);
    append(&relay, 7, 10..20).await;
    assert_eq!(counts(&relay).upstream, Some(at(second.address)));
    let _first = core_at(address, &queue);
    let mut next = 20;
    while counts(&relay).upstream != Some(at(address)) {
        append(&relay, 7, next..next + 1).await;
        next += 1;
    }
    assert_eq!(kept(&*queue, 7).await, (0..next).collect::<Vec<_>>());
    assert_eq!(counts(&relay).spooled_batches, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_its_batch_s_answer() {
    let (queue, folder) = (memory(), tempfile::tempdir().unwrap());
    append(&*queue, 7, 0..3).await;
    queue.append(batch(&orders(), 8, 2, 0)).await.unwrap();
    let up = core(&queue);
    let relay = Relay::open(patient(up.address, folder.path())).await.unwrap();
    let mut empty = batch(&orders(), 9, 0, 0);
    empty.header.events = 0;
    let appends = [
        batch(&orders(), 7, 0, 5),
        batch(&orders(), 6, 0, 0),
        batch(&orders(), 8, 1, 0),
        empty,
        batch(&orders(), 6, 0, 1),
    ];
    let answers = join_all(appends.map(|batch| relay.append(batch))).await;
    let kinds: Vec<_> = answers
        .iter()
        .map(|answer| answer.as_ref().err().map(queue::Error::kind))
        .collect();
    let expected = [
        Some(ErrorKind::Conflict),
        None,
        Some(ErrorKind::Fenced),
        Some(ErrorKind::Invalid),
        None,
    ];
    assert_eq!(kinds, expected);
    assert!(
        answers[0]
            .as_ref()
            .unwrap_err()
            .to_string()
            .contains("expected=3")
    );
    assert_eq!(kept(&*queue, 6).await, [0, 1]);
    assert_eq!(counts(&relay).spooled_batches, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spooled_batch_that_is_refused_does_not_vanish() {
    let (queue, folder) = (memory(), tempfile::tempdir().unwrap());
    let address = nobody();
    let relay = Relay::open(options(address, folder.path())).await.unwrap();
    append(&relay, 7, 0..2).await;
    append(&relay, 8, 0..2).await;
    queue.append(batch(&orders(), 7, 1, 0)).await.unwrap();
    let _up = core_at(address, &queue);
    until(&relay, |counts| counts.state == RelayState::Direct).await;
    assert_eq!(kept(&*queue, 8).await, [0, 1]);
    assert_eq!(counts(&relay).refused_batches, 2);
    let refused = std::fs::read_dir(folder.path().join("orders/refused")).unwrap();
    let mut refused: Vec<_> = refused.map(|entry| entry.unwrap().path()).collect();
    refused.sort_unstable();
    let read = refused.iter().map(|path| {
        let bytes = std::fs::read(path).unwrap();
        let payload = bytes[BatchHeader::ENCODED_BYTES..].to_vec().into();
        let header = BatchHeader::decode(&bytes).unwrap();
        Batch {
            dataset: orders(),
            header,
            payload,
        }
    });
    let read: Vec<_> = read.collect();
    assert_eq!(read, [batch(&orders(), 7, 0, 0), batch(&orders(), 7, 0, 1)]);
}

/// Another relay may hold what comes before.
#[tokio::test(flavor = "multi_thread")]
async fn a_spooled_batch_in_conflict_waits_and_others_go_on() {
    let (queue, folder) = (memory(), tempfile::tempdir().unwrap());
    append(&*queue, 7, 0..3).await;
    let address = nobody();
    let relay = Relay::open(options(address, folder.path())).await.unwrap();
    append(&relay, 7, 5..8).await;
    append(&relay, 8, 0..3).await;
    let _up = core_at(address, &queue);
    until(&relay, |counts| {
        counts.blocked_emitters == 1 && counts.replayed_batches == 3
    })
    .await;
    assert_eq!(
        (kept(&*queue, 7).await, kept(&*queue, 8).await),
        (vec![0, 1, 2], vec![0, 1, 2])
    );
    append(&relay, 8, 3..5).await;
    append(&*queue, 7, 3..5).await;
    until(&relay, |counts| counts.state == RelayState::Direct).await;
    assert_eq!(kept(&*queue, 7).await, (0..8).collect::<Vec<_>>());
    assert_eq!(kept(&*queue, 8).await, (0..5).collect::<Vec<_>>());
    assert_eq!(counts(&relay).refused_batches, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_cannot_be_written_acks_nothing() {
    let (queue, folder) = (memory(), tempfile::tempdir().unwrap());
    let address = nobody();
    let relay = Relay::open(options(address, folder.path())).await.unwrap();
    std::fs::write(folder.path().join("orders"), "in the way").unwrap();
    let answers = join_all((0..5).map(|sequence| relay.append(batch(&orders(), 7, 0, sequence)))).await;
    let errors: Vec<_> = answers.into_iter().map(|answer| answer.unwrap_err()).collect();
    assert!(
        errors.iter().all(|error| error.kind() == ErrorKind::Retry),
        "{errors:?}"
    );
    assert!(errors[0].to_string().contains("path="), "{}", errors[0]);
    let early = relay.append(batch(&orders(), 7, 0, 3)).await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Retry, "0 was not kept: {early}");
    std::fs::remove_file(folder.path().join("orders")).unwrap();
    let _up = core_at(address, &queue);
    append(&relay, 7, 0..5).await;
    until(&relay, |counts| counts.state == RelayState::Direct).await;
    assert_eq!(kept(&*queue, 7).await, (0..5).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = RelayOptions {
        window_bytes: 1_000,
        held_bytes_max: 3_000,
        ..patient(mute.local_addr().unwrap(), folder.path())
    };
    let relay = Relay::open(options).await.unwrap();
    let bytes = batch(&orders(), 7, 0, 0).payload.len() + limits::RELAY_BATCH_OVERHEAD_BYTES;
    let mut appends: Vec<_> = (0..20)
        .map(|sequence| relay.append(batch(&orders(), 7, 0, sequence)))
        .collect();
    for append in appends.split_off(3_000 / bytes) {
        let error = append.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Retry);
        assert!(error.to_string().contains("held_bytes_max=3000"), "{error}");
    }
    assert!(appends.into_iter().all(|append| append.now_or_never().is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn spools_are_bounded() {
    let (queue, folder) = (memory(), tempfile::tempdir().unwrap());
    let address = nobody();
    let options = RelayOptions {
        spool_bytes_max: 20_000,
        ..options(address, folder.path())
    };
    let relay = Relay::open(options).await.unwrap();
    let mut spooled = 0;
    let full = loop {
        match relay.append(batch(&orders(), 8, 0, spooled)).await {
            Ok(receipt) => assert!(receipt.spooled),
            Err(error) => break error,
        }
        spooled += 1;
    };
    assert_eq!(full.kind(), ErrorKind::Retry);
    assert!(full.to_string().contains("spool_bytes_max=20000"), "{full}");
    assert!(
        (20..40).contains(&spooled),
        "half of it is for one dataset: {spooled}"
    );
    let _up = core_at(address, &queue);
    until(&relay, |counts| counts.state == RelayState::Direct).await;
    append(&relay, 8, spooled..spooled + 1).await;
    until(&relay, |counts| counts.state == RelayState::Direct).await;
    assert_eq!(kept(&*queue, 8).await, (0..=spooled).collect::<Vec<_>>());
}

/// A relay before a relay: the word is passed on, and the one that has the batches is not left.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_behind_a_relay_is_bound_to_it() {
    let (queue, folders) = (
        memory(),
        [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()],
    );
    let address = nobody();
    let middle: Arc<dyn Queue> = Arc::new(Relay::open(options(address, folders[0].path())).await.unwrap());
    let (door, other) = (core(&middle), core(&queue));
    let middle_address = door.address;
    let mut options = patient(middle_address, folders[1].path());
    options.upstreams.push(at(other.address));
    let edge = Relay::open(options).await.unwrap();
    let first = append(&edge, 7, 0..10).await;
    assert!(first.iter().all(|receipt| receipt.spooled));
    assert_eq!(counts(&edge).spooled_batches, 0, "not here");
    drop(door);
    let rest: Vec<_> = (10..20)
        .map(|sequence| edge.append(batch(&orders(), 7, 0, sequence)))
        .collect();
    until(&edge, |counts| counts.failures > 10).await;
    assert!(kept(&*queue, 7).await.is_empty());
    let (_door, _up) = (core_at(middle_address, &middle), core_at(address, &queue));
    assert!(join_all(rest).await.iter().all(Result::is_ok));
    while kept(&*queue, 7).await.len() < 20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(kept(&*queue, 7).await, (0..20).collect::<Vec<_>>());
}

/// An ack that comes before the core's could not say that the batch is spooled.
#[tokio::test]
async fn an_edge_that_acks_nothing_early_says_spooled_to_those_who_ask_for_memory() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Arc::new(Relay::open(options(nobody(), folder.path())).await.unwrap());
    let options = AggregatorOptions {
        durability: Arc::new(|_| event::Durability::Memory),
        early_bytes_max: 0,
        ..AggregatorOptions::default()
    };
    let edge = Aggregator::new(relay.clone(), options);
    for sequence in 0..3 {
        let batch = batch(&orders(), 7, 0, sequence);
        let ack = edge
            .accept(batch.dataset, batch.header, batch.payload)
            .await
            .unwrap();
        assert!(ack.spooled, "{ack:?}");
    }
}
