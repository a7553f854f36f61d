//! `sanderling replay`: rejected events, sent through their dataset again.

use axum::http::Method;
use event::DatasetName;
use serde_json::{Value, json};

use super::Failure;
use super::web::Web;

/// Send the rejected events of a dataset through it again, after a mend; each once, however often it is called.
#[derive(clap::Args)]
#[command(after_help = "Example: sanderling replay weblog --stage udf --step parse")]
pub(crate) struct Replay {
    /// The dataset.
    dataset: DatasetName,
    /// Only those that failed in this stage: decode, validate or udf.
    #[arg(long)]
    stage: Option<String>,
    /// Only those that failed in this step.
    #[arg(long)]
    step: Option<String>,
    /// Only those that were received at this time or later, such as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Only those that were received before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    #[command(flatten)]
    web: Web,
}

impl Replay {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let filter = json!({"stage": self.stage, "step": self.step, "from": self.from, "until": self.until});
        let path = format!("/v1/datasets/{}/replay", self.dataset);
        let (mut sent, mut resumed, mut missing) = (0, 0, 0);
        loop {
            let answer = self.web.ask(Method::POST, &path, filter.to_string()).await?;
            let answer: Value = serde_json::from_str(&answer)?;
            let count = |name: &str| answer[name].as_u64().unwrap_or_default();
            sent += count("sent");
            resumed += count("resumed");
            missing += count("missing");
            if answer["more"] != true {
                println!(
                    "{sent} sent again, {resumed} of an earlier run, {missing} gone meanwhile, {} not to be sent",
                    count("unfit")
                );
                return Ok(());
            }
        }
    }
}
