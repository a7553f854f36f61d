//! `sanderling validate`: is a settings file good?

use std::path::PathBuf;

use sanderling::Settings;

use super::Failure;

/// Check a settings file; exit code 78 and the reason when it is not good.
#[derive(clap::Args)]
#[command(after_help = "Example: sanderling validate sanderling.toml")]
pub(crate) struct Validate {
    /// The file; without it ./sanderling.toml.
    file: Option<PathBuf>,
}

impl Validate {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let settings = Settings::load(self.file.as_deref())?;
        if let Some(warning) = settings.check_addresses()? {
            eprintln!("warning: {warning}");
        }
        sanderling::chains(&settings)?;
        println!("ok");
        Ok(())
    }
}
