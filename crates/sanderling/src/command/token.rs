//! `sanderling token`: tokens for those who may come in.

use aggregator::access::Token;

use super::Failure;

/// Make tokens for the file that `tokens_file` names.
#[derive(clap::Args)]
pub(crate) struct Tokens {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Print a new token, and what to write for it into the file.
    New(New),
}

#[derive(clap::Args)]
#[command(after_help = "Example: sanderling token new ci --scope send:clicks --scope query >> tokens.toml")]
struct New {
    /// Whose token it is, for the log.
    name: String,
    /// What it is for: send:<dataset>, query, store:<name> or admin; * at the end of a name for all that begin so.
    #[arg(long = "scope", required = true)]
    scopes: Vec<String>,
}

impl Tokens {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let Action::New(new) = self.action;
        let token = Token::generate().map_err(|error| error.to_string())?;
        let entry = token
            .entry(&new.name, &new.scopes)
            .map_err(|error| error.to_string())?;
        // The token is shown once, beside the file.
        eprintln!("{}", token.text());
        print!("{entry}");
        Ok(())
    }
}
