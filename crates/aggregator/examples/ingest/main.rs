//! How fast events get from a client to a durable ack: client library, TCP, Flight door, log with its syncs; the
//! server is a process of its own. Beside it the raw limit: the same bytes over as many connections of loopback TCP
//! into one file, written and synced in groups, acked by a byte count.
//!
//! `cargo run --release -p aggregator --example ingest -- [folder] [seconds a row] [connections, such as 1,4,64]`
//!
//! Full rate first (as much as the client's memory bound lets in), then 10 %, 50 % and 90 % of that with arrivals
//! that do not wait. An ack's latency counts from when the event was due, so it holds the client's linger (1 ms
//! here) and all waiting.

mod load;
mod machine;
#[path = "../../tests/it/put_only.rs"]
mod put_only;
mod raw;
mod server;

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use load::{Format, Load, Outcome};
use machine::steal_share;
use server::Child;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", folder] => return server::serve(Path::new(folder)).await,
        ["serve-raw", folder] => return raw::serve(Path::new(folder)),
        _ => {}
    }
    let mut args = args.into_iter();
    let folder: PathBuf = args
        .next()
        .map_or_else(|| std::env::temp_dir().join("sanderling-ingest"), Into::into);
    let seconds: u64 = args.next().map_or(Ok(10), |text| text.parse())?;
    let connections = args.next().unwrap_or_else(|| "1,4,64".to_owned());
    let connections: Vec<usize> = connections
        .split(',')
        .map(str::parse)
        .collect::<std::result::Result<_, _>>()?;
    std::fs::create_dir_all(&folder)?;
    let mut out = std::io::stdout();
    writeln!(
        out,
        "| events | connections | offered | events/s | MB/s | of raw | ack p50 | p99 | p99.9 | client CPU, s per M events | server CPU | steal |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|"
    )?;
    for format in [Format::Rows, Format::Text, Format::Structs] {
        for &connections in &connections {
            let load = Load {
                format,
                connections,
                seconds: Duration::from_secs(seconds),
                rate: None,
            };
            let full = measure(&folder, load).await?;
            // The same bytes a second, in the client's batches.
            let raw = raw::measure(&folder, connections, Duration::from_secs(seconds.min(5)))?;
            row(&mut out, load, "all", &full, Some(full.bytes_per_second / raw))?;
            for (share, name) in [(0.1, "10 %"), (0.5, "50 %"), (0.9, "90 %")] {
                let load = Load {
                    rate: Some(full.events_per_second * share),
                    ..load
                };
                let outcome = measure(&folder, load).await?;
                row(&mut out, load, name, &outcome, None)?;
            }
        }
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

async fn measure(folder: &Path, load: Load) -> Result<Outcome> {
    let data = folder.join("log");
    let _ = std::fs::remove_dir_all(&data);
    let child = Child::start("serve", &data)?;
    let steal = machine::Steal::now()?;
    let mut outcome = load.run(child.address, || child.cpu()).await?;
    outcome.steal = steal_share(steal)?;
    child.stop()?;
    std::fs::remove_dir_all(&data)?;
    Ok(outcome)
}

fn row(
    out: &mut impl Write,
    load: Load,
    offered: &str,
    outcome: &Outcome,
    of_raw: Option<f64>,
) -> Result<()> {
    let at = |quantile: f64| outcome.acks.value_at_quantile(quantile) as f64 / 1e3;
    writeln!(
        out,
        "| {} | {} | {offered} | {:.0} | {:.0} | {} | {:.2} ms | {:.2} ms | {:.2} ms | {:.2} | {:.2} | {:.1} % |",
        load.format.name(),
        load.connections,
        outcome.events_per_second,
        outcome.bytes_per_second / 1e6,
        of_raw.map_or_else(String::new, |share| format!("{share:.2}")),
        at(0.5),
        at(0.99),
        at(0.999),
        outcome.client_cpu,
        outcome.server_cpu,
        outcome.steal * 100.0,
    )?;
    out.flush()?;
    Ok(())
}
