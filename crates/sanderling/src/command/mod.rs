//! The verbs: one file each.

mod bench;
mod demo;
mod graph;
mod query;
mod reaching;
mod replay;
mod send;
mod serve;
mod serving;
mod tap;
mod test;
mod token;
mod up;
mod validate;
mod verify;
mod web;

use std::fmt;

/// Sizes and durations are as in the settings file; each flag has a twin in the environment.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Start everything in one process, send it live events, and watch them arrive.
    Demo(demo::Demo),
    /// Start everything in one process.
    Up(up::Up),
    /// Start chosen roles.
    Serve(serve::Serve),
    /// Make tokens for those who may come in.
    Token(token::Tokens),
    /// Send NDJSON or lines of text from a file or standard input to a dataset.
    Send(send::Send),
    /// Run a SQL query.
    Query(query::Query),
    /// Show a dataset's events live.
    Tap(tap::Tap),
    /// Send rejected events through their dataset again.
    Replay(replay::Replay),
    /// Draw the jobs of a running server.
    Graph(graph::Graph),
    /// Check a settings file.
    Validate(validate::Validate),
    /// Run the tests of a settings file.
    Test(test::Test),
    /// Check the files of the queue.
    Verify(verify::Verify),
    /// Measure the way from emit to visible in SQL on this machine.
    Bench(bench::Bench),
}

impl Command {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Demo(demo) => demo.run().await,
            Self::Up(up) => up.run().await,
            Self::Serve(serve) => serve.run().await,
            Self::Token(token) => token.run(),
            Self::Send(send) => send.run().await,
            Self::Query(query) => query.run().await,
            Self::Tap(tap) => tap.run().await,
            Self::Replay(replay) => replay.run().await,
            Self::Graph(graph) => graph.run().await,
            Self::Validate(validate) => validate.run(),
            Self::Test(test) => test.run(),
            Self::Verify(verify) => verify.run(),
            Self::Bench(bench) => bench.run().await,
        }
    }
}

/// Why a verb failed; decides the exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Bad settings: 78.
    Settings(sanderling::SettingsError),
    /// All else: 1.
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(error) => error.fmt(f),
            Self::Other(error) => error.fmt(f),
        }
    }
}

impl From<sanderling::SettingsError> for Failure {
    fn from(error: sanderling::SettingsError) -> Self {
        Self::Settings(error)
    }
}

macro_rules! other {
    ($($error:ty),+) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::Other(error.into())
            }
        })+
    };
}

other!(
    sanderling::ServerError,
    client::Error,
    sql::Error,
    std::io::Error,
    arrow::error::ArrowError,
    serde_json::Error,
    String
);
