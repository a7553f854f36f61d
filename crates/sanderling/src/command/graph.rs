//! `sanderling graph`: the jobs of a running server, drawn.

use std::io::Write;

use axum::http::Method;

use super::Failure;
use super::web::Web;

/// Draw the job of a dataset on a running server, with what has gone through each node; without a dataset, list the jobs.
#[derive(clap::Args)]
#[command(after_help = "Example: sanderling graph clicks --format dot | dot -Tsvg > clicks.svg")]
pub(crate) struct Graph {
    /// The dataset.
    dataset: Option<String>,
    /// The language of the drawing.
    #[arg(long, env = "SANDERLING_FORMAT", value_enum, default_value = "dot")]
    format: Format,
    #[command(flatten)]
    web: Web,
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
        let path = match &self.dataset {
            None => "/v1/jobs".to_owned(),
            Some(dataset) => format!("/v1/jobs/{dataset}/graph?format={format}"),
        };
        let text = self.web.ask(Method::GET, &path, String::new()).await?;
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
