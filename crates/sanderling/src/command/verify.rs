//! `sanderling verify`: are the files of the queue whole?

use std::io::Write;
use std::path::PathBuf;

use queue::{Finding, Problem, Report, SegmentReport};
use sanderling::Settings;
use serde_json::{Value, json};

use super::Failure;

/// Check every byte that the queue of a data folder has in use, and list its segments.
#[derive(clap::Args)]
#[command(after_help = "\
Lists the segments with their offsets and times, then what is wrong. Exit code 0 when all is whole, else 1.
Reads only, and needs no server. While one runs, what it is writing may look torn: stop it to be sure.

Example: sanderling verify ./sanderling-data")]
pub(crate) struct Verify {
    /// The data folder; without it that of ./sanderling.toml.
    #[arg(env = "SANDERLING_DATA_DIR")]
    dir: Option<PathBuf>,
    /// How the report is printed: lines for people, or one JSON object.
    #[arg(long, env = "SANDERLING_FORMAT", value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Verify {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let dir = match self.dir {
            Some(dir) => dir,
            None => Settings::load(None)?.data_dir,
        };
        let path = dir.join("queue");
        if !path.is_dir() {
            let text = format!(
                "no queue here, name the data folder of a server path={}",
                dir.display()
            );
            return Err(text.into());
        }
        let report = queue::verify(path).map_err(|error| error.to_string())?;
        let mut out = std::io::stdout().lock();
        match self.format {
            Format::Text => write!(out, "{report}")?,
            Format::Json => writeln!(out, "{}", as_json(&report))?,
        }
        if report.is_whole() {
            return Ok(());
        }
        let findings = report.findings.len();
        Err(format!("the queue is not whole findings={findings}").into())
    }
}

fn as_json(report: &Report) -> Value {
    json!({
        "whole": report.is_whole(),
        "segments": report.segments.iter().map(segment).collect::<Vec<_>>(),
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

fn segment(segment: &SegmentReport) -> Value {
    let (from, to) = segment.received.unzip();
    json!({
        "dataset": segment.dataset.as_str(),
        "partition": segment.partition.0,
        "path": segment.path.display().to_string(),
        "bytes": segment.bytes,
        "first_offset": segment.offsets.start.0,
        "next_offset": segment.offsets.end.0,
        "batches": segment.batches,
        "received_from": from.map(|time| time.to_string()),
        "received_to": to.map(|time| time.to_string()),
    })
}

fn finding(finding: &Finding) -> Value {
    let problem = match finding.problem {
        Problem::Damage => "damage",
        Problem::TornTail => "torn_tail",
        Problem::Gap => "gap",
        Problem::Head => "head",
        Problem::Settings => "settings",
        Problem::Unknown => "unknown",
        _ => "other",
    };
    json!({
        "problem": problem,
        "path": finding.path.display().to_string(),
        "at": finding.at,
        "text": finding.text,
    })
}
