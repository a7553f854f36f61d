//! How far a run is, on standard error: a line that moves on a terminal, a line now and then elsewhere.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flow::{Counts, JobState, JobStatus};
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use tokio::time::Interval;

use super::watched::Watch;

/// How often a line that moves is drawn anew.
const REDRAW_EVERY: Duration = Duration::from_millis(100);
/// How often a plain line is written.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows what has been read.
pub(super) struct Shown {
    doing: String,
    watch: Arc<Watch>,
    start: Instant,
    bar: Option<ProgressBar>,
    ticks: Interval,
}

impl Shown {
    /// To be made in the runtime.
    pub(super) fn new(doing: impl Into<String>, watch: Arc<Watch>) -> Self {
        let start = Instant::now();
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg}");
            ProgressBar::new_spinner().with_style(style.expect("the template is constant and was tried"))
        });
        let every = if bar.is_some() { REDRAW_EVERY } else { LINE_EVERY };
        Self {
            doing: doing.into(),
            watch,
            start,
            bar,
            ticks: tokio::time::interval_at((start + every).into(), every),
        }
    }

    /// Waits until it is time to draw.
    pub(super) async fn due(&mut self) {
        self.ticks.tick().await;
    }

    /// How far it is, and what keeps it from going on.
    pub(super) fn draw(&self, status: Option<&JobStatus>) {
        let mut text = format!("{}: {}", self.doing, read(&self.watch, self.start));
        if let Some(JobStatus {
            state: JobState::Waiting,
            last_error: Some(error),
            ..
        }) = status
        {
            let _ = write!(text, "; waiting to try again: {error}");
        }
        match &self.bar {
            Some(bar) => {
                bar.set_message(text);
                bar.tick();
            }
            None => eprintln!("{text}"),
        }
    }

    /// The end, with what there is to say of it.
    pub(super) fn end(self, outcome: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!("{outcome}: {}", read(&self.watch, self.start));
        let (malformed, first) = self.watch.malformed();
        if malformed > 0 {
            eprintln!("{malformed} malformed records left out; the first of them:");
            first.iter().for_each(|record| eprintln!("  {record}"));
        }
    }
}

fn read(watch: &Watch, start: Instant) -> String {
    let (elements, elapsed) = (watch.elements(), start.elapsed());
    let rate = elements as f64 / elapsed.as_secs_f64().max(1e-3);
    let time = match elapsed.as_secs() {
        0..60 => format!("{:.1} s", elapsed.as_secs_f64()),
        _ => HumanDuration(elapsed).to_string(),
    };
    format!(
        "{} elements read in {time} ({}/s)",
        HumanCount(elements),
        HumanCount(rate as u64)
    )
}

/// What functions have counted, a line each.
pub(super) fn counters(counts: &Counts) {
    let mut text = String::new();
    for (name, count) in counts {
        let _ = writeln!(text, "  {name}: {}", HumanCount(*count));
    }
    eprint!("{text}");
}

/// What a job has done.
pub(super) fn status(status: &JobStatus) {
    eprintln!(
        "{} elements in {} epochs",
        HumanCount(status.elements),
        status.epochs
    );
    if let Some(error) = &status.last_error {
        eprintln!("the last error, overcome: {error}");
    }
    counters(&status.counters);
}
