//! Queries over history: rows of many files, beside another engine on the same files.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use client::Client;
use futures::TryStreamExt;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::super::Failure;
use super::feed::{Feed, Format};
use super::machine::{Machine, Usage, Used};
use super::process::ServerProcess;
use super::report::{Report, Table, ms, raw, short, thousands};
use super::schedule::Schedule;
use super::watch::histogram;
use super::{Common, DATASET, wait_visible};

/// What is asked, of `{}`, in SQL that both engines understand; each answer is in order.
const QUERIES: [(&str, &str); 8] = [
    (
        "all rows by client, the ten largest",
        "SELECT event.\"clientName\" AS name, count(*) AS c FROM {} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 10",
    ),
    (
        "by country, mean of a number, with a filter",
        "SELECT country, avg(event.\"durationMs\") AS mean, count(*) AS c FROM {} WHERE event.action = 'like' GROUP BY 1 ORDER BY 1",
    ),
    (
        "by page and action",
        "SELECT event.page AS page, event.action AS action, count(*) AS c FROM {} GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT 20",
    ),
    (
        "the ten busiest of many users",
        "SELECT \"userId\" AS user, count(*) AS c FROM {} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 10",
    ),
    (
        "distinct users",
        "SELECT count(DISTINCT \"userId\") AS users FROM {}",
    ),
    (
        "sessions that a text is in",
        "SELECT count(*) AS c FROM {} WHERE referrer LIKE '%/search/abc%'",
    ),
    (
        "few users' rows",
        "SELECT count(*) AS c, max(number) AS newest FROM {} WHERE \"userId\" < 1000",
    ),
    (
        "count, least, largest",
        "SELECT count(*) AS c, min(number) AS least, max(number) AS largest FROM {}",
    ),
];

/// How long rows may take to get into files.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(300);

/// Queries over history, beside another engine on the same files.
#[derive(clap::Args)]
#[command(after_help = "Example: sanderling bench queries --rows 30000000 --beside bench/sql/files.py")]
pub(crate) struct Queries {
    #[command(flatten)]
    common: Common,
    /// Rows of the table.
    #[arg(long, default_value_t = 30_000_000)]
    rows: u64,
    /// How often each query is asked.
    #[arg(long, default_value_t = 7)]
    rounds: u64,
    /// A program that answers the same queries: it is given a line of JSON with `files`, then one `{"sql": …}` for each query,
    /// with {} for the table, and answers each with a line `{"rows": [[…], …], "version": …}`.
    #[arg(long)]
    beside: Option<PathBuf>,
}

/// The other engine.
struct Beside {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Beside {
    fn start(program: &PathBuf, files: &[String]) -> Result<Self, Failure> {
        let mut child = std::process::Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start it: {error} program={}", program.display()))?;
        let (to, from) = child
            .stdin
            .take()
            .zip(child.stdout.take())
            .ok_or("no pipes".to_owned())?;
        let mut beside = Self {
            child,
            to,
            from: BufReader::new(from),
        };
        beside.ask(&json!({"files": files}))?;
        Ok(beside)
    }

