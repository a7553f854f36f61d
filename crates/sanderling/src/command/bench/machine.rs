//! What Linux says of processes and of the machine.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::super::Failure;

/// What a report says of where it was measured.
#[derive(Clone, Serialize)]
pub(super) struct Machine {
    pub(super) date: String,
    pub(super) processor: String,
    pub(super) processors: usize,
    pub(super) memory_gib: f64,
    pub(super) kernel: String,
    pub(super) version: String,
    /// Of the checkout that the bench was run in, if there is one.
    pub(super) revision: String,
    /// The folder that the program was built into, which Cargo names by the profile.
    pub(super) profile: String,
}

impl Machine {
    pub(super) fn look() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let line_of = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key));
            let value = line.and_then(|line| line.split_once(':'));
            value.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
        };
        let memory = line_of(&read("/proc/meminfo"), "MemTotal");
        let kib: f64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
        let git = std::process::Command::new("git")
            .args(["describe", "--always", "--dirty"])
            .output();
        let git = git.ok().filter(|output| output.status.success());
        let profile = std::env::current_exe().ok();
        let profile = profile.as_deref().and_then(|path| path.parent()?.file_name());
        Self {
            date: jiff::Zoned::now().date().to_string(),
            processor: line_of(&read("/proc/cpuinfo"), "model name"),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: (kib / 1024.0 / 1024.0 * 10.0).round() / 10.0,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: git.map_or_else(
                || "unknown".to_owned(),
                |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            ),
            profile: profile.map_or_else(
                || "unknown".to_owned(),
                |name| name.to_string_lossy().into_owned(),
            ),
        }
    }
}

/// What two processes, the load's and the server's, and the machine have used so far.
#[derive(Clone)]
pub(super) struct Usage {
    at: Instant,
    client: Duration,
    server: Duration,
    server_written: u64,
    stolen: u64,
    all: u64,
}

/// What was used between two looks.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Used {
    pub(super) seconds: f64,
    pub(super) client_cpu_seconds: f64,
    pub(super) server_cpu_seconds: f64,
    /// What the server gave the disk.
    pub(super) server_written_bytes: u64,
    /// Share of the machine's time that the hypervisor took.
    pub(super) steal_percent: f64,
}

impl Usage {
    /// Of this process and the server's.
    pub(super) fn now(server: u32) -> Result<Self, Failure> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        let ticks: Vec<u64> = stat
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .flat_map(str::parse)
            .collect();
        Ok(Self {
            at: Instant::now(),
            client: cpu_of("self")?,
            server: cpu_of(&server.to_string())?,
            server_written: number_of(&format!("/proc/{server}/io"), "write_bytes:")?,
            stolen: ticks.get(7).copied().unwrap_or(0),
            all: ticks.iter().take(8).sum(),
        })
    }

    pub(super) fn until(&self, later: &Self) -> Used {
        let all = later.all.saturating_sub(self.all).max(1) as f64;
        Used {
            seconds: (later.at - self.at).as_secs_f64(),
            client_cpu_seconds: later.client.saturating_sub(self.client).as_secs_f64(),
            server_cpu_seconds: later.server.saturating_sub(self.server).as_secs_f64(),
            server_written_bytes: later.server_written.saturating_sub(self.server_written),
            steal_percent: later.stolen.saturating_sub(self.stolen) as f64 * 100.0 / all,
        }
    }
}

/// The most memory that a process ever had, in bytes.
pub(super) fn memory_max(process: u32) -> Result<u64, Failure> {
    Ok(number_of(&format!("/proc/{process}/status"), "VmHWM:")? * 1024)
}

fn number_of(path: &str, key: &str) -> Result<u64, Failure> {
    let text = std::fs::read_to_string(path)?;
    let value = text.lines().find_map(|line| line.strip_prefix(key));
    let value = value.and_then(|value| value.split_whitespace().next()?.parse().ok());
    Ok(value.ok_or_else(|| format!("nothing of that name key={key} file={path}"))?)
}

/// Time that all threads of a process have used.
fn cpu_of(process: &str) -> Result<Duration, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name, in brackets, may hold blanks.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<u64>().ok());
    let (user, system) = ticks(11)
        .zip(ticks(12))
        .ok_or("no CPU time in /proc".to_owned())?;
    // 100 ticks a second on every Linux.
    Ok(Duration::from_millis((user + system) * 10))
}
