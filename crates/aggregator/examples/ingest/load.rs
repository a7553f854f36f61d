//! The senders: one client, and so one connection and one emitter, for each.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use client::{Client, ClientOptions, Dataset, ErrorKind};
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::machine::{self, Steal};
use crate::{Result, steal_share};

/// Events of a record batch.
const ROWS: usize = 1_000;
/// Different events; after the last one comes the first one again.
const POOL: usize = 10_000;
/// Of a connection's events, one in so long is timed.
const SAMPLE_EVERY: Duration = Duration::from_millis(5);
/// Not counted: connections are made, files get their first room.
const WARM_UP: Duration = Duration::from_secs(2);

/// As what events are given to the client.
#[derive(Clone, Copy)]
pub(crate) enum Format {
    /// Arrow record batches of 1,000.
    Rows,
    /// Lines of JSON.
    Text,
    /// Structs, which the client writes as JSON.
    Structs,
}

impl Format {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rows => "Arrow rows",
            Self::Text => "NDJSON, text",
            Self::Structs => "NDJSON, structs",
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) format: Format,
    pub(crate) connections: usize,
    pub(crate) seconds: Duration,
    /// Events a second over all connections, due whether or not earlier ones are acked; `None`: as many as can.
    pub(crate) rate: Option<f64>,
}

/// What came of a load.
pub(crate) struct Outcome {
    pub(crate) events_per_second: f64,
    pub(crate) bytes_per_second: f64,
    /// From due to acked, in microseconds.
    pub(crate) acks: Histogram<u64>,
    /// Seconds for a million events.
    pub(crate) client_cpu: f64,
    pub(crate) server_cpu: f64,
    pub(crate) steal: f64,
}

/// One event of about 300 bytes as text.
#[derive(Serialize)]
struct Event {
    number: u64,
    user: u64,
    action: &'static str,
    page: String,
    session: String,
    client: &'static str,
    country: &'static str,
    text: String,
}

