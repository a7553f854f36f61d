//! What this process has taken: seconds, CPU seconds and peak memory.

use std::fs;
use std::io;
use std::time::Instant;

use serde_json::Value;

/// Linux counts CPU time for user space in hundredths of a second, on all architectures.
const TICKS_A_SECOND: f64 = 100.0;

/// Started when a contestant begins.
pub(crate) struct Clock(Instant);

/// What a contestant took.
pub(crate) struct Taken {
    seconds: f64,
    cpu_seconds: f64,
    peak_bytes: u64,
}

impl Clock {
    /// Starts the time. The CPU time and memory that the process had before count: they are next to none.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Stops the time.
    pub(crate) fn stop(self) -> io::Result<Taken> {
        let seconds = self.0.elapsed().as_secs_f64();
        let stat = fs::read_to_string("/proc/self/stat")?;
        // After the name, which is in brackets: user and system time are the 12th and 13th fields.
        let ticks: Option<f64> = stat.rsplit(')').next().and_then(|fields| {
            let mut fields = fields.split_ascii_whitespace().skip(11);
            let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            Some(user + system)
        });
        let status = fs::read_to_string("/proc/self/status")?;
        let peak_kib: Option<u64> = status.lines().find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        });
        let unknown = || io::Error::other("/proc/self is not as Linux has it");
        Ok(Taken {
            seconds,
            cpu_seconds: ticks.ok_or_else(unknown)? / TICKS_A_SECOND,
            peak_bytes: peak_kib.ok_or_else(unknown)? << 10,
        })
    }
}

impl Taken {
    /// Puts the figures into an object.
    pub(crate) fn add_to(&self, line: &mut Value) {
        line["seconds"] = self.seconds.into();
        line["cpu_seconds"] = self.cpu_seconds.into();
        line["peak_bytes"] = self.peak_bytes.into();
    }
}
