//! A server in a process of its own, as a user starts it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use client::{Client, ClientOptions};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::super::Failure;

/// How long a server may take until it is ready.
const START_TIME_MAX: Duration = Duration::from_secs(120);
const PAGE_BYTES_MAX: usize = 64 << 20;

/// The process, with its folder, which goes with it.
pub(super) struct ServerProcess {
    folder: PathBuf,
    ports: [u16; 3],
    child: Child,
}

impl ServerProcess {
    /// Starts a server on a new folder in `base` and free ports; `settings` is TOML, without addresses and folder.
    pub(super) async fn start(base: &Path, settings: &str) -> Result<Self, Failure> {
        let folder = base.join(format!("sanderling-bench-{}", std::process::id()));
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        let mut ports = [0; 3];
        let mut held = Vec::new();
        for port in &mut ports {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            *port = listener.local_addr()?.port();
            held.push(listener);
        }
        let [http, flight, postgres] = ports;
        let addresses = format!(
            "data_dir = {:?}\nhttp = \"127.0.0.1:{http}\"\nflight = \"127.0.0.1:{flight}\"\npostgres = \"127.0.0.1:{postgres}\"\n",
            folder.join("data"),
        );
        std::fs::write(folder.join("sanderling.toml"), addresses + settings)?;
        drop(held);
        let child = spawn(&folder)?;
        let mut server = Self { folder, ports, child };
        server.ready().await?;
        Ok(server)
    }

    /// Starts it again on its folder and ports; returns when it is ready.
    pub(super) async fn again(&mut self) -> Result<(), Failure> {
        self.child = spawn(&self.folder)?;
        self.ready().await
    }

    /// SIGKILL.
    pub(super) async fn kill(&mut self) -> Result<(), Failure> {
        Ok(self.child.kill().await?)
    }

    async fn ready(&mut self) -> Result<(), Failure> {
        let out = self.child.stdout.take().ok_or("no output".to_owned())?;
        let mut lines = BufReader::new(out).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await? {
                if line == "ready" {
                    return Ok(true);
                }
            }
            Ok::<_, std::io::Error>(false)
        };
        let ready = tokio::time::timeout(START_TIME_MAX, ready).await;
        if !matches!(ready, Ok(Ok(true))) {
            let said = std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
            return Err(format!("the server did not start: {}", said.trim()).into());
        }
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(())
    }

    pub(super) fn id(&self) -> Result<u32, Failure> {
        Ok(self.child.id().ok_or("the server has ended".to_owned())?)
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The address of its Flight door.
    pub(super) fn flight(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[1])
    }

    pub(super) fn client(&self, options: ClientOptions) -> Result<Client, Failure> {
        let endpoint = self.flight();
        Ok(Client::connect(ClientOptions { endpoint, ..options })?)
    }

    /// `GET /metrics`.
    pub(super) async fn metrics(&self) -> Result<Metrics, Failure> {
        let address = format!("http://127.0.0.1:{}/metrics", self.ports[0]);
        let uri = address.parse().map_err(|_| "not an address".to_owned())?;
        let client =
            hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let answer = client.get(uri).await.map_err(|error| error.to_string())?;
        let body = Limited::new(answer.into_body(), PAGE_BYTES_MAX).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        Ok(Metrics(String::from_utf8_lossy(&body).into_owned()))
    }

    /// What it has written on standard error.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default()
    }
}

fn spawn(folder: &Path) -> Result<Child, Failure> {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("server.log"))?;
    let child = Command::new(std::env::current_exe()?)
        .arg("up")
        .arg("--config")
        .arg(folder.join("sanderling.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()?;
    Ok(child)
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Not waited for: what it still writes goes with the folder, or is left of it.
        let _ = self.child.start_kill();
        for _ in 0..100 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("cannot remove the folder: {error} path={}", self.folder.display());
        }
    }
}

/// A page of metrics.
pub(super) struct Metrics(String);

impl Metrics {
    /// The sum of a metric over all datasets or tables whose name passes.
    pub(super) fn sum(&self, name: &str, of: impl Fn(&str) -> bool) -> f64 {
        self.samples(name)
            .filter(|(labels, _)| label(labels, "dataset").is_some_and(&of))
            .map(|(_, value)| value)
            .sum()
    }

    /// Upper bounds in seconds and how many events took no longer, of all datasets that pass together.
    pub(super) fn visible(&self, of: impl Fn(&str) -> bool) -> Vec<(f64, f64)> {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for (labels, count) in self.samples("visible_seconds_bucket") {
            if !label(labels, "dataset").is_some_and(&of) {
                continue;
            }
            let bound = match label(labels, "le") {
                Some("+Inf") => f64::INFINITY,
                bound => bound.and_then(|bound| bound.parse().ok()).unwrap_or(f64::NAN),
            };
            match buckets.iter_mut().find(|(other, _)| *other == bound) {
                Some((_, sum)) => *sum += count,
                None => buckets.push((bound, count)),
            }
        }
        buckets
    }

    fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.lines().filter_map(move |line| {
            let rest = line
                .strip_prefix("sanderling_")?
                .strip_prefix(name)?
                .strip_prefix('{')?;
            let (labels, value) = rest.split_once("} ")?;
            Some((labels, value.parse().ok()?))
        })
    }
}

fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels.split(',').find_map(|label| {
        let value = label.strip_prefix(name)?.strip_prefix("=\"")?;
        value.strip_suffix('"')
    })
}

/// The quantile of what came between two looks at [`Metrics::visible`], in ms, between the bounds of its bucket.
pub(super) fn visible_ms(before: &[(f64, f64)], after: &[(f64, f64)], quantile: f64) -> f64 {
    let since = |at: usize| after[at].1 - before.get(at).map_or(0.0, |(_, count)| *count);
    let Some(all) = after.len().checked_sub(1).map(since).filter(|all| *all > 0.0) else {
        return f64::NAN;
    };
    let (mut low, mut below) = (0.0, 0.0);
    for (at, (bound, _)) in after.iter().enumerate() {
        let count = since(at);
        if count >= quantile * all {
            if bound.is_infinite() {
                return low * 1e3;
            }
            let share = (quantile * all - below) / (count - below).max(1.0);
            return (low + (bound - low) * share) * 1e3;
        }
        (low, below) = (*bound, count);
    }
    f64::NAN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_the_bounds_of_their_bucket() {
        let page = |fast: u64, slow: u64| {
            Metrics(format!(
                "# HELP sanderling_visible_seconds x\n\
                 sanderling_visible_seconds_bucket{{dataset=\"a\",le=\"0.01\"}} {fast}\n\
                 sanderling_visible_seconds_bucket{{dataset=\"a\",le=\"0.02\"}} {slow}\n\
                 sanderling_visible_seconds_bucket{{dataset=\"a\",le=\"+Inf\"}} {slow}\n\
                 sanderling_visible_seconds_bucket{{dataset=\"b\",le=\"0.01\"}} 1000\n"
            ))
        };
        let of = |page: &Metrics| page.visible(|name| name == "a");
        let (before, after) = (of(&page(100, 100)), of(&page(190, 200)));
        assert_eq!(before, [(0.01, 100.0), (0.02, 100.0), (f64::INFINITY, 100.0)]);
        assert!((visible_ms(&before, &after, 0.45) - 5.0).abs() < 1e-9);
        assert!((visible_ms(&before, &after, 0.95) - 15.0).abs() < 1e-9);
        assert!(visible_ms(&after, &after, 0.5).is_nan());
        assert_eq!(
            page(7, 8).sum("visible_seconds_bucket", |name| name == "b"),
            1000.0
        );
    }
}
