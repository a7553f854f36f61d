//! The checks, each a function from the workspace to complaints.
//!
//! * layers: a crate uses only crates on lower layers, DataFusion is used by `sql` alone, Delta by `warehouse`;
//! * files: each Rust file opens with a header, holds no `#[allow]` (use `#[expect(…, reason = "…")]`), no banner,
//!   and stays under a length;
//! * paths: what ARCHITECTURE.md and README.md name in code font and looks like a path exists.

use std::fs;
use std::path::{Path, PathBuf};

/// Crates by layer, lowest first: see ARCHITECTURE.md. `algebra-derive` is a part of `algebra`, which alone uses it.
const LAYERS: [&[&str]; 7] = [
    &["algebra-derive"],
    &["algebra", "event"],
    &["store", "queue"],
    &["flow", "client", "udf-wasm"],
    &["aggregator", "files", "warehouse"],
    &["processor", "sql"],
    &["sanderling"],
];
/// Heavy or telling dependencies, and who alone may use them.
const ONLY: [(&str, &[&str]); 8] = [
    ("algebra-derive", &["algebra"]),
    ("datasketches", &["algebra"]),
    ("datafusion", &["sql"]),
    ("datafusion-postgres", &["sql"]),
    ("deltalake-core", &["warehouse"]),
    ("fjall", &["store"]),
    ("wasmtime", &["udf-wasm"]),
    ("axum", &["aggregator", "sql", "sanderling"]),
];
/// Lines of a file before its tests.
const FILE_LINES_MAX: usize = 700;

/// All complaints, each with its place.
pub(crate) fn check(workspace: &Path) -> Vec<String> {
    let mut complaints = layers(workspace);
    for file in rust_files(workspace) {
        complaints.extend(file_complaints(workspace, &file));
    }
    complaints.extend(
        ["ARCHITECTURE.md", "README.md"]
            .iter()
            .flat_map(|page| paths(workspace, page)),
    );
    complaints
}

fn layer_of(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

fn layers(workspace: &Path) -> Vec<String> {
    let mut complaints = Vec::new();
    for (layer, name) in LAYERS
        .iter()
        .enumerate()
        .flat_map(|(layer, names)| names.iter().map(move |name| (layer, *name)))
    {
        let path = workspace.join("crates").join(name).join("Cargo.toml");
        let Ok(text) = fs::read_to_string(&path) else {
            complaints.push(format!(
                "crates/{name}/Cargo.toml: cannot be read, though ARCHITECTURE.md has the crate"
            ));
            continue;
        };
        let manifest: toml::Table = match text.parse() {
            Ok(manifest) => manifest,
            Err(error) => {
                complaints.push(format!("crates/{name}/Cargo.toml: {error}"));
                continue;
            }
        };
        let Some(dependencies) = manifest.get("dependencies").and_then(toml::Value::as_table) else {
            continue;
        };
        for dependency in dependencies.keys() {
            if layer_of(dependency).is_some_and(|below| below >= layer) {
                complaints.push(format!(
                    "crates/{name}: uses {dependency}, which is not on a lower layer"
                ));
            }
            let only = ONLY.iter().find(|(only, _)| only == dependency);
            if only.is_some_and(|(_, users)| !users.contains(&name)) {
                complaints.push(format!(
                    "crates/{name}: uses {dependency}, which others are to use alone"
                ));
            }
        }
    }
    complaints
}

fn rust_files(workspace: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = ["crates", "xtask", "bench", "examples"]
        .map(|folder| workspace.join(folder))
        .to_vec();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn file_complaints(workspace: &Path, file: &Path) -> Vec<String> {
    let place = file.strip_prefix(workspace).unwrap_or(file).display().to_string();
    let Ok(text) = fs::read_to_string(file) else {
        return vec![format!("{place}: cannot be read")];
    };
    let mut complaints = Vec::new();
    if !text.starts_with("//! ") {
        complaints.push(format!(
            "{place}: does not open with a header (`//! ` and what the file is)"
        ));
    }
    let allow = ["#[", "allow("].concat();
    let banner = ["// ", "===="].concat();
    for (index, line) in text.lines().enumerate() {
        if line.contains(&allow) {
            complaints.push(format!("{place}:{}: use #[expect(…, reason = \"…\")]", index + 1));
        }
        if line.contains(&banner) {
            complaints.push(format!("{place}:{}: a banner", index + 1));
        }
    }
    let lines = text
        .lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"))
        .count();
    let is_test = place.contains("/tests/") || place.ends_with("tests.rs");
    if lines > FILE_LINES_MAX && !is_test {
        complaints.push(format!("{place}: {lines} lines, would two files be better?"));
    }
    complaints
}

/// Words in code font that look like paths of the project (a known first folder), and are not there.
fn paths(workspace: &Path, page: &str) -> Vec<String> {
    let Ok(text) = fs::read_to_string(workspace.join(page)) else {
        return vec![format!("{page}: cannot be read")];
    };
    let in_code = text.split('`').skip(1).step_by(2);
    in_code
        .filter(|word| !word.contains(char::is_whitespace))
        .filter(|word| {
            ["crates/", "docs/", ".ci/", "xtask/", "examples/", "bench/"]
                .iter()
                .any(|folder| word.starts_with(folder))
        })
        .filter(|word| !workspace.join(word).exists())
        .map(|word| format!("{page}: names `{word}`, which does not exist"))
        .collect()
}
