//! A process that emits: the real client on a simulated host. Each start of it is a life of its own.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, UInt64Array};
use arrow::record_batch::RecordBatch;
use client::{Client, ClientOptions, Connector, Dataset, DatasetOptions, ErrorKind, OnFull};
use event::EmitterId;
use jiff::Timestamp;
use serde_json::json;
use turmoil::net::TcpStream;

use super::chance::Chance;
use super::wire::{Scissors, Side, Wire};

/// A batch with this in it is refused for good by the queue.
pub(crate) const POISON: &str = "poison";
/// Of every server.
pub(crate) const PORT: u16 = 8081;
/// Of a life, for one dataset.
const EVENTS_MAX: u64 = 400;

/// What all lives of one process share.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) host: usize,
    /// The hosts that it sends to.
    pub(crate) fronts: Vec<String>,
    pub(crate) datasets: usize,
    /// What the clock of the world is off, in seconds.
    pub(crate) clock_off: Arc<AtomicI64>,
    pub(crate) scissors: Scissors,
    pub(crate) chance: Rc<RefCell<Chance>>,
    pub(crate) lives: Rc<RefCell<Vec<Life>>>,
    /// When it emits no more.
    pub(crate) until: Duration,
}

/// One life: what it has emitted, and what its client says became of that.
pub(crate) struct Life {
    pub(crate) host: usize,
    pub(crate) emitter: EmitterId,
    pub(crate) streams: Vec<Stream>,
    /// Whether all it has emitted is acked or given up, by its own account.
    pub(crate) is_done: bool,
}

/// The events of one life for one dataset.
pub(crate) struct Stream {
    pub(crate) dataset: Dataset,
    /// The number of each event that the client took and did not count as dropped.
    pub(crate) taken: Vec<u64>,
    /// The numbers given out so far.
    next: u64,
}

/// A world time, in microseconds: a start and a host's time, which the host's clock may be off.
pub(crate) fn clock(off: Arc<AtomicI64>) -> client::Clock {
    Arc::new(move || {
        let passed = turmoil::sim_elapsed().unwrap_or_default().as_micros() as i64;
        let seconds = 1_700_000_000 + off.load(Ordering::SeqCst);
        Timestamp::from_microsecond(seconds * 1_000_000 + passed).unwrap()
    })
}

/// Connections over the simulated network.
pub(crate) fn connector(scissors: &Scissors) -> Connector {
    let scissors = scissors.clone();
    Connector::new(move |address: String| {
        let scissors = scissors.clone();
        async move {
            let address = address.trim_start_matches("http://").to_owned();
            Ok(Wire::new(
                TcpStream::connect(address).await?,
                Side::Client,
                scissors,
            ))
        }
    })
}

impl Process {
    fn options(&self) -> ClientOptions {
        let mut chance = self.chance.borrow_mut();
        let mut endpoints: Vec<String> = self
            .fronts
            .iter()
            .map(|front| format!("http://{front}:{PORT}"))
            .collect();
        let first = chance.below(endpoints.len() as u64) as usize;
        let endpoint = endpoints.remove(first);
        let random = std::sync::Mutex::new(chance.fork());
        ClientOptions {
            fallbacks: endpoints,
            ack_timeout: chance.millis(150..900),
            return_after: chance.millis(200..1_000),
            linger: chance.millis(1..30),
            batch_bytes: chance.pick(&[1, 100, 400, 2_000]),
            buffer_bytes_max: chance.pick(&[4_000, 20_000, 1 << 20]),
            in_flight_bytes_max: chance.pick(&[1, 300, 3_000, 100_000]),
            retry_min: Duration::from_millis(10),
            retry_max: chance.millis(20..400),
            clock: clock(Arc::clone(&self.clock_off)),
            random: Arc::new(move || random.lock().unwrap().bits()),
            connector: Some(connector(&self.scissors)),
            ..ClientOptions::new(endpoint)
        }
    }

