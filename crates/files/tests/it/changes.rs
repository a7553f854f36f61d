//! What is named, and files that change between runs.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use files::{FileOptions, FileSource, Gone};
use flow::{ErrorKind, Source, Timestamp};
use store::Progress;

use crate::kit::{Packing, folder, packed, rest, runtime, untimed, write};

fn lines(pattern: &Path) -> flow::Result<FileSource<String>> {
    FileSource::text([pattern], |_| Timestamp(0))
}

fn invalid(pattern: &Path, text: &str) {
    let error = lines(pattern).err().unwrap();
    assert!(error.to_string().contains(text), "{error}");
}

fn read(source: &FileSource<String>, from: Progress) -> flow::Result<(Vec<(String, Vec<String>)>, Progress)> {
    let (parts, at) = runtime().block_on(rest(source, from))?;
    Ok((
        parts
            .iter()
            .map(|(part, items)| (part.clone(), untimed(items)))
            .collect(),
        at,
    ))
}

#[test]
fn parts_are_named_from_the_first_wildcard() {
    let files = [
        "logs/2015/09/a.log",
        "logs/2015/10/a.log",
        "logs/2015/.half",
        "logs/2016/09/b.log",
    ];
    let folder = folder(&files.map(|name| (name, b"x\n".to_vec())));
    let parts = |patterns: &[&str]| -> flow::Result<Vec<String>> {
        let patterns = patterns.iter().map(|pattern| folder.path().join(pattern));
        let source = FileSource::text(patterns, |_| Timestamp(0))?;
        Ok(source.parts().map(str::to_owned).collect())
    };
    assert_eq!(parts(&["logs/2015/*/*.log"]).unwrap(), ["09/a.log", "10/a.log"]);
    assert_eq!(
        parts(&["logs/**/*.log"]).unwrap(),
        ["2015/09/a.log", "2015/10/a.log", "2016/09/b.log"]
    );
    assert_eq!(parts(&["logs/2016/09/b.log"]).unwrap(), ["b.log"]);
    assert_eq!(parts(&["logs/2015/.half"]).unwrap(), [".half"]);
    assert_eq!(
        parts(&["logs/2016/09/b.log", "logs/2016/09/*"]).unwrap(),
        ["b.log"],
        "one file, named twice"
    );
    let twice = parts(&["logs/2015/09/a.log", "logs/2015/10/a.log"]).unwrap_err();
    assert!(
        twice
            .to_string()
            .starts_with("two files have one name in the progress"),
        "{twice}"
    );
    assert!(
        parts(&[])
            .unwrap_err()
            .to_string()
            .starts_with("no file is named")
    );
}

#[test]
fn what_is_no_file() {
    let folder = folder(&[("a", Vec::new())]);
    invalid(folder.path(), "a folder is no file: name its files, for instance");
    invalid(&folder.path().join("b"), "no file matches pattern=");
    invalid(&folder.path().join("*.json"), "no file matches pattern=");
    invalid(&folder.path().join("[a"), "not a pattern");
    let empty = lines(&folder.path().join("a")).unwrap();
    assert_eq!(read(&empty, Progress::default()).unwrap().0, []);
}

#[test]
fn the_next_run_reads_what_is_new() {
    for how in [Packing::Plain, Packing::Gzip(1), Packing::Zstd(1)] {
        let folder = folder(&[("a", packed(b"1\n2\n", how))]);
        let pattern = folder.path().join("*");
        let (_, at) = read(&lines(&pattern).unwrap(), Progress::default()).unwrap();
        let again = read(&lines(&pattern).unwrap(), at.clone()).unwrap();
        assert_eq!(again, (vec![], at.clone()));

        let mut file = OpenOptions::new()
            .append(true)
            .open(folder.path().join("a"))
            .unwrap();
        file.write_all(&packed(b"3\n", how)).unwrap();
        write(&folder.path().join("b"), b"4");
        let (parts, at) = read(&lines(&pattern).unwrap(), at).unwrap();
        assert_eq!(
            parts,
            [
                ("a".to_owned(), vec!["3".to_owned()]),
                ("b".to_owned(), vec!["4".to_owned()])
            ]
        );
        assert_eq!(at, Progress::from_iter([("a", 6), ("b", 1)]));
    }
}

/// What is appended while a source reads is the next one's.
#[test]
fn a_source_ends_where_its_files_ended() {
    let folder = folder(&[("a", b"1\n2".to_vec())]);
    let path = folder.path().join("a");
    let source = lines(&path).unwrap();
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"0\n3\n").unwrap();
    let (parts, at) = read(&source, Progress::default()).unwrap();
    assert_eq!(parts[0].1, ["1", "2"]);
    let error = read(&lines(&path).unwrap(), at).unwrap_err();
    assert!(
        error.to_string().contains("its last line was unfinished before"),
        "{error}"
    );
}

#[test]
fn changed_files_are_refused() {
    for how in [Packing::Plain, Packing::Gzip(1), Packing::Zstd(1)] {
        let folder = folder(&[("a", packed(b"11\n22\n33\n", how))]);
        let path = folder.path().join("a");
        let source = lines(&path).unwrap();
        for (offset, text) in [
            (2, "a record does not begin"),
            (10, "shorter"),
            (1_000_000, "shorter"),
        ] {
            let from = Progress::from_iter([("a", offset)]);
            let error = read(&source, from).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.to_string().contains(text), "offset={offset}: {error}");
        }
        for until in [5, 10] {
            let until = Progress::from_iter([("a", until)]);
            let read = runtime().block_on(source.read(&Progress::default(), Some(&until), 100));
            assert_eq!(read.unwrap_err().kind(), ErrorKind::Corrupt);
        }
        // Replaced while it was read.
        let other = write(&folder.path().join("b"), &packed(b"44\n55\n66\n77\n", how));
        fs::rename(other, &path).unwrap();
        let error = read(&source, Progress::default()).unwrap_err();
        assert!(error.to_string().contains("it was replaced"), "{error}");
    }
}

#[test]
fn damaged_compression_is_an_error() {
    for how in [Packing::Gzip(1), Packing::Zstd(1)] {
        let whole = packed("some text to be packed\n".repeat(50).as_bytes(), how);
        let folder = folder(&[("a", whole[..whole.len() - 9].to_vec())]);
        let error = read(&lines(&folder.path().join("a")).unwrap(), Progress::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains("file="), "{error}");
    }
}

#[test]
fn a_file_that_is_gone() {
    let folder = folder(&[("a", b"1\n".to_vec()), ("b", b"2\n".to_vec())]);
    let pattern = folder.path().join("*");
    let (_, at) = read(&lines(&pattern).unwrap(), Progress::default()).unwrap();
    fs::rename(folder.path().join("a"), folder.path().join("c")).unwrap();
    let error = read(&lines(&pattern).unwrap(), at.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("was it renamed?"), "{error}");

    let mut options = FileOptions::default();
    options.gone = Gone::Passed;
    let source = lines(&pattern).unwrap().with_options(options);
    let (parts, _) = read(&source, at.clone()).unwrap();
    assert_eq!(
        parts,
        [("c".to_owned(), vec!["1".to_owned()])],
        "a renamed file counts again"
    );
    let ahead = Progress::from_iter([("a", 9)]);
    let error = runtime().block_on(source.read(&at, Some(&ahead), 1)).unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::NotFound,
        "what has to be read again is not there"
    );
}