    fn ask(&mut self, question: &Value) -> Result<Value, Failure> {
        writeln!(self.to, "{question}")?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was asked about.
struct Filled {
    per_second: f64,
    files: usize,
    bytes: f64,
    used: Used,
}

/// How long each query took, µs, here and there; and what there is.
struct Asked {
    took: Vec<[Histogram<u64>; 2]>,
    version: String,
}

impl Queries {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let server = ServerProcess::start(&self.common.data_dir(), &self.common.settings()).await?;
        let client = server.client(self.common.client_options())?;
        let filled = fill(&client, self.rows).await?;
        let files = self.files(&server, &client).await?;
        let mut beside = match &self.beside {
            Some(program) => Some(Beside::start(program, &files)?),
            None => None,
        };
        let usage = Usage::now(server.id()?)?;
        let asked = self.ask(&client, beside.as_mut()).await?;
        let used = usage.until(&Usage::now(server.id()?)?);
        let bytes = server
            .metrics()
            .await?
            .sum("table_file_bytes", |name| name == DATASET);
        let filled = Filled {
            per_second: filled,
            files: files.len(),
            bytes,
            used,
        };
        self.report(&filled, &asked).finish(self.common.out.as_deref())
    }

    /// Asks all queries in turn, here and there.
    async fn ask(&self, client: &Client, mut beside: Option<&mut Beside>) -> Result<Asked, Failure> {
        let mut took: Vec<_> = QUERIES.iter().map(|_| [histogram(), histogram()]).collect();
        let mut version = String::new();
        for _ in 0..self.rounds {
            for (at, (name, sql)) in QUERIES.iter().enumerate() {
                let asked = Instant::now();
                let ours = answer(client, &sql.replace("{}", DATASET)).await?;
                let _ = took[at][0].record(asked.elapsed().as_micros() as u64);
                let Some(beside) = &mut beside else { continue };
                let asked = Instant::now();
                let theirs = tokio::task::block_in_place(|| beside.ask(&json!({"sql": sql})))?;
                let _ = took[at][1].record(asked.elapsed().as_micros() as u64);
                if !is_same(&ours, &theirs["rows"]) {
                    return Err(
                        format!("answers differ: {ours:?}, {} query={name:?}", theirs["rows"]).into(),
                    );
                }
                version = theirs["version"].as_str().unwrap_or_default().to_owned();
            }
        }
        Ok(Asked { took, version })
    }

    fn report(&self, filled: &Filled, Asked { took, version }: &Asked) -> Report {
        let rows = QUERIES.iter().zip(took).map(|((name, _), [ours, theirs])| {
            vec![
                (*name).to_owned(),
                short(ms(ours, 0.5)),
                short(ms(ours, 1.0)),
                short(ms(theirs, 0.5)),
                format!("{:.2}", ms(ours, 0.5) / ms(theirs, 0.5)),
            ]
        });
        Report {
            name: "queries",
            title: "Queries over history",
            command: self.common.command(),
            machine: Machine::look(),
            notes: vec![
                format!(
                    "{} rows in {} files of {} MB, as the server wrote and merged them, in the page cache; each query {} times, in turn with the other engine, which reads the same files and must give the same answers. Times are a client's, from the question to the last row{}. The first, cold times are in *longest*.",
                    thousands(self.rows as f64),
                    filled.files,
                    thousands(filled.bytes / 1e6),
                    self.rounds,
                    if version.is_empty() {
                        String::new()
                    } else {
                        format!("; beside: {version}")
                    }
                ),
                format!(
                    "The rows came as Arrow batches: {} rows a second until all were visible. Steal {:.1} %.",
                    thousands(filled.per_second),
                    filled.used.steal_percent
                ),
            ],
            tables: vec![Table {
                title: String::new(),
                head: vec!["query", "p50, ms", "longest", "the other engine's p50", "ratio"],
                rows: rows.collect(),
            }],
            plots: Vec::new(),
            measured: json!({
                "rows": self.rows, "files": filled.files, "file_bytes": filled.bytes, "filled_per_second": filled.per_second, "used": filled.used, "beside": version,
                "queries": QUERIES.iter().zip(took).map(|((name, sql), [ours, theirs])| json!({"name": name, "sql": sql, "ours_us": raw(ours), "theirs_us": raw(theirs)})).collect::<Vec<_>>(),
            }),
        }
    }

    /// The table's files, when all rows are in files and no more files are merged.
    async fn files(&self, server: &ServerProcess, client: &Client) -> Result<Vec<String>, Failure> {
        let (begun, mut before) = (Instant::now(), 0.0);
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let page = server.metrics().await?;
            let sum = |name| page.sum(name, |dataset| dataset == DATASET);
            let (hot, files) = (sum("table_hot_rows"), sum("table_files"));
            if hot == 0.0 && files == before {
                break;
            }
            if begun.elapsed() > FLUSH_TIME_MAX {
                return Err(format!("rows are not in files after {FLUSH_TIME_MAX:?} rows={hot}").into());
            }
            before = files;
        }
        let sql = format!("SELECT path FROM sanderling.files WHERE dataset = '{DATASET}'");
        let folder = server.folder().join("warehouse");
        let rows = answer(client, &sql).await?;
        Ok(rows
            .iter()
            .map(|row| folder.join(&row[0]).display().to_string())
            .collect())
    }
}

/// Makes rows as fast as they are taken; returns how many a second until all were visible.
async fn fill(client: &Client, rows: u64) -> Result<f64, Failure> {
    let begun = Instant::now();
    let feed = Feed::new(vec![client.dataset(DATASET)?], Format::Arrow)?;
    let schedule = Arc::new(Schedule::new(&[(1, rows * 60)]));
    feed.run(schedule.clone()).await?;
    client.flush().await?;
    wait_visible(client, DATASET, schedule.emitted()).await?;
    Ok(schedule.emitted() as f64 / begun.elapsed().as_secs_f64())
}

/// All rows of an answer, as text.
async fn answer(client: &Client, sql: &str) -> Result<Vec<Vec<String>>, Failure> {
    let (_, rows) = client.query(sql).await?;
    let batches: Vec<RecordBatch> = rows.try_collect().await?;
    let mut all = Vec::new();
    for rows in &batches {
        let options = FormatOptions::default();
        let columns: Result<Vec<_>, _> = rows
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options))
            .collect();
        let columns = columns?;
        all.extend((0..rows.num_rows()).map(|row| {
            columns
                .iter()
                .map(|column| column.value(row).to_string())
                .collect()
        }));
    }
    Ok(all)
}

/// Numbers are the same to nine digits, since engines add floats in their own order.
fn is_same(ours: &[Vec<String>], theirs: &Value) -> bool {
    let Some(theirs) = theirs.as_array().filter(|theirs| theirs.len() == ours.len()) else {
        return false;
    };
    ours.iter().zip(theirs).all(|(ours, theirs)| {
        let Some(theirs) = theirs.as_array().filter(|theirs| theirs.len() == ours.len()) else {
            return false;
        };
        ours.iter()
            .zip(theirs)
            .all(|(ours, theirs)| match (ours.parse::<f64>(), theirs) {
                (Ok(ours), Value::Number(theirs)) => {
                    let theirs = theirs.as_f64().unwrap_or(f64::NAN);
                    (ours - theirs).abs() <= 1e-9 * ours.abs().max(1.0)
                }
                (_, Value::String(theirs)) => ours == theirs,
                (_, Value::Null) => ours.is_empty(),
                _ => false,
            })
    })
}
