//! `sanderling tap`: a dataset's events, live.

use std::io::Write;

use event::DatasetName;

use super::Failure;
use super::web::Web;

/// Show a dataset's events as they go by, a JSON object a line, until Ctrl-C. What is not taken fast enough is dropped.
#[derive(clap::Args)]
#[command(after_help = "Example: sanderling tap weblog --at after:parse")]
pub(crate) struct Tap {
    /// The dataset.
    dataset: DatasetName,
    /// Where: `inserted` (before the table), `decoded`, `before:<step>`, `after:<step>` or `rejected`.
    #[arg(long, default_value = "inserted")]
    at: String,
    #[command(flatten)]
    web: Web,
}

impl Tap {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        // A step may be called anything.
        let at: String = self.at.bytes().map(encoded).collect();
        let path = format!("/v1/datasets/{}/tap?at={at}", self.dataset);
        let mut out = std::io::stdout();
        self.web
            .follow(&path, |bytes| {
                out.write_all(bytes)?;
                Ok(out.flush()?)
            })
            .await
    }
}

fn encoded(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b':' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    }
}
