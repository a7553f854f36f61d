//! One simulated world: its hosts, and what goes wrong in it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aggregator::{Aggregator, AggregatorOptions, Relay, RelayOptions, limits};
use arrow_flight::flight_service_server::FlightServiceServer;
use client::DatasetStats;
use turmoil::net::TcpListener;
use turmoil::{Builder, Sim};

use super::chance::Chance;
use super::emitter::{self, Life, POISON, PORT, Process};
use super::judge;
use super::queue::{SimQueue, Trouble};
use super::wire::{Scissors, Side, Wire};
use crate::put_only::PutOnly;

/// What all hosts do at a time; the grain of the simulation.
const TICK: Duration = Duration::from_millis(5);
/// How long things go wrong, and the processes emit.
const TROUBLE: Duration = Duration::from_secs(3);
/// Within this all must be settled: the connect timeout and the keep-alive of the client are seconds.
const END: Duration = Duration::from_secs(60);
const LATENCY_MAX: Duration = Duration::from_millis(20);

/// What happened, to see that a run was worth it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// What went wrong when, in the order it began.
    pub(crate) plan: Vec<(Duration, u64)>,
    pub(crate) trace: u64,
    pub(crate) elapsed: Duration,
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

impl Summary {
    pub(crate) fn add(&mut self, other: &Self) {
        self.trace ^= other.trace;
        self.elapsed += other.elapsed;
        for (name, count) in &other.counts {
            *self.counts.entry(name).or_default() += count;
        }
    }
}

/// What stands between the processes and the aggregators before the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edges {
    None,
    /// 1 or 2 relays that wait for their upstream.
    Waiting,
    /// 1 or 2 relays that go on to their disks, which are real: such a world is not the same each time.
    Spooling,
}

/// Runs the world of a seed to its end and judges it.
pub(crate) fn run(seed: u64, edges: Edges) -> Result<Summary, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let lives: Rc<RefCell<Vec<Life>>> = Rc::default();
    let mut world = World::new(seed, edges);
    for door in 0..world.doors {
        world.add_door(door);
    }
    for edge in 0..world.edges {
        world.add_edge(edge, edges, folder.path());
    }
    let datasets = world.chance.within(1..4) as usize;
    for client in 0..world.clients {
        world.add_client(client, datasets, &lives);
    }
    world.pass(&lives)?;
    let lives = lives.borrow();
    Ok(world.summary(&lives))
}

/// The aggregator's binary door, until the host is crashed.
async fn serve(aggregator: Aggregator, scissors: Scissors) -> turmoil::Result {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    let incoming = futures::stream::unfold(listener, move |listener| {
        let scissors = scissors.clone();
        async move {
            let accepted = listener.accept().await;
            let wire = accepted.map(|(stream, _)| Wire::new(stream, Side::Server, scissors));
            Some((wire, listener))
        }
    });
    let service = FlightServiceServer::new(PutOnly(aggregator))
        .max_decoding_message_size(limits::FLIGHT_MESSAGE_BYTES_MAX);
    tonic::transport::Server::builder()
        .add_service(service)
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}

fn door_name(door: usize) -> String {
    format!("door{door}")
}

fn edge_name(edge: usize) -> String {
    format!("edge{edge}")
}

fn client_name(client: usize) -> String {
    format!("client{client}")
}

fn calm() -> Trouble {
    Trouble {
        sync_max: Duration::from_millis(30),
        ..Trouble::default()
    }
}

/// Of [`World::begin_fault`].
const FAULT_KINDS: u64 = 12;
const QUEUE_TROUBLE: u64 = 9;

