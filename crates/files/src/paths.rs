//! From what the user names to files: patterns are expanded, and each file gets the name of its part.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use flow::{Error, ErrorKind, Result};

use crate::limits::FILES_MAX;

/// A file as it was when the source was made.
#[derive(Debug, PartialEq)]
pub(crate) struct DataFile {
    pub(crate) path: PathBuf,
    /// Its name in the progress.
    pub(crate) part: String,
    pub(crate) bytes: u64,
    /// Device and number, which another file of this name does not have.
    id: (u64, u64),
}

impl DataFile {
    /// Opens it. `Corrupt` if it is not the file that it was.
    pub(crate) fn open(&self) -> Result<File> {
        let file = File::open(&self.path).map_err(|error| self.io(error))?;
        let now = file.metadata().map_err(|error| self.io(error))?;
        if id(&now) != self.id || now.len() < self.bytes {
            return Err(self.changed("it was replaced or cut off while it was read"));
        }
        Ok(file)
    }

    /// A file that no longer is what some offset was taken in.
    pub(crate) fn changed(&self, how: &str) -> Error {
        let text = format!(
            "a file may only grow by whole records once it has been read: {how}: restore it, or start the job with \
             empty tails file={}",
            self.path.display()
        );
        Error::new(ErrorKind::Corrupt, text)
    }

    pub(crate) fn io(&self, error: io::Error) -> Error {
        io_error(&self.path, error)
    }
}

fn id(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn io_error(path: &Path, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory => ErrorKind::Invalid,
        // What decompression says of bytes that it cannot have made.
        io::ErrorKind::InvalidData
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::UnexpectedEof
        | io::ErrorKind::Other => ErrorKind::Corrupt,
        _ => ErrorKind::Retry,
    };
    let text = format!("cannot read a file: {error} file={}", path.display());
    Error::new(kind, text).with_source(error)
}

/// The files of some paths and patterns, in the order of their parts.
pub(crate) fn expand(patterns: impl IntoIterator<Item = impl AsRef<Path>>) -> Result<Vec<Arc<DataFile>>> {
    let mut files = BTreeMap::<String, DataFile>::new();
    for pattern in patterns {
        let pattern = pattern.as_ref();
        for (path, base) in matches(pattern)? {
            let file = data_file(path, &base)?;
            match files.get(&file.part) {
                Some(other) if other.id == file.id => continue,
                Some(other) => {
                    let text = format!(
                        "two files have one name in the progress: name them by one pattern from a folder above both \
                         name={:?} file={} other={}",
                        file.part,
                        file.path.display(),
                        other.path.display()
                    );
                    return Err(Error::new(ErrorKind::Invalid, text));
                }
                None => files.insert(file.part.clone(), file),
            };
            if files.len() > FILES_MAX {
                let text = format!(
                    "too many files for one source: join them, or make several sources max={FILES_MAX} pattern={}",
                    pattern.display()
                );
                return Err(Error::new(ErrorKind::Invalid, text));
            }
        }
    }
    if files.is_empty() {
        let text = "no file is named: give a path or a pattern such as data/*.json";
        return Err(Error::new(ErrorKind::NotFound, text));
    }
    Ok(files.into_values().map(Arc::new).collect())
}

/// The files of one pattern, each with the folder that its part is named from.
fn matches(pattern: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    if pattern.exists() {
        if pattern.is_dir() {
            let text = format!(
                "a folder is no file: name its files, for instance {}",
                pattern.join("*").display()
            );
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let base = pattern.parent().unwrap_or(Path::new("")).to_owned();
        return Ok(vec![(pattern.to_owned(), base)]);
    }
    let nothing = || {
        let text = format!("no file matches pattern={}", pattern.display());
        Error::new(ErrorKind::NotFound, text)
    };
    let text = pattern.to_str().ok_or_else(nothing)?;
    // As in a shell, `*` finds no hidden files: half-written ones are often named so.
    let options = glob::MatchOptions {
        require_literal_separator: true,
        require_literal_leading_dot: true,
        ..glob::MatchOptions::new()
    };
    let found = glob::glob_with(text, options).map_err(|error| {
        let text = format!("not a pattern: {error} pattern={text}");
        Error::new(ErrorKind::Invalid, text)
    })?;
    let base = literal_base(pattern);
    let mut files = Vec::new();
    for path in found {
        let path = path.map_err(|error| io_error(&error.path().to_owned(), error.into()))?;
        if !path.is_dir() {
            files.push((path, base.clone()));
        }
    }
    if files.is_empty() {
        Err(nothing())
    } else {
        Ok(files)
    }
}

/// The folders of a pattern before its first wildcard.
fn literal_base(pattern: &Path) -> PathBuf {
    let is_literal = |component: &Component<'_>| {
        let text = component.as_os_str().to_string_lossy();
        !text.contains(['*', '?', '['])
    };
    let folders = pattern.parent().unwrap_or(Path::new(""));
    folders.components().take_while(is_literal).collect()
}

fn data_file(path: PathBuf, base: &Path) -> Result<DataFile> {
    let metadata = path.metadata().map_err(|error| io_error(&path, error))?;
    if !metadata.is_file() {
        let text = format!(
            "neither a file nor a link to one: it cannot be read twice path={}",
            path.display()
        );
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    let clean: PathBuf = path.components().collect();
    let name = clean.strip_prefix(base).unwrap_or(&clean);
    let part = name.to_str().ok_or_else(|| {
        let text = format!(
            "a file's name is not UTF-8, so it cannot be in the progress: rename it file={}",
            path.display()
        );
        Error::new(ErrorKind::Invalid, text)
    })?;
    Ok(DataFile {
        part: part.to_owned(),
        bytes: metadata.len(),
        id: id(&metadata),
        path,
    })
}