    /// Lives until it is crashed, or has emitted all and been told that it is kept.
    pub(crate) async fn live(self) -> turmoil::Result {
        let client = Client::connect(self.options())?;
        let mut streams = Vec::new();
        for n in 0..self.datasets {
            let on_full = match self.chance.borrow_mut().one_in(3) {
                true => OnFull::DropNewest,
                false => OnFull::Refuse,
            };
            let options = DatasetOptions {
                on_full,
                ..DatasetOptions::default()
            };
            streams.push(Stream {
                dataset: client.dataset_with(&format!("d{n}"), options).await?,
                taken: Vec::new(),
                next: 0,
            });
        }
        let life = self.lives.borrow().len();
        self.lives.borrow_mut().push(Life {
            host: self.host,
            emitter: client.emitter(),
            streams,
            is_done: false,
        });
        while turmoil::sim_elapsed().unwrap_or_default() < self.until {
            let wait = self.chance.borrow_mut().millis(0..40);
            tokio::time::sleep(wait).await;
            let stream = self.chance.borrow_mut().below(self.datasets as u64) as usize;
            self.emit(life, stream).await?;
        }
        for stream in 0..self.datasets {
            let dataset = self.lives.borrow()[life].streams[stream].dataset.clone();
            // An error tells of events that were refused; the judge counts them.
            let _ = dataset.flush().await;
        }
        self.lives.borrow_mut()[life].is_done = true;
        Ok(())
    }

    /// Emits some events, in one of the ways that there are.
    async fn emit(&self, life: usize, stream: usize) -> turmoil::Result {
        let (dataset, from) = {
            let stream = &self.lives.borrow()[life].streams[stream];
            (stream.dataset.clone(), stream.next)
        };
        let (way, count, poison) = {
            let mut chance = self.chance.borrow_mut();
            (chance.below(4), chance.within(1..6), chance.one_in(60))
        };
        let numbers: Vec<u64> = (from..(from + count).min(EVENTS_MAX)).collect();
        if numbers.is_empty() {
            return Ok(());
        }
        self.lives.borrow_mut()[life].streams[stream].next += numbers.len() as u64;
        if way < 2 {
            let rows = rows(life as u64, &numbers);
            let before = dataset.stats().dropped.full;
            let taken = match way {
                0 => dataset.emit_rows(&rows),
                _ => dataset.emit_rows_wait(&rows).await,
            };
            self.note(life, stream, &numbers, before, taken)?;
            return Ok(());
        }
        for n in numbers {
            let mut event = json!({ "life": life, "n": n });
            if poison {
                event[POISON] = json!(true);
            }
            let before = dataset.stats().dropped.full;
            let taken = match way {
                2 => dataset.emit(&event),
                _ => dataset.emit_wait(&event).await,
            };
            self.note(life, stream, &[n], before, taken)?;
        }
        Ok(())
    }

    /// Remembers events as taken, unless the client said that it did not take them or counted them as dropped.
    fn note(
        &self,
        life: usize,
        stream: usize,
        numbers: &[u64],
        dropped_before: u64,
        taken: client::Result<()>,
    ) -> turmoil::Result {
        let stream = &mut self.lives.borrow_mut()[life].streams[stream];
        match taken {
            Err(error) if error.kind() == ErrorKind::Full => Ok(()),
            Err(error) => Err(error.into()),
            Ok(()) if stream.dataset.stats().dropped.full > dropped_before => Ok(()),
            Ok(()) => {
                stream.taken.extend_from_slice(numbers);
                Ok(())
            }
        }
    }
}

fn rows(life: u64, numbers: &[u64]) -> RecordBatch {
    let lives: ArrayRef = Arc::new(UInt64Array::from(vec![life; numbers.len()]));
    let numbers: ArrayRef = Arc::new(UInt64Array::from(numbers.to_vec()));
    RecordBatch::try_from_iter([("life", lives), ("n", numbers)]).unwrap()
}
