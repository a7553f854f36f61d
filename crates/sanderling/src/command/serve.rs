//! `sanderling serve`: chosen roles.

use sanderling::{Edge, told_to_end};

use super::Failure;
use super::serving::Serving;

/// Start one role as a process of its own.
#[derive(clap::Args)]
pub(crate) struct Serve {
    #[command(subcommand)]
    role: Role,
}

#[derive(clap::Subcommand)]
enum Role {
    /// Take batches and pass them on to another server (an edge), with a spool on the disk while that is away.
    Aggregator(Aggregator),
}

#[derive(clap::Args)]
#[command(after_help = "Example: sanderling serve aggregator --upstream http://core:8081 --data-dir ./edge")]
struct Aggregator {
    #[command(flatten)]
    serving: Serving,
    /// Flight door of the server to pass batches on to; more than one: all before one queue, the preferred one first.
    #[arg(long, env = "SANDERLING_UPSTREAM", value_delimiter = ',')]
    upstream: Vec<String>,
}

impl Serve {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let Role::Aggregator(aggregator) = self.role;
        let mut settings = aggregator.serving.settings()?;
        if !aggregator.upstream.is_empty() {
            settings.relay.upstreams = aggregator.upstream;
        }
        let upstreams = settings.relay.upstreams.join(" ");
        let edge = Edge::start(settings).await?;
        println!("HTTP {} · Flight {} · to {upstreams}", edge.http(), edge.flight());
        println!("ready");
        told_to_end().await?;
        eprintln!("draining");
        edge.shutdown().await;
        Ok(())
    }
}