struct World {
    sim: Sim<'static>,
    queue: SimQueue,
    scissors: Scissors,
    chance: Chance,
    doors: usize,
    edges: usize,
    clients: usize,
    /// Of the doors, then of the clients.
    clocks: Vec<Arc<AtomicI64>>,
    /// What is wrong now, and until when.
    faults: Vec<(Duration, Fault)>,
    /// When which kind of fault began.
    plan: Vec<(Duration, u64)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Fault {
    Partition(String, String),
    OneWay(String, String),
    Hold(String, String),
    Slow(String, String),
    Down(String),
    Stall(usize),
    Queue,
    Cuts,
}

impl World {
    fn new(seed: u64, edges: Edges) -> Self {
        let mut chance = Chance::new(seed);
        let (doors, clients) = (chance.within(1..3) as usize, chance.within(1..5) as usize);
        // A batch that a relay has on its disk, and the queue refuses, is a hole that keeps those behind it waiting.
        let poison = match edges {
            Edges::None | Edges::Waiting => POISON.as_bytes(),
            Edges::Spooling => b"",
        };
        let sim = Builder::new()
            .epoch(SystemTime::UNIX_EPOCH)
            .rng_seed(chance.bits())
            .tick_duration(TICK)
            .simulation_duration(END * 2)
            .max_message_latency(LATENCY_MAX)
            // Also of the connections that wait to be accepted: too few, and turmoil panics.
            .tcp_capacity(chance.pick(&[64, 1_024]))
            .build();
        Self {
            sim,
            queue: SimQueue::new(chance.fork(), calm(), poison),
            scissors: Scissors::new(chance.fork()),
            doors,
            edges: match edges {
                Edges::None => 0,
                Edges::Waiting | Edges::Spooling => chance.within(1..3) as usize,
            },
            clients,
            clocks: Vec::new(),
            faults: Vec::new(),
            plan: Vec::new(),
            chance,
        }
    }

    fn clock(&mut self) -> Arc<AtomicI64> {
        let off = Arc::<AtomicI64>::default();
        self.clocks.push(Arc::clone(&off));
        off
    }

    fn add_door(&mut self, door: usize) {
        let (queue, off, scissors) = (self.queue.clone(), self.clock(), self.scissors.clone());
        let stream_bytes_max = self.chance.pick(&[1, 3_000, limits::STREAM_BYTES_MAX]);
        self.sim.host(door_name(door), move || {
            let options = AggregatorOptions {
                clock: emitter::clock(Arc::clone(&off)),
                stream_bytes_max,
                ..AggregatorOptions::default()
            };
            serve(Aggregator::new(queue.door(door), options), scissors.clone())
        });
    }

    fn add_edge(&mut self, edge: usize, edges: Edges, folder: &Path) {
        let (chance, scissors) = (&mut self.chance, self.scissors.clone());
        let random = Mutex::new(chance.fork());
        let doors = (0..self.doors).map(door_name);
        // One that is full goes on to its disk as well.
        let (spool_after, window_bytes) = match edges {
            Edges::Spooling => (chance.millis(50..800), chance.pick(&[1_000, 1 << 20])),
            Edges::None | Edges::Waiting => (Duration::from_secs(1 << 20), 1 << 20),
        };
        let options = RelayOptions {
            upstreams: doors.map(|door| format!("http://{door}:{PORT}")).collect(),
            spool_after,
            window_bytes,
            ack_timeout: chance.millis(150..900),
            return_after: chance.millis(200..1_000),
            retry_max: chance.millis(20..400),
            random: Arc::new(move || random.lock().unwrap().bits()),
            dial: client::Dial {
                connector: Some(emitter::connector(&scissors)),
                ..client::Dial::default()
            },
            ..RelayOptions::new("", folder.join(edge_name(edge)))
        };
        self.sim.host(edge_name(edge), move || {
            let (options, scissors) = (options.clone(), scissors.clone());
            async move {
                let relay = Relay::open(options).await?;
                let aggregator = Aggregator::new(Arc::new(relay), AggregatorOptions::default());
                serve(aggregator, scissors).await
            }
        });
    }

    fn add_client(&mut self, host: usize, datasets: usize, lives: &Rc<RefCell<Vec<Life>>>) {
        let process = Process {
            host,
            fronts: match self.edges {
                0 => (0..self.doors).map(door_name).collect(),
                edges => (0..edges).map(edge_name).collect(),
            },
            datasets,
            clock_off: self.clock(),
            scissors: self.scissors.clone(),
            chance: Rc::new(RefCell::new(self.chance.fork())),
            lives: Rc::clone(lives),
            until: TROUBLE,
        };
        self.sim.host(client_name(host), move || process.clone().live());
    }

