//! What the verbs that ask a running server share: where it is, and who asks.

use std::path::{Path, PathBuf};

use client::{ClientOptions, ClientTls, Secret};

use super::Failure;

/// Flags of a client.
#[derive(clap::Args)]
pub(crate) struct Reaching {
    /// The server's Flight door; https:// if it speaks TLS.
    #[arg(long, env = "SANDERLING_SERVER", default_value = "http://127.0.0.1:8081")]
    server: String,
    #[command(flatten)]
    shown: Shown,
    /// File with certificates of the authorities to believe, in PEM; without it those of the system.
    #[arg(long, env = "SANDERLING_CA")]
    ca: Option<PathBuf>,
}

/// Who asks. The token itself is no flag, since others on the machine can see those.
#[derive(clap::Args)]
pub(crate) struct Shown {
    /// File with the token to show; the environment's SANDERLING_TOKEN is the token itself.
    #[arg(long, env = "SANDERLING_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

impl Reaching {
    pub(crate) fn options(&self) -> Result<ClientOptions, Failure> {
        let tls = match &self.ca {
            None => None,
            Some(path) => Some(ClientTls {
                ca: Some(read(path)?),
                ..ClientTls::default()
            }),
        };
        Ok(ClientOptions {
            token: self.shown.token()?.map(Secret::from),
            tls,
            ..ClientOptions::new(&self.server)
        })
    }
}

impl Shown {
    /// The token, if there is one.
    pub(crate) fn token(&self) -> Result<Option<String>, Failure> {
        let text = match &self.token_file {
            Some(path) => String::from_utf8(read(path)?)
                .map_err(|error| format!("not a token: {error} file={}", path.display()))?,
            None => match std::env::var("SANDERLING_TOKEN") {
                Ok(token) => token,
                Err(_) => return Ok(None),
            },
        };
        Ok(Some(text.trim().to_owned()).filter(|token| !token.is_empty()))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let read = std::fs::read(path);
    Ok(read.map_err(|error| format!("cannot read the file: {error} file={}", path.display()))?)
}