impl Event {
    fn new(number: u64) -> Self {
        let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let of = |names: &[&'static str], shift: u32| names[(mixed >> shift) as usize % names.len()];
        Self {
            number,
            user: mixed >> 40,
            action: of(&["impression", "click", "like", "share", "follow"], 8),
            page: format!("/home/{:x}", mixed >> 32),
            session: format!("{mixed:032x}"),
            client: of(&["iphone", "android", "web", "ipad"], 16),
            country: of(&["US", "JP", "IN", "BR", "DE", "FR"], 24),
            text: format!(
                "{mixed:x} ran along the water's edge {mixed:o} as each wave came and went {mixed:x}"
            ),
        }
    }
}

/// What the connections send, made ahead.
struct Pool {
    events: Vec<Event>,
    lines: Vec<Vec<u8>>,
    rows: Vec<RecordBatch>,
}

impl Pool {
    fn new() -> Result<Self> {
        let events: Vec<Event> = (0..POOL as u64).map(Event::new).collect();
        let lines = events
            .iter()
            .map(serde_json::to_vec)
            .collect::<std::result::Result<_, _>>()?;
        let rows = events.chunks(ROWS).map(rows).collect::<Result<_>>()?;
        Ok(Self { events, lines, rows })
    }
}

fn rows(events: &[Event]) -> Result<RecordBatch> {
    let text = |of: fn(&Event) -> &str| {
        Arc::new(
            events
                .iter()
                .map(|event| Some(of(event)))
                .collect::<StringArray>(),
        )
    };
    let number = |of: fn(&Event) -> u64| {
        Arc::new(
            events
                .iter()
                .map(|event| of(event) as i64)
                .collect::<Int64Array>(),
        )
    };
    let columns: [(&str, ArrayRef); 8] = [
        ("number", number(|event| event.number)),
        ("user", number(|event| event.user)),
        ("action", text(|event| event.action)),
        ("page", text(|event| &event.page)),
        ("session", text(|event| &event.session)),
        ("client", text(|event| event.client)),
        ("country", text(|event| event.country)),
        ("text", text(|event| &event.text)),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

impl Load {
    pub(crate) async fn run(
        self,
        server: std::net::SocketAddr,
        server_cpu: impl Fn() -> Result<Duration>,
    ) -> Result<Outcome> {
        let pool = Arc::new(Pool::new()?);
        let (times, mut timed) = mpsc::unbounded_channel();
        let (mut clients, mut senders) = (Vec::new(), JoinSet::new());
        let stop = Instant::now() + WARM_UP + self.seconds;
        for number in 0..self.connections {
            let buffer = ((64 << 20) / self.connections).max(2 << 20);
            let client = Client::connect(ClientOptions {
                linger: Duration::from_millis(1),
                buffer_bytes_max: buffer,
                in_flight_bytes_max: buffer.min(16 << 20),
                ..ClientOptions::new(format!("http://{server}"))
            })?;
            let sender = Sender {
                dataset: client.dataset("ingest")?,
                pool: Arc::clone(&pool),
                next: number * 997,
                format: self.format,
                sampled: Instant::now(),
                times: times.clone(),
            };
            clients.push(client);
            match self.rate {
                None => senders.spawn(sender.flood(stop)),
                Some(rate) => senders.spawn(sender.pace(rate / self.connections as f64, stop)),
            };
        }
        drop(times);
        tokio::time::sleep(WARM_UP).await;
        let acked = |clients: &[Client]| {
            let stats = clients.iter().map(Client::stats);
            stats.fold((0, 0), |(events, bytes), stats| {
                (events + stats.acked, bytes + stats.bytes)
            })
        };
        let cpu = || -> Result<(Duration, Duration)> { Ok((machine::cpu_of("self")?, server_cpu()?)) };
        while timed.try_recv().is_ok() {}
        let (begun, steal, acked_before, cpu_before) =
            (Instant::now(), Steal::now()?, acked(&clients), cpu()?);
        tokio::time::sleep_until(stop).await;
        let (elapsed, steal) = (begun.elapsed().as_secs_f64(), steal_share(steal)?);
        let (acked_after, cpu_after) = (acked(&clients), cpu()?);
        while let Some(sender) = senders.join_next().await {
            sender??;
        }
        for client in &clients {
            client.close().await?;
        }
        let mut acks = Histogram::new_with_bounds(1, 60_000_000, 3)?;
        while let Some(time) = timed.recv().await {
            acks.saturating_record(time);
        }
        let events = (acked_after.0 - acked_before.0) as f64;
        Ok(Outcome {
            events_per_second: events / elapsed,
            bytes_per_second: (acked_after.1 - acked_before.1) as f64 / elapsed,
            acks,
            client_cpu: (cpu_after.0 - cpu_before.0).as_secs_f64() / events * 1e6,
            server_cpu: (cpu_after.1 - cpu_before.1).as_secs_f64() / events * 1e6,
            steal,
        })
    }
}

struct Sender {
    dataset: Dataset,
    pool: Arc<Pool>,
    next: usize,
    format: Format,
    /// When an event was last timed.
    sampled: Instant,
    times: mpsc::UnboundedSender<u64>,
}

impl Sender {
    /// As much as the buffer has room for.
    async fn flood(mut self, stop: Instant) -> Result<()> {
        loop {
            let now = Instant::now();
            if now >= stop {
                return Ok(());
            }
            for _ in 0..64 {
                self.emit(now).await?;
            }
        }
    }

    /// So many events a second, however long acks take.
    async fn pace(mut self, rate: f64, stop: Instant) -> Result<()> {
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (start, mut sent) = (Instant::now(), 0.0);
        loop {
            ticks.tick().await;
            let now = Instant::now();
            if now >= stop {
                return Ok(());
            }
            while sent < (now - start).as_secs_f64() * rate {
                let due = start + Duration::from_secs_f64(sent / rate);
                sent += self.emit(due).await? as f64;
            }
        }
    }

    /// Emits an event or a batch of rows, and says how many events that was.
    async fn emit(&mut self, due: Instant) -> Result<usize> {
        let is_sample = due.saturating_duration_since(self.sampled) >= SAMPLE_EVERY;
        let at = self.next;
        self.next += 1;
        let count = match self.format {
            Format::Rows => {
                let pool = Arc::clone(&self.pool);
                let rows = &pool.rows[at % pool.rows.len()];
                if is_sample {
                    let acked = with_room(|| self.dataset.emit_rows_acked(rows)).await?;
                    self.time(due, acked);
                } else {
                    self.dataset.emit_rows_wait(rows).await?;
                }
                rows.num_rows()
            }
            Format::Text | Format::Structs if is_sample => {
                let acked = with_room(|| self.dataset.emit_acked(&self.pool.events[at % POOL])).await?;
                self.time(due, acked);
                1
            }
            Format::Text => {
                self.dataset
                    .emit_json_line_wait(&self.pool.lines[at % POOL])
                    .await?;
                1
            }
            Format::Structs => {
                self.dataset.emit_wait(&self.pool.events[at % POOL]).await?;
                1
            }
        };
        Ok(count)
    }

    fn time(&mut self, due: Instant, acked: client::Acked) {
        self.sampled = due;
        let times = self.times.clone();
        tokio::spawn(async move {
            if acked.await.is_ok() {
                // Nobody listens after the end.
                let _ = times.send(due.elapsed().as_micros() as u64);
            }
        });
    }
}

/// Tries until the client's buffer has room.
async fn with_room(emit: impl Fn() -> client::Result<client::Acked>) -> Result<client::Acked> {
    loop {
        match emit() {
            Err(error) if error.kind() == ErrorKind::Full => {
                tokio::time::sleep(Duration::from_micros(200)).await
            }
            outcome => return Ok(outcome?),
        }
    }
}
