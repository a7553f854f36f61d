//! `sanderling up`: everything in one process.

use std::path::Path;

use sanderling::{Server, Signals, Told};

use super::Failure;
use super::serving::{Serving, try_lines};

/// Start everything in one process, until Ctrl-C or SIGTERM, which drain it. SIGHUP reads the settings of datasets again.
#[derive(clap::Args)]
#[command(after_help = "Example: sanderling up --data-dir ./data --http 127.0.0.1:0")]
pub(crate) struct Up {
    #[command(flatten)]
    serving: Serving,
}

impl Up {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let settings = self.serving.settings()?;
        let had_file = self.serving.config.is_none() && Path::new("sanderling.toml").exists();
        let data_dir = settings.data_dir.clone();
        let mut signals = Signals::listen()?;
        let server = Server::start(settings).await?;
        println!("data {}", data_dir.display());
        println!("{}", try_lines(&server, "hello"));
        println!("ready");
        while signals.told().await == Told::Reload {
            self.reload(&server, had_file).await;
        }
        eprintln!("draining");
        server.shutdown().await?;
        Ok(())
    }

    /// What cannot be taken over is told, and all goes on as it was.
    async fn reload(&self, server: &Server, had_file: bool) {
        if had_file && !Path::new("sanderling.toml").exists() {
            eprintln!("error: settings stay as they were: there is no file any more file=sanderling.toml");
            return;
        }
        let reloaded = match self.serving.settings() {
            Ok(settings) => server.reload(settings).await,
            Err(error) => Err(error),
        };
        match reloaded {
            Ok(changed) if changed.is_empty() => eprintln!("settings are as they were"),
            Ok(changed) => {
                let names: Vec<&str> = changed.iter().map(|name| name.as_str()).collect();
                eprintln!("settings changed datasets={}", names.join(","));
            }
            Err(error) => eprintln!("error: settings stay as they were: {error}"),
        }
    }
}
