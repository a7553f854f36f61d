//! What Linux says of processes and of the machine.

use std::time::Duration;

use crate::Result;

/// CPU time that a process has used, with all its threads.
pub(crate) fn cpu_of(process: &str) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name, in brackets, may hold blanks.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<u64>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).ok_or("no CPU time in /proc")?;
    // 100 ticks a second on every Linux.
    Ok(Duration::from_millis((user + system) * 10))
}

/// Ticks of all processors: those that the hypervisor gave to others, and all.
#[derive(Clone, Copy)]
pub(crate) struct Steal {
    stolen: u64,
    all: u64,
}

impl Steal {
    pub(crate) fn now() -> Result<Self> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().unwrap_or("");
        let ticks: Vec<u64> = line.split_whitespace().skip(1).flat_map(str::parse).collect();
        Ok(Self {
            stolen: ticks.get(7).copied().unwrap_or(0),
            all: ticks.iter().take(8).sum(),
        })
    }
}

/// The share of all processor time since then that was stolen.
pub(crate) fn steal_share(since: Steal) -> Result<f64> {
    let now = Steal::now()?;
    let all = now.all.saturating_sub(since.all).max(1);
    Ok(now.stolen.saturating_sub(since.stolen) as f64 / all as f64)
}
