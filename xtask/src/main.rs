//! `cargo xtask tidy`: what of the style can be checked by a program. The test command runs it as a test.
//! `cargo xtask faults`: the test with real processes that are killed, stopped and cut off, for as long as is wanted.

mod tidy;

use std::path::Path;
use std::process::{Command, ExitCode};

const USAGE: &str =
    "usage: cargo xtask tidy | cargo xtask faults [seconds] [seed] [folder on a small file system]";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let is_fine = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tidy"] => is_tidy(),
        ["faults", ref rest @ ..] if rest.len() <= 3 => faults(rest),
        _ => {
            eprintln!("{USAGE}");
            false
        }
    };
    match is_fine {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn is_tidy() -> bool {
    let complaints = tidy::check(&workspace());
    for complaint in &complaints {
        eprintln!("{complaint}");
    }
    complaints.is_empty()
}

/// Runs the test; the seed that it says at its beginning makes the same faults again.
fn faults(settings: &[&str]) -> bool {
    let names = [
        "SANDERLING_FAULTS_SECONDS",
        "SANDERLING_FAULTS_SEED",
        "SANDERLING_FAULTS_FOLDER",
    ];
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let status = Command::new(cargo)
        // The whole workspace, as the tests do: the program alone would build its dependencies anew with other features.
        .args([
            "test",
            "--workspace",
            "--test",
            "it",
            "faults::whatever",
            "--",
            "--nocapture",
        ])
        .current_dir(workspace())
        .envs([(names[0], "600")])
        .envs(names.into_iter().zip(settings))
        .status();
    match status {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("cargo cannot be run: {error}");
            false
        }
    }
}

/// The workspace's folder: above this crate's.
fn workspace() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is in a folder of the workspace")
        .to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_workspace_is_tidy() {
        let complaints = super::tidy::check(&super::workspace());
        assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    }
}
