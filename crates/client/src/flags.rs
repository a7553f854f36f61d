//! Reading the flags, again and again, from the first source that has them.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, Weak};
use std::time::Duration;

use crate::credentials::Dialed;
use arrow_flight::Action;
use arrow_flight::flight_service_client::FlightServiceClient;
use event::flags::Flags;
use event::limits::FLAGS_BYTES_MAX;
use event::wire::{FlagsAnswer, FlagsRequest, action};
use futures::TryStreamExt;

use crate::client::Inner;
use crate::limits::ANSWER_BYTES_MAX;
use crate::{Error, ErrorKind, Result};

/// Where a client's flags come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlagSource {
    /// The server, by the `DoAction` [`action::FLAGS`]; the first endpoint is asked.
    Server,
    /// A file in TOML or JSON; it is read at each poll.
    File(PathBuf),
    /// A text in TOML or JSON, such as that of an environment variable.
    Text(String),
}

/// The flags that hold, and where they are from.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) flags: Flags,
    pub(crate) etag: Option<String>,
    /// What the server calls them, when they are its own.
    server_etag: Option<String>,
    /// What was ignored of them.
    warnings: Vec<String>,
    /// What is wrong with the sources.
    wrong: Vec<String>,
}

impl Known {
    /// All that is wrong, in one text.
    pub(crate) fn error(&self) -> Option<String> {
        let texts: Vec<&str> = self
            .wrong
            .iter()
            .chain(&self.warnings)
            .map(String::as_str)
            .collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }
}

/// What a source has said.
enum Answer {
    /// What is known still holds.
    Unchanged,
    Flags {
        flags: Flags,
        server_etag: Option<String>,
        warnings: Vec<String>,
    },
}

/// Takes what the sources say that need no waiting.
pub(crate) fn begin(sources: &[FlagSource], known: &Mutex<Known>) {
    let mut wrong = Vec::new();
    for source in sources {
        let answer = match source {
            FlagSource::Server => continue,
            FlagSource::File(path) => std::fs::metadata(path)
                .map_err(|error| unreadable(path, &error))
                .and_then(|file| check_bytes(path, file.len()))
                .and_then(|()| std::fs::read_to_string(path).map_err(|error| unreadable(path, &error)))
                .and_then(|text| read(&text)),
            FlagSource::Text(text) => read(text),
        };
        match answer {
            Ok(answer) => return note(known, Some(answer), wrong),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    note(known, None, wrong);
}

/// Polls as long as there is a client.
pub(crate) async fn run(client: Weak<Inner>) {
    loop {
        let Some(now) = client.upgrade() else { return };
        let (sources, channel) = (now.options.flags.clone(), now.channel.clone());
        let timeout = now.options.ack_timeout;
        // At random between three and five quarters, so that clients do not come all at once.
        let share = ((now.options.random)() >> 11) as f64 / (1u64 << 53) as f64;
        let wait = now.options.flags_every.mul_f64(0.75 + share / 2.0);
        let etag = now.flags().server_etag.clone();
        drop(now);
        let (answer, wrong) = poll(&sources, channel, etag, timeout).await;
        let Some(now) = client.upgrade() else { return };
        note(&now.flags, answer, wrong);
        now.apply_flags();
        drop(now);
        tokio::time::sleep(wait).await;
    }
}

async fn poll(
    sources: &[FlagSource],
    channel: Dialed,
    etag: Option<String>,
    timeout: Duration,
) -> (Option<Answer>, Vec<String>) {
    let mut wrong = Vec::new();
    for source in sources {
        let answer = match source {
            FlagSource::Server => {
                let late = |_| Err(Error::new(ErrorKind::Retry, "no answer in time"));
                tokio::time::timeout(timeout, ask(channel.clone(), etag.clone()))
                    .await
                    .unwrap_or_else(late)
                    .map_err(|error| Error::new(error.kind(), format_args!("server has no flags: {error}")))
            }
            FlagSource::File(path) => read_file(path).await,
            FlagSource::Text(text) => read(text),
        };
        match answer {
            Ok(answer) => return (Some(answer), wrong),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    (None, wrong)
}

/// The last flags known stay where no source has any.
fn note(known: &Mutex<Known>, answer: Option<Answer>, wrong: Vec<String>) {
    let mut known = known.lock().expect("no holder of the lock panics");
    if let Some(Answer::Flags {
        flags,
        server_etag,
        warnings,
    }) = answer
    {
        known.etag = Some(flags.etag());
        known.flags = flags;
        known.server_etag = server_etag;
        known.warnings = warnings;
    }
    known.wrong = wrong;
}

fn read(text: &str) -> Result<Answer> {
    let (flags, warnings) = Flags::parse(text)?;
    Ok(Answer::Flags {
        flags,
        server_etag: None,
        warnings,
    })
}

async fn read_file(path: &Path) -> Result<Answer> {
    let file = tokio::fs::metadata(path).await;
    check_bytes(path, file.map_err(|error| unreadable(path, &error))?.len())?;
    let text = tokio::fs::read_to_string(path).await;
    read(&text.map_err(|error| unreadable(path, &error))?)
}

fn check_bytes(path: &Path, bytes: u64) -> Result<()> {
    if bytes > FLAGS_BYTES_MAX as u64 {
        let text = format_args!("too large bytes={bytes} bytes_max={FLAGS_BYTES_MAX}").to_string();
        return Err(unreadable(path, &text));
    }
    Ok(())
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::invalid(format_args!(
        "flags cannot be read: {error} file={}",
        path.display()
    ))
}

async fn ask(channel: Dialed, etag: Option<String>) -> Result<Answer> {
    let body = serde_json::to_vec(&FlagsRequest { etag: etag.clone() }).expect("a text is JSON");
    let mut client = FlightServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
    let answers = client.do_action(Action::new(action::FLAGS, body)).await?;
    let answer = answers.into_inner().try_next().await?;
    let bad = |what: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Corrupt, format_args!("answer cannot be read: {what}"))
    };
    let body = answer.ok_or_else(|| bad(&"it is empty"))?.body;
    let answer: FlagsAnswer = serde_json::from_slice(&body).map_err(|error| bad(&error))?;
    match answer.flags {
        Some(flags) => {
            let (flags, warnings) = Flags::from_json(&flags)?;
            Ok(Answer::Flags {
                flags,
                server_etag: Some(answer.etag),
                warnings,
            })
        }
        None if etag == Some(answer.etag) => Ok(Answer::Unchanged),
        None => Err(bad(&"it has no flags, and not those that are known")),
    }
}
