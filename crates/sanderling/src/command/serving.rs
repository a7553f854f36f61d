//! What the verbs that start a server share: flags over settings, and the lines that say where it listens.

use std::net::SocketAddr;
use std::path::PathBuf;

use sanderling::{Server, Settings, SettingsError};

/// Flags of a server; a flag wins over the environment, the environment over the file.
#[derive(clap::Args)]
pub(crate) struct Serving {
    /// Settings file; without it ./sanderling.toml if there is one.
    #[arg(long, env = "SANDERLING_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Folder of queue, warehouse and stores.
    #[arg(long, env = "SANDERLING_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Address of the HTTP door; port 0 picks a free one.
    #[arg(long, env = "SANDERLING_HTTP")]
    http: Option<SocketAddr>,
    /// Address of the Arrow Flight door.
    #[arg(long, env = "SANDERLING_FLIGHT")]
    flight: Option<SocketAddr>,
    /// Address of the Postgres door.
    #[arg(long, env = "SANDERLING_POSTGRES")]
    postgres: Option<SocketAddr>,
    /// File with the tokens that let somebody in.
    #[arg(long, env = "SANDERLING_TOKENS_FILE")]
    tokens_file: Option<PathBuf>,
    /// Listen on addresses that other machines reach, although nobody is asked who they are.
    #[arg(long, env = "SANDERLING_INSECURE")]
    insecure: bool,
}

impl Serving {
    /// The settings that hold.
    pub(crate) fn settings(&self) -> Result<Settings, SettingsError> {
        let mut settings = Settings::load(self.config.as_deref())?;
        if let Some(data_dir) = &self.data_dir {
            settings.data_dir.clone_from(data_dir);
        }
        settings.http = self.http.unwrap_or(settings.http);
        settings.flight = self.flight.unwrap_or(settings.flight);
        settings.postgres = self.postgres.unwrap_or(settings.postgres);
        settings.insecure |= self.insecure;
        if self.tokens_file.is_some() {
            settings.tokens_file.clone_from(&self.tokens_file);
        }
        if let Some(warning) = settings.check_addresses()? {
            eprintln!("warning: {warning}");
        }
        Ok(settings)
    }
}

/// What a user can try on a server, one line each.
pub(crate) fn try_lines(server: &Server, dataset: &str) -> String {
    let (http, flight, postgres) = (server.http(), server.flight(), server.postgres());
    format!(
        "HTTP {http} · Flight {flight} · Postgres {postgres}\n\
         try  psql -h {host} -p {port} -U sanderling -d sanderling -c 'SELECT * FROM {dataset} LIMIT 5'\n\
         try  curl -s {http}/v1/query -d 'SELECT count(*) AS events FROM {dataset}'\n\
         try  curl -s {http}/v1/datasets/hello/events -d '{{\"text\":\"hello\"}}'",
        host = postgres.ip(),
        port = postgres.port(),
    )
}
