//! `sanderling test`: what the steps of datasets make of given events.

use std::path::PathBuf;

use sanderling::Settings;

use super::Failure;

/// Run the tests of a settings file, without a server; exit code 1 and a diff for those that fail.
#[derive(clap::Args)]
#[command(after_help = "Example: sanderling test sanderling.toml --dataset weblog")]
pub(crate) struct Test {
    /// The file; without it ./sanderling.toml.
    file: Option<PathBuf>,
    /// Only the tests of this dataset.
    #[arg(long)]
    dataset: Option<event::DatasetName>,
}

impl Test {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let settings = Settings::load(self.file.as_deref())?;
        let chains = sanderling::chains(&settings)?;
        if let Some(only) = &self.dataset
            && !settings.datasets.contains_key(only)
        {
            return Err(format!("the settings do not name this dataset dataset={only}").into());
        }
        let (mut good, mut bad) = (0, 0);
        let datasets = settings.datasets.iter();
        for (name, of_dataset) in
            datasets.filter(|(name, _)| self.dataset.as_ref().is_none_or(|only| only == *name))
        {
            let chain = chains.get(name).cloned().unwrap_or_default();
            for (what, test) in &of_dataset.tests {
                let report = test.run(&chain, &settings.dataset(name));
                let report = report.map_err(|error| format!("{error} dataset={name} test={what:?}"))?;
                match report.is_good() {
                    true => good += 1,
                    false => {
                        bad += 1;
                        println!("FAILED {name}: {what}\n{report}");
                    }
                }
            }
        }
        println!("{good} passed, {bad} failed");
        match (good, bad) {
            (0, 0) => Err(
                "there are no tests: write them as [datasets.<name>.tests.\"what it shows\"]"
                    .to_owned()
                    .into(),
            ),
            (_, 0) => Ok(()),
            _ => Err(format!("tests failed failed={bad}").into()),
        }
    }
}