    /// Lets time pass until all is settled.
    fn pass(&mut self, lives: &RefCell<Vec<Life>>) -> Result<(), String> {
        let mut is_healed = false;
        loop {
            let now = self.sim.elapsed();
            if now < TROUBLE {
                self.end_faults(now);
                // An emitter's first batch is a case of its own, so trouble may be there first.
                if now.is_zero() && self.chance.one_in(3) {
                    self.begin_fault(now, QUEUE_TROUBLE);
                }
                if self.chance.one_in(25) {
                    let kind = self.chance.below(FAULT_KINDS);
                    self.begin_fault(now, kind);
                }
            } else if !is_healed {
                self.heal();
                is_healed = true;
            }
            self.sim
                .step()
                .map_err(|error| format!("a host failed: {error}"))?;
            self.queue.pass(self.sim.elapsed());
            if is_healed && self.is_settled(&lives.borrow()) {
                // A relay has acked what it has yet to pass on.
                match judge::judge(&self.queue, &lives.borrow()) {
                    Err(_) if self.edges > 0 && now < END => self.rest()?,
                    judged => return judged,
                }
            }
            if now > END {
                let stuck = self.stuck(&lives.borrow());
                return Err(format!(
                    "not settled {:?} after the last trouble: {stuck}",
                    END - TROUBLE
                ));
            }
        }
    }

    /// Lets some time pass in which only the relays have something to do.
    fn rest(&mut self) -> Result<(), String> {
        for _ in 0..40 {
            self.sim
                .step()
                .map_err(|error| format!("a host failed: {error}"))?;
            self.queue.pass(self.sim.elapsed());
        }
        Ok(())
    }

    /// Whether the last life of each process is done.
    fn is_settled(&self, lives: &[Life]) -> bool {
        (0..self.clients).all(|host| {
            let last = lives.iter().rfind(|life| life.host == host);
            last.is_some_and(|life| life.is_done)
        })
    }

    fn stuck(&self, lives: &[Life]) -> String {
        let streams = lives
            .iter()
            .filter(|life| !life.is_done)
            .flat_map(|life| &life.streams);
        let told = streams.map(|stream| {
            let (name, stats) = (stream.dataset.name(), stream.dataset.stats());
            format!(
                "{name} taken={} acked={} {:?}; ",
                stream.taken.len(),
                stats.acked,
                stats.last_error
            )
        });
        told.collect()
    }

    /// The pairs of hosts that talk to one another.
    fn links(&self) -> Vec<(String, String)> {
        let of = |count: usize, name: fn(usize) -> String| (0..count).map(name).collect::<Vec<_>>();
        let (clients, doors) = (of(self.clients, client_name), of(self.doors, door_name));
        let edges = of(self.edges, edge_name);
        let pairs = |from: &[String], to: &[String]| {
            let all = from
                .iter()
                .flat_map(|a| to.iter().map(move |b| (a.clone(), b.clone())));
            all.collect::<Vec<_>>()
        };
        match self.edges {
            0 => pairs(&clients, &doors),
            _ => [pairs(&clients, &edges), pairs(&edges, &doors)].concat(),
        }
    }

    fn link(&mut self) -> (String, String) {
        let links = self.links();
        let ends = links[self.chance.below(links.len() as u64) as usize].clone();
        if self.chance.one_in(2) {
            ends
        } else {
            (ends.1, ends.0)
        }
    }

    fn begin_fault(&mut self, now: Duration, kind: u64) {
        self.plan.push((now, kind));
        let until = now + self.chance.millis(20..900);
        let (a, b) = self.link();
        let door = self.chance.below(self.doors as u64) as usize;
        let fault = match kind {
            0 => {
                self.sim.partition(a.as_str(), b.as_str());
                Fault::Partition(a, b)
            }
            1 => {
                self.sim.partition_oneway(a.as_str(), b.as_str());
                Fault::OneWay(a, b)
            }
            2 => {
                self.sim.hold(a.as_str(), b.as_str());
                Fault::Hold(a, b)
            }
            3 => {
                let slow = self.chance.millis(50..600);
                self.sim
                    .set_link_max_message_latency(a.as_str(), b.as_str(), slow);
                Fault::Slow(a, b)
            }
            4 | 5 => return self.lose_power(until),
            6 if self.edges > 0 && self.chance.one_in(2) => {
                let edge = self.chance.below(self.edges as u64) as usize;
                return self.crash(edge_name(edge), until);
            }
            6 => return self.crash(door_name(door), until),
            7 => {
                let client = self.chance.below(self.clients as u64) as usize;
                return self.crash(client_name(client), until);
            }
            8 => {
                self.queue.stall(door);
                Fault::Stall(door)
            }
            QUEUE_TROUBLE => {
                let trouble = Trouble {
                    busy: self.chance.below(6),
                    failing: self.chance.below(10),
                    sync_max: self.chance.millis(1..300),
                    late_max: self.chance.millis(1..60),
                };
                self.queue.set_trouble(trouble);
                Fault::Queue
            }
            10 => {
                self.scissors.on.store(true, Ordering::SeqCst);
                Fault::Cuts
            }
            _ => {
                let clock = self.chance.below(self.clocks.len() as u64) as usize;
                let off = self.chance.below(200_000) as i64 - 100_000;
                self.clocks[clock].store(off, Ordering::SeqCst);
                return;
            }
        };
        self.faults.push((until, fault));
    }

