//! What malformed records say, and what fails.

use files::{FileOptions, FileSource, Malformed};
use flow::{ErrorKind, Source, Timestamp};
use store::Progress;

use crate::kit::{Packing, folder, packed, rest, runtime, untimed};

fn numbers(folder: &tempfile::TempDir) -> FileSource<u64> {
    FileSource::ndjson([folder.path().join("*")], |number: &u64| {
        Timestamp(*number as i64)
    })
    .unwrap()
}

fn said(bytes: &[u8]) -> Vec<String> {
    let folder = folder(&[("n.json", bytes.to_vec())]);
    let results = numbers(&folder).results(|_| Timestamp(0));
    let (parts, _) = runtime().block_on(rest(&results, Progress::default())).unwrap();
    untimed(&parts["n.json"])
        .into_iter()
        .filter_map(Result::err)
        .map(|malformed| malformed.to_string())
        .collect()
}

#[test]
fn place_and_reason() {
    let of_text = said(b"1\n2 3\n\n\r\n\"x\"\n{\n9");
    let expected = [
        "n.json:2:3: trailing characters",
        "n.json:5:3: invalid type: string \"x\", expected u64",
        "n.json:6: invalid type: map, expected u64",
    ];
    assert_eq!(of_text, expected);
    let of_time = said(b"999999999\n999999999999999999\n1");
    let time = "outside the years -9999 to 9999: is it in milliseconds? time_ms=999999999999999999";
    assert_eq!(of_time, [format!("n.json:2: its event time is {time}")]);
}

#[test]
fn a_malformed_record_fails_the_reading() {
    let folder = folder(&[
        ("a.json", b"1\n2\n".to_vec()),
        ("b.json", b"3\n\nfour\n".to_vec()),
    ]);
    let error = runtime()
        .block_on(rest(&numbers(&folder), Progress::default()))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = error.to_string();
    assert!(text.ends_with("record=b.json:3:2: expected ident"), "{text}");
}

/// A line number is counted in lines of the file, also when the reading begins in its middle.
#[test]
fn lines_are_counted_from_the_beginning() {
    for how in [Packing::Plain, Packing::Gzip(2), Packing::Zstd(1)] {
        let text = "1\n\n2\n".repeat(100_000) + "x\n3\ny\n";
        let folder = folder(&[("a", packed(text.as_bytes(), how))]);
        let from = Progress::from_iter([("a", 5 * 99_999)]);
        let results = numbers(&folder).results(|_| Timestamp(0));
        let (parts, at) = runtime().block_on(rest(&results, from)).unwrap();
        let read = untimed(&parts["a"]);
        assert_eq!(read.len(), 5);
        assert_eq!(read[2].as_ref().unwrap_err().line, 300_001);
        assert_eq!(read[4].as_ref().unwrap_err().line, 300_003);
        assert_eq!(at.of("a"), text.len() as u64);
    }
}

#[test]
fn a_long_line_is_malformed_and_not_held() {
    let mut options = FileOptions::default();
    options.record_bytes_max = 1000;
    let long = "7".repeat(300_000);
    let folder = folder(&[("a", format!("1\n{long}\n2\n{long}").into_bytes())]);
    let make = async || {
        let source = FileSource::text([folder.path().join("a")], |_| Timestamp(0)).unwrap();
        source
            .with_options(options.clone())
            .results(|_: &Malformed| Timestamp(0))
    };
    let read = untimed(&runtime().block_on(flow::laws::source(make))["a"]);
    assert_eq!(read.len(), 4);
    assert_eq!(read[2], Ok("2".to_owned()));
    for (at, line) in [(1, 2), (3, 4)] {
        let malformed = read[at].clone().unwrap_err();
        assert_eq!(
            (malformed.line, malformed.raw.len()),
            (line, files::limits::RAW_BYTES_MAX)
        );
        assert!(
            malformed
                .reason
                .contains("raise `record_bytes_max` bytes_max=1000"),
            "{malformed}"
        );
    }
}

#[test]
fn a_malformed_record_needs_a_time() {
    let folder = folder(&[("a", b"x\n".to_vec())]);
    let results = numbers(&folder).results(|_| None::<Timestamp>);
    let error = runtime()
        .block_on(results.read(&Progress::default(), None, 1))
        .unwrap_err();
    assert!(error.to_string().contains("given no event time"), "{error}");
}

/// A function of the user's that panics is an error of the job.
#[test]
fn a_panic_is_an_error() {
    let folder = folder(&[("a", b"1\n".to_vec())]);
    let source = FileSource::ndjson([folder.path().join("a")], |number: &u64| {
        assert!(*number > 1, "numbers begin with 2");
        Timestamp(0)
    });
    let error = runtime()
        .block_on(source.unwrap().read(&Progress::default(), None, 1))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("numbers begin with 2"), "{error}");
}
