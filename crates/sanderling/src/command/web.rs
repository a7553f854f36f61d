//! What the verbs that ask the HTTP door of a running server share.

use std::fmt::Display;

use axum::http::{Method, Request, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::Failure;
use super::reaching::Shown;

/// The longest answer that is read as a whole.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Flags of a client of the HTTP door.
#[derive(clap::Args)]
pub(crate) struct Web {
    /// The server's HTTP door.
    #[arg(long, env = "SANDERLING_HTTP_SERVER", default_value = "http://127.0.0.1:8080")]
    server: String,
    #[command(flatten)]
    shown: Shown,
}

impl Web {
    /// The body of an answer that is 200.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: String) -> Result<String, Failure> {
        let answer = self.open(method, path, body).await?;
        let body = Limited::new(answer, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| self.failed(&error))?.to_bytes();
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Each piece of an answer that is 200, as it comes.
    pub(crate) async fn follow(
        &self,
        path: &str,
        mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut answer = self.open(Method::GET, path, String::new()).await?;
        while let Some(frame) = answer.frame().await {
            let frame = frame.map_err(|error| self.failed(&error))?;
            if let Some(bytes) = frame.data_ref() {
                take(bytes)?;
            }
        }
        Ok(())
    }

    async fn open(&self, method: Method, path: &str, body: String) -> Result<hyper::body::Incoming, Failure> {
        let address = format!("{}{path}", self.server.trim_end_matches('/'));
        let uri: Uri = address
            .parse()
            .map_err(|error| format!("not an address: {error} address={address}"))?;
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(token) = self.shown.token()? {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request
            .body(Full::from(body))
            .map_err(|error| format!("not a token: {error}"))?;
        let answer = client
            .request(request)
            .await
            .map_err(|error| self.failed(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer.into_body());
        }
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let text = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
        let text = text.unwrap_or_default();
        let said: Option<serde_json::Value> = serde_json::from_str(&text).ok();
        let said = said.and_then(|said| said["error"]["message"].as_str().map(str::to_owned));
        Err(format!(
            "{} status={}",
            said.as_deref().unwrap_or(text.trim()),
            status.as_u16()
        )
        .into())
    }

    fn failed(&self, error: &dyn Display) -> Failure {
        format!("cannot ask the server, is it up? {error} server={}", self.server).into()
    }
}
