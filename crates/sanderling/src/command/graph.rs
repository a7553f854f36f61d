//! `sanderling graph`: the jobs of a running server, drawn.

use std::io::Write;

use axum::http::{Request, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::Failure;
use super::reaching::Shown;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Draw the job of a dataset on a running server, with what has gone through each node; without a dataset, list the jobs.
#[derive(clap::Args)]
#[command(after_help = "Example: sanderling graph clicks --format dot | dot -Tsvg > clicks.svg")]
pub(crate) struct Graph {
    /// The dataset.
    dataset: Option<String>,
    /// The language of the drawing.
    #[arg(long, env = "SANDERLING_FORMAT", value_enum, default_value = "dot")]
    format: Format,
    /// The server's HTTP door.
    #[arg(long, env = "SANDERLING_HTTP_SERVER", default_value = "http://127.0.0.1:8080")]
    server: String,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// Graphviz.
    Dot,
    Mermaid,
}

impl Graph {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let format = match self.format {
            Format::Dot => "dot",
            Format::Mermaid => "mermaid",
        };
        let server = self.server.trim_end_matches('/');
        let address = match &self.dataset {
            None => format!("{server}/v1/jobs"),
            Some(dataset) => format!("{server}/v1/jobs/{dataset}/graph?format={format}"),
        };
        let text = get(&address, self.shown.token()?).await?;
        let mut out = std::io::stdout().lock();
        match self.dataset {
            None => list(&mut out, &text)?,
            Some(_) => out.write_all(text.as_bytes())?,
        }
        Ok(())
    }
}

/// A line for each job.
fn list(out: &mut impl Write, answer: &str) -> Result<(), Failure> {
    let jobs: Vec<serde_json::Value> = serde_json::from_str(answer)?;
    for job in jobs {
        let text = |name: &str| job[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| job[name].as_u64().unwrap_or_default();
        writeln!(
            out,
            "{}  {}, {} batches in {} epochs, {} behind",
            text("dataset"),
            text("state"),
            number("elements"),
            number("epochs"),
            number("behind_batches"),
        )?;
    }
    Ok(())
}

/// The body of an answer that is 200.
async fn get(address: &str, token: Option<String>) -> Result<String, Failure> {
    let failed =
        |error: &dyn std::fmt::Display| format!("cannot ask the server, is it up? {error} address={address}");
    let uri: Uri = address
        .parse()
        .map_err(|error| format!("not an address: {error} address={address}"))?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let mut request = Request::get(uri);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request
        .body(Empty::new())
        .map_err(|error| format!("not a token: {error}"))?;
    let answer = client.request(request).await.map_err(|error| failed(&error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| failed(&error))?.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    if !status.is_success() {
        return Err(format!("{} status={}", text.trim(), status.as_u16()).into());
    }
    Ok(text)
}
