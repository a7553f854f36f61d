//! `sanderling demo`: live events through the real client, and what can be asked of them a moment later.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use client::{Client, ClientOptions};
use event::DatasetName;
use futures::TryStreamExt;
use sanderling::generator::Generator;
use sanderling::{Server, told_to_end};

use super::Failure;
use super::serving::{Serving, try_lines};

/// The query of the Sparrow paper, section IV.A.
const QUERY: &str = "SELECT event.clientName, COUNT(event.clientName) AS c FROM `user_behavior_events` \
     WHERE eventReceivedTime > TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL -2 MINUTE) \
     GROUP BY event.clientName ORDER BY c DESC LIMIT 10";
const DATASET: &str = "user_behavior_events";
const TICK: Duration = Duration::from_millis(10);

/// Start everything in one process, send it synthetic user behaviour through the real client over the wire, and
/// show each second what arrived and what the newest events say. Ctrl-C drains.
#[derive(clap::Args)]
#[command(after_help = "Example: sanderling demo --rate 10000")]
pub(crate) struct Demo {
    #[command(flatten)]
    serving: Serving,
    /// Events a second.
    #[arg(long, default_value_t = 3_000)]
    rate: u32,
    /// End after so many seconds instead of at Ctrl-C.
    #[arg(long)]
    seconds: Option<u64>,
}

impl Demo {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut settings = self.serving.settings()?;
        // Without a folder of its own the demo keeps nothing.
        let own_folder = self.serving.data_dir.is_some() || self.serving.config.is_some();
        let throwaway = (!own_folder).then(Throwaway::new).transpose()?;
        if let Some(folder) = &throwaway {
            settings.data_dir.clone_from(&folder.0);
        }
        let server = Server::start(settings).await?;
        let client = Client::connect(ClientOptions {
            tracers: Some(Duration::from_secs(1)),
            ..ClientOptions::new(format!("http://{}", server.flight()))
        })?;
        let emitting = tokio::spawn(emit(client.clone(), self.rate));
        let shown = tokio::select! {
            shown = show(&server, &client) => shown,
            ended = told_to_end() => ended.map_err(Failure::from),
            () = after(self.seconds) => Ok(()),
        };
        emitting.abort();
        eprintln!("draining");
        client.close().await?;
        let acked = client.stats().acked;
        server.shutdown().await?;
        drop(throwaway);
        eprintln!("{acked} events acked");
        shown
    }
}

async fn after(seconds: Option<u64>) {
    match seconds {
        Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
        None => std::future::pending().await,
    }
}

/// Emits events on a steady schedule, whatever happens to them.
async fn emit(client: Client, rate: u32) -> client::Result<()> {
    let dataset = client.dataset(DATASET)?;
    let mut generator = Generator::new(std::process::id().into(), 500);
    let (start, mut emitted) = (Instant::now(), 0u64);
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u64;
        while emitted < due {
            dataset.emit_wait(&generator.event()).await?;
            emitted += 1;
        }
    }
}

/// Shows the state of things each second, in place on a terminal.
async fn show(server: &Server, client: &Client) -> Result<(), Failure> {
    let dataset: DatasetName = DATASET.parse().map_err(|error: event::Error| error.to_string())?;
    let terminal = std::io::stdout().is_terminal();
    let (start, mut before, mut lines_up) = (Instant::now(), client.stats(), 0);
    let mut seen = None;
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.tick().await;
    println!("{}\n", try_lines(server, DATASET));
    loop {
        seconds.tick().await;
        let stats = client.stats();
        let latency = server
            .processor()
            .visibility(&dataset)
            .map(|visibility| visibility.since(&mut seen));
        let quantile = |q| {
            latency
                .as_ref()
                .map_or(0.0, |h| h.value_at_quantile(q) as f64 / 1_000.0)
        };
        let numbers = format!(
            "{:>4} s   {:>6} events/s in   {:>6} events/s acked   emit → visible in SQL: p50 {:.1} ms  p99 {:.1} ms",
            start.elapsed().as_secs(),
            stats.emitted - before.emitted,
            stats.acked - before.acked,
            quantile(0.5),
            quantile(0.99),
        );
        before = stats;
        let asked = Instant::now();
        let answer = answer(client).await?;
        let answer = format!(
            "{answer}\nanswered in {:.1} ms",
            asked.elapsed().as_secs_f64() * 1_000.0
        );
        let mut out = std::io::stdout().lock();
        if terminal {
            let text = format!("{numbers}\n\n{QUERY}\n{answer}\nCtrl-C drains and ends.");
            if lines_up > 0 {
                write!(out, "\x1b[{lines_up}A\x1b[J")?;
            }
            writeln!(out, "{text}")?;
            lines_up = screen_lines(&text);
        } else {
            writeln!(out, "{numbers}")?;
            if start.elapsed().as_secs().is_multiple_of(10) {
                writeln!(out, "{answer}")?;
            }
        }
        out.flush()?;
    }
}

/// How many lines a text takes on the terminal, long ones being wrapped.
fn screen_lines(text: &str) -> usize {
    let width = usize::from(console::Term::stdout().size().1.max(20));
    text.lines()
        .map(|line| line.chars().count().max(1).div_ceil(width))
        .sum()
}

async fn answer(client: &Client) -> Result<String, Failure> {
    match client.query(QUERY).await {
        Ok((_, rows)) => {
            let rows: Vec<RecordBatch> = rows.try_collect().await?;
            Ok(pretty_format_batches(&rows)?.to_string())
        }
        // The table is made when the first events arrive.
        Err(error) => Ok(format!("not yet: {error}")),
    }
}

/// A folder that goes with the demo.
struct Throwaway(PathBuf);

impl Throwaway {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("sanderling-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!(
                "cannot remove the demo's folder: {error} path={}",
                self.0.display()
            );
        }
    }
}
