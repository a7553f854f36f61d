//! Everything at once, with real processes: a sender with a spool before two edges before one server. Again and again
//! one of them is killed with SIGKILL or stopped with SIGSTOP, connections are cut in the middle of what they carry, the
//! sender's clock jumps, and, where `SANDERLING_FAULTS_FOLDER` names a small file system, the server's disk is filled. At
//! the end each acked event is in the table once, and of each life of the sender the table has a beginning without
//! holes: nothing doubled, nothing was left out, nothing overtook.
//!
//! `SANDERLING_FAULTS_SECONDS` says for how long (12), `SANDERLING_FAULTS_SEED` which faults.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use client::{Client, ClientOptions, DatasetOptions, OnFull, SpoolOptions};
use serde_json::json;

use crate::process::{Process, free_ports};
use crate::support::{PATIENCE, rows};

const ENDPOINTS: &str = "SANDERLING_TEST_ENDPOINTS";
const SPOOL: &str = "SANDERLING_TEST_SPOOL";
const LIFE: &str = "SANDERLING_TEST_LIFE";

/// The sender of the test below, until its input ends. Nothing when run by itself.
#[tokio::test(flavor = "multi_thread")]
async fn sender_that_is_killed() {
    let Ok(endpoints) = std::env::var(ENDPOINTS) else {
        return;
    };
    let life: u64 = std::env::var(LIFE).unwrap().parse().unwrap();
    let mut endpoints = endpoints.split(',').map(str::to_owned);
    let jumps = AtomicU64::new(0);
    let client = Client::connect(ClientOptions {
        fallbacks: endpoints.by_ref().skip(1).collect(),
        ack_timeout: Duration::from_secs(1),
        return_after: Duration::from_secs(2),
        retry_max: Duration::from_millis(300),
        // Each batch is an hour before or after the one before it.
        clock: Arc::new(move || {
            let hours = [0, 1, -1, 2, 0, -3][jumps.fetch_add(1, Ordering::Relaxed) as usize % 6];
            jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours)
        }),
        ..ClientOptions::new(std::env::var(ENDPOINTS).unwrap().split(',').next().unwrap())
    })
    .unwrap();
    let options = DatasetOptions {
        on_full: OnFull::Spool(SpoolOptions::new(std::env::var(SPOOL).unwrap())),
        ..DatasetOptions::default()
    };
    let dataset = client.dataset_with("faults", options).await.unwrap();
    let (over, mut is_over) = tokio::sync::watch::channel(false);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        over.send_replace(true);
    });
    let mut n = 0u64;
    while !*is_over.borrow_and_update() {
        for _ in 0..20 {
            dataset.emit_wait(&json!({ "life": life, "n": n })).await.unwrap();
            n += 1;
        }
        let acked = dataset.emit_acked(&json!({ "life": life, "n": n }));
        if let Ok(acked) = acked {
            let said = n;
            tokio::spawn(async move {
                if acked.await.is_ok() {
                    println!("\nacked {said}");
                }
            });
            n += 1;
        }
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    client.close().await.unwrap();
    println!("\nacked {}", n - 1);
}

/// A sender's process; what it says is noted.
struct Sender {
    child: Child,
    input: Option<ChildStdin>,
    listening: JoinHandle<()>,
}

/// The last event that each life has said to be acked: all before it are, too.
type Acked = Arc<Mutex<BTreeMap<u64, u64>>>;

impl Sender {
    fn start(endpoints: &str, spool: &Path, life: u64, acked: &Acked) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "faults::sender_that_is_killed", "--nocapture"])
            .env(ENDPOINTS, endpoints)
            .env(SPOOL, spool)
            .env(LIFE, life.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, acked) = (
            BufReader::new(child.stdout.take().unwrap()).lines(),
            acked.clone(),
        );
        let listening = std::thread::spawn(move || {
            let said = lines
                .map_while(Result::ok)
                .filter_map(|line| line.strip_prefix("acked ")?.parse::<u64>().ok());
            for n in said {
                let mut acked = acked.lock().unwrap();
                let last: &mut u64 = acked.entry(life).or_default();
                *last = n.max(*last);
            }
        });
        Self {
            input: child.stdin.take(),
            child,
            listening,
        }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.listening.join().unwrap();
    }

    /// Ends when all that it has emitted is acked.
    fn end(mut self) {
        drop(self.input.take());
        let start = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            if start.elapsed() > PATIENCE {
                let _ = self.child.kill();
                panic!("the sender does not end");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.listening.join().unwrap();
    }
}

/// Passes bytes on, and cuts its connections when it is told to.
struct Wire {
    address: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Wire {
    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let kept = open.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(server) else {
                    continue;
                };
                kept.lock()
                    .unwrap()
                    .extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                for (from, to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
                    std::thread::spawn(move || pass_on(from, to));
                }
            }
        });
        Self { address, open }
    }

    fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    // Less than a message, so that a cut is in the middle of one.
    let mut bytes = [0; 700];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
    let _ = from.shutdown(std::net::Shutdown::Both);
}

/// All processes, and how each is started again.
struct World {
    folder: PathBuf,
    /// Where the server's data is.
    data: PathBuf,
    ports: [SocketAddr; 7],
    server: Option<Process>,
    edges: [Option<Process>; 2],
    sender: Option<Sender>,
    endpoints: String,
    life: u64,
    acked: Acked,
}

