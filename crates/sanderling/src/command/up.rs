//! `sanderling up`: everything in one process.

use sanderling::{Server, told_to_end};

use super::Failure;
use super::serving::{Serving, try_lines};

/// Start everything in one process, until Ctrl-C or SIGTERM, which drain it.
#[derive(clap::Args)]
#[command(after_help = "Example: sanderling up --data-dir ./data --http 127.0.0.1:0")]
pub(crate) struct Up {
    #[command(flatten)]
    serving: Serving,
}

impl Up {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let settings = self.serving.settings()?;
        let data_dir = settings.data_dir.clone();
        let server = Server::start(settings).await?;
        println!("data {}", data_dir.display());
        println!("{}", try_lines(&server, "hello"));
        println!("ready");
        told_to_end().await?;
        eprintln!("draining");
        server.shutdown().await?;
        Ok(())
    }
}