    /// The queue loses its power, and each door that writes to it dies with it.
    fn lose_power(&mut self, until: Duration) {
        for door in 0..self.doors {
            let up = until + self.chance.millis(0..200);
            self.stop(door_name(door), up);
        }
        self.queue.lose_power();
    }

    /// A host dies alone; the only door has the queue on its machine.
    fn crash(&mut self, host: String, until: Duration) {
        if self.doors == 1 && host == door_name(0) {
            return self.lose_power(until);
        }
        self.stop(host, until);
    }

    /// The others do not hear of it: the last words of its connections are lost. A runtime drops its tasks in an
    /// order that is not that of the seed, and each message that is sent draws its latency. (Connections whose end is
    /// heard of are those that are cut.)
    fn stop(&mut self, host: String, until: Duration) {
        let links = self.links().into_iter();
        for (a, b) in links.filter(|(a, b)| *a == host || *b == host) {
            self.sim.partition(a.as_str(), b.as_str());
            self.faults.push((until, Fault::Partition(a, b)));
        }
        self.sim.crash(host.as_str());
        self.faults.push((until, Fault::Down(host)));
    }

    fn end_faults(&mut self, now: Duration) {
        let (over, on): (Vec<_>, Vec<_>) = self.faults.drain(..).partition(|(until, _)| *until <= now);
        self.faults = on;
        for (_, fault) in over {
            self.end(fault);
        }
    }

    fn end(&mut self, fault: Fault) {
        // Another one of the same may be going on.
        if self.faults.iter().any(|(_, other)| *other == fault) {
            return;
        }
        match fault {
            Fault::Partition(a, b) => self.sim.repair(a, b),
            Fault::OneWay(a, b) => self.sim.repair_oneway(a, b),
            Fault::Hold(a, b) => self.sim.release(a, b),
            Fault::Slow(a, b) => self.sim.set_link_max_message_latency(a, b, LATENCY_MAX),
            Fault::Down(host) => {
                if let Some(door) = (0..self.doors).find(|door| door_name(*door) == host) {
                    self.queue.go_on(door);
                }
                self.sim.bounce(host);
            }
            Fault::Stall(door) => self.queue.go_on(door),
            Fault::Queue => self.queue.set_trouble(calm()),
            Fault::Cuts => self.scissors.on.store(false, Ordering::SeqCst),
        }
    }

    fn heal(&mut self) {
        while let Some((_, fault)) = self.faults.pop() {
            self.end(fault);
        }
        for (a, b) in self.links() {
            self.sim.release(a, b);
        }
    }

    fn summary(&self, lives: &[Life]) -> Summary {
        let (synced, _, lost) = self.queue.history();
        let events = synced
            .iter()
            .map(|(_, batch)| u64::from(batch.header.events))
            .sum();
        let crashed = lives.iter().filter(|life| !life.is_done).count() as u64;
        let streams = lives.iter().flat_map(|life| &life.streams);
        let stats: Vec<_> = streams.map(|stream| stream.dataset.stats()).collect();
        let sum = |of: fn(&DatasetStats) -> u64| stats.iter().map(of).sum::<u64>();
        Summary {
            plan: self.plan.clone(),
            trace: judge::trace(&self.queue, lives),
            elapsed: self.sim.elapsed(),
            counts: BTreeMap::from([
                ("events kept", events),
                ("batches kept", synced.len() as u64),
                ("batches lost with the power", lost),
                ("lives cut short", crashed),
                ("connections cut", self.scissors.cuts.load(Ordering::SeqCst)),
                ("batches sent again", sum(|stats| stats.retried)),
                ("duplicates", sum(|stats| stats.duplicates)),
                ("new epochs", sum(|stats| stats.epochs)),
                ("acks out of time", sum(|stats| stats.timeouts)),
                ("moves to another aggregator", sum(|stats| stats.moves)),
                ("events refused", sum(|stats| stats.dropped.refused)),
                ("events dropped", sum(|stats| stats.dropped.full)),
            ]),
        }
    }
}