impl World {
    fn start_server(&mut self) {
        let settings = self.folder.join("server.toml");
        std::fs::write(
            &settings,
            "[warehouse]\nflush_age = \"300ms\"\n[queue]\nsegment_bytes = \"1MiB\"\n",
        )
        .unwrap();
        let [http, flight, postgres, ..] = self.ports;
        self.server = Some(Process::start(&args(&[
            "up",
            "--config",
            &settings.to_string_lossy(),
            "--data-dir",
            &self.data.to_string_lossy(),
            "--http",
            &http.to_string(),
            "--flight",
            &flight.to_string(),
            "--postgres",
            &postgres.to_string(),
        ])));
    }

    fn start_edge(&mut self, at: usize) {
        let settings = self.folder.join("edge.toml");
        std::fs::write(
            &settings,
            "[relay]\nspool_after = \"200ms\"\nack_timeout = \"1s\"\n",
        )
        .unwrap();
        let (http, flight) = (self.ports[3 + 2 * at], self.ports[4 + 2 * at]);
        self.edges[at] = Some(Process::start(&args(&[
            "serve",
            "aggregator",
            "--config",
            &settings.to_string_lossy(),
            "--data-dir",
            &self.folder.join(format!("edge{at}")).to_string_lossy(),
            "--upstream",
            &format!("http://{}", self.ports[1]),
            "--http",
            &http.to_string(),
            "--flight",
            &flight.to_string(),
        ])));
    }

    fn start_sender(&mut self) {
        self.life += 1;
        let spool = self.folder.join("spool");
        self.sender = Some(Sender::start(&self.endpoints, &spool, self.life, &self.acked));
    }

    /// Takes all of the disk for a while.
    fn fill(&self) {
        let path = self.data.join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        let block = vec![1; 1 << 16];
        while file.write_all(&block).is_ok() {}
        drop(file);
        std::thread::sleep(Duration::from_millis(700));
        std::fs::remove_file(&path).unwrap();
    }
}

fn args(of: &[&str]) -> Vec<String> {
    of.iter().map(|text| (*text).to_owned()).collect()
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_each_acked_event_is_there_once_and_in_order() {
    let seconds = number("SANDERLING_FAULTS_SECONDS").unwrap_or(12);
    let seed = number("SANDERLING_FAULTS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("SANDERLING_FAULTS_SEED={seed}");
    let small = std::env::var("SANDERLING_FAULTS_FOLDER").ok().map(PathBuf::from);
    let folder = tempfile::tempdir().unwrap();
    let ports = free_ports::<7>(2);
    let (path, data) = (folder.path().to_owned(), small.clone());
    let faults = tokio::task::spawn_blocking(move || {
        let wires = [Wire::to(ports[4]), Wire::to(ports[6])];
        let mut world = World {
            data: data.clone().unwrap_or_else(|| path.join("server")),
            folder: path,
            ports,
            server: None,
            edges: [None, None],
            sender: None,
            endpoints: format!("http://{},http://{}", wires[0].address, wires[1].address),
            life: 0,
            acked: Acked::default(),
        };
        world.start_server();
        world.start_edge(0);
        world.start_edge(1);
        world.start_sender();
        let (start, mut chance) = (Instant::now(), seed);
        let mut next = |below: u64| {
            chance = chance
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (chance >> 33) % below
        };
        while start.elapsed() < Duration::from_secs(seconds) {
            std::thread::sleep(Duration::from_millis(200 + next(900)));
            let (fault, down) = (next(9), Duration::from_millis(next(1_500)));
            eprintln!("{:?} fault {fault} for {down:?}", start.elapsed());
            match fault {
                0 => {
                    world.sender.take().unwrap().kill();
                    world.start_sender();
                }
                1 | 2 => {
                    world.server.take().unwrap().kill();
                    std::thread::sleep(down);
                    world.start_server();
                }
                3 | 4 => {
                    let at = (fault - 3) as usize;
                    world.edges[at].take().unwrap().kill();
                    std::thread::sleep(down);
                    world.start_edge(at);
                }
                5 => world
                    .server
                    .as_ref()
                    .unwrap()
                    .stall(down + Duration::from_millis(500)),
                6 => world.edges[0]
                    .as_ref()
                    .unwrap()
                    .stall(down + Duration::from_millis(500)),
                7 => wires[0].cut(),
                _ if data.is_some() => world.fill(),
                _ => wires.iter().for_each(Wire::cut),
            }
        }
        world.sender.take().unwrap().end();
        world
    });
    let world = faults.await.unwrap();
    check(&world).await;
    if let Some(small) = small {
        drop(world);
        std::fs::remove_dir_all(small.join("queue")).unwrap();
    }
}

/// What the table must have, once the edges have replayed what they hold.
async fn check(world: &World) {
    let client = Client::connect(ClientOptions::new(format!("http://{}", world.ports[1]))).unwrap();
    let acked = world.acked.lock().unwrap().clone();
    eprintln!("{} lives, acked {:?}", world.life, acked.values());
    let sql = "SELECT life, count(*) AS c, count(DISTINCT n) AS d, max(n) AS m FROM faults GROUP BY life";
    let start = Instant::now();
    loop {
        let found = rows(&client, sql).await.unwrap_or_default();
        let of = |row: &serde_json::Value, name: &str| row[name].as_u64().unwrap();
        let by_life: BTreeMap<u64, [u64; 3]> = found
            .iter()
            .map(|row| (of(row, "life"), ["c", "d", "m"].map(|name| of(row, name))))
            .collect();
        for (life, [count, distinct, _]) in &by_life {
            assert_eq!(
                count, distinct,
                "an event is there twice: life {life} of {by_life:?}"
            );
        }
        let whole = |(life, acked): (&u64, &u64)| {
            let [count, _, max] = by_life.get(life).copied().unwrap_or_default();
            count == max + 1 && max >= *acked
        };
        if acked.iter().all(whole) {
            return;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "acked {acked:?}, in the table (events, different ones, the last) {by_life:?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
