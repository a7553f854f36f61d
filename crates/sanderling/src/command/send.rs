//! `sanderling send`: NDJSON or lines of text from a file or standard input, through the client library.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use client::{Client, ClientOptions};
use flate2::bufread::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};

use super::Failure;
use super::reaching::Reaching;

/// Send NDJSON (or with --raw lines of text), plain or gzip, to a dataset; ends when all of it is acked.
#[derive(clap::Args)]
#[command(
    after_help = "Example: sanderling send wikiticker wikiticker-2015-09-12-sampled.json.gz --rate 5000"
)]
pub(crate) struct Send {
    /// The dataset.
    dataset: String,
    /// The file; `-` or nothing for standard input.
    file: Option<PathBuf>,
    /// Lines are text and no JSON: each becomes an event with the line as this field.
    #[arg(long, value_name = "FIELD")]
    raw: Option<String>,
    /// Events a second, at most.
    #[arg(long)]
    rate: Option<u32>,
    /// Send a row about this sender to the dataset sanderling_tracers every second.
    #[arg(long, env = "SANDERLING_TRACERS")]
    tracers: bool,
    #[command(flatten)]
    reaching: Reaching,
}

impl Send {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let (input, total_bytes) = self.open()?;
        let bar = progress_bar(total_bytes);
        let counted = bar.wrap_read(input);
        let mut lines = decompressed(BufReader::with_capacity(1 << 16, counted))?;
        let client = Client::connect(ClientOptions {
            tracers: self.tracers.then_some(Duration::from_secs(1)),
            ..self.reaching.options()?
        })?;
        let dataset = client.dataset(&self.dataset)?;
        let (mut line, mut sent, start) = (Vec::new(), 0u64, Instant::now());
        while read_line(&mut lines, &mut line)? {
            if line.trim_ascii().is_empty() {
                continue;
            }
            if let Some(field) = &self.raw {
                line = as_field(field, &line)?;
            }
            dataset.emit_json_line_wait(&line).await?;
            sent += 1;
            if let Some(rate) = self.rate {
                let due = start + Duration::from_secs_f64(sent as f64 / f64::from(rate.max(1)));
                tokio::time::sleep_until(due.into()).await;
            }
            if sent.is_multiple_of(1024) {
                bar.set_message(format!("{} acked", client.stats().acked));
            }
        }
        client.close().await?;
        bar.finish_and_clear();
        let stats = client.stats();
        let seconds = start.elapsed().as_secs_f64();
        eprintln!(
            "{} events acked in {seconds:.1} s ({:.0}/s), {} batches, {} sent again",
            stats.acked,
            stats.acked as f64 / seconds,
            stats.batches,
            stats.retried,
        );
        Ok(())
    }

    fn open(&self) -> Result<(Box<dyn Read + std::marker::Send>, Option<u64>), Failure> {
        match &self.file {
            Some(path) if path.as_os_str() != "-" => {
                let file = File::open(path)
                    .map_err(|error| format!("cannot open the file: {error} file={}", path.display()))?;
                let bytes = file.metadata()?.len();
                Ok((Box::new(file), Some(bytes)))
            }
            _ => Ok((Box::new(std::io::stdin()), None)),
        }
    }
}

/// Reads a line into `line`; false at the end. A line over the limit of an event is an error that says which.
fn read_line(lines: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, Failure> {
    line.clear();
    let limit = event::limits::EVENT_BYTES_MAX as u64 + 2;
    let read = lines.by_ref().take(limit).read_until(b'\n', line)?;
    if read as u64 == limit && line.last() != Some(&b'\n') {
        return Err(format!(
            "a line is longer than an event may be bytes_max={}",
            event::limits::EVENT_BYTES_MAX
        )
        .into());
    }
    Ok(read > 0)
}

/// An event with a line of text as its one field.
fn as_field(field: &str, line: &[u8]) -> Result<Vec<u8>, Failure> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = std::str::from_utf8(line).map_err(|error| {
        let shown = String::from_utf8_lossy(&line[..line.len().min(200)]);
        format!("a line is not UTF-8: {error} line={shown:?}")
    })?;
    Ok(serde_json::to_vec(&serde_json::Map::from_iter([(
        field.to_owned(),
        text.into(),
    )]))?)
}

/// gzip is told by its first two bytes.
fn decompressed<R: BufRead + std::marker::Send + 'static>(
    mut input: R,
) -> Result<Box<dyn BufRead + std::marker::Send>, Failure> {
    let gzip = input.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if gzip {
        Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(input)))
    } else {
        Box::new(input)
    })
}

/// A bar on a terminal, nothing elsewhere.
fn progress_bar(total_bytes: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = match total_bytes {
        Some(_) => "{bar:40} {percent}% of {total_bytes} · {msg} · {eta} left",
        None => "{spinner} {bytes} · {msg}",
    };
    let bar = total_bytes.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    bar.with_style(ProgressStyle::with_template(style).expect("the template is constant and was tried"))
}
