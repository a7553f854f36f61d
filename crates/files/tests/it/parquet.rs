//! Parquet against what was written.

use std::path::Path;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::Compression;
use ::parquet::file::properties::WriterProperties;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use files::{FileSource, Malformed};
use flow::{ErrorKind, Source, Timestamp};
use proptest::prelude::*;
use serde::Deserialize;
use std::sync::Arc;

use crate::kit::{folder, rest, runtime, untimed, write};

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Edit {
    page: Option<String>,
    added: i64,
    time: jiff::Timestamp,
}

type Row = (Option<String>, Option<i64>, i64);

fn batch(rows: &[Row]) -> RecordBatch {
    let pages: StringArray = rows.iter().map(|(page, ..)| page.as_deref()).collect();
    let added: Int64Array = rows.iter().map(|(_, added, _)| *added).collect();
    let times =
        TimestampMicrosecondArray::from_iter_values(rows.iter().map(|(.., time)| *time)).with_timezone("UTC");
    let never_read: StringArray = rows.iter().map(|_| Some("not a field of the element")).collect();
    let columns: [(&str, ArrayRef); 4] = [
        ("page", Arc::new(pages)),
        ("unused", Arc::new(never_read)),
        ("added", Arc::new(added)),
        ("time", Arc::new(times)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, name != "time")))
        .unwrap()
}

fn file(rows: &[Row], group_rows: usize, compression: Compression) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group_rows))
        .set_compression(compression)
        .build();
    let batch = batch(rows);
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn edits(path: &Path) -> FileSource<Edit> {
    FileSource::parquet([path], |edit: &Edit| edit.time).unwrap()
}

fn element((page, added, time): &Row) -> Option<(Timestamp, Edit)> {
    let edit = Edit {
        page: page.clone(),
        added: (*added)?,
        time: jiff::Timestamp::from_microsecond(*time).unwrap(),
    };
    Some((Timestamp(time.div_euclid(1000)), edit))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn rows_that_were_written_are_read(
        rows in prop::collection::vec((prop::option::of("[a-z]{0,9}"), any::<i64>().prop_map(Some), -9_000_000i64..9_000_000), 0..40),
        group_rows in 1usize..20,
        compression in prop_oneof![
            Just(Compression::UNCOMPRESSED), Just(Compression::SNAPPY), Just(Compression::LZ4_RAW),
            Just(Compression::GZIP(Default::default())), Just(Compression::ZSTD(Default::default())),
        ],
    ) {
        let folder = folder(&[("a.parquet", file(&rows, group_rows, compression))]);
        let path = folder.path().join("a.parquet");
        let read = runtime().block_on(flow::laws::source(async || edits(&path)));
        let expected: Vec<_> = rows.iter().filter_map(element).collect();
        prop_assert_eq!(read.get("a.parquet").cloned().unwrap_or_default(), expected);
    }

    /// Rows without a value that the element needs are malformed, each by itself.
    #[test]
    fn a_row_that_does_not_fit_is_malformed(
        rows in prop::collection::vec((Just(None), prop::option::of(any::<i64>()), 0i64..9_000_000), 1..30),
    ) {
        let folder = folder(&[("a", file(&rows, 7, Compression::SNAPPY))]);
        let path = folder.path().join("a");
        let make = async || edits(&path).results(|_: &Malformed| Timestamp(-1));
        let read = runtime().block_on(flow::laws::source(make));
        let read: Vec<_> = untimed(&read["a"]).into_iter().map(|item| item.map_err(|malformed| malformed.line)).collect();
        let expected: Vec<_> =
            (1..).zip(&rows).map(|(row, it)| element(it).map(|(_, edit)| edit).ok_or(row)).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn damaged_files_are_errors(
        at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(),
    ) {
        let rows: Vec<Row> = (0..50).map(|n| (Some(format!("page {}", n % 7)), Some(n), n)).collect();
        let mut bytes = file(&rows, 20, Compression::SNAPPY);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if byte.is_multiple_of(2) {
            bytes.truncate(cut.index(bytes.len()));
        }
        let folder = folder(&[("a", bytes)]);
        // Some bytes do not matter, and there is no checksum: what is promised is an answer.
        match runtime().block_on(rest(&edits(&folder.path().join("a")), Default::default())) {
            Ok((parts, _)) => prop_assert!(parts.get("a").map_or(0, Vec::len) <= 50),
            // A value may have become one that the element cannot have: then it is its record that is named.
            Err(error) => {
                let text = error.to_string();
                prop_assert!(text.contains("file=") || text.contains("record=a:"), "{}", text);
            }
        }
    }
}

#[test]
fn no_parquet_and_fewer_rows() {
    let folder = folder(&[("a", b"{}\n".to_vec())]);
    let path = folder.path().join("a");
    let error = runtime()
        .block_on(rest(&edits(&path), Default::default()))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        error.to_string().starts_with("cannot be read as Parquet: "),
        "{error}"
    );

    write(&path, &file(&[(None, Some(1), 0)], 9, Compression::SNAPPY));
    let from = store::Progress::from_iter([("a", 2)]);
    let error = runtime().block_on(edits(&path).read(&from, None, 9)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("fewer rows"), "{error}");
}

/// A row that is malformed shows as JSON.
#[test]
fn the_raw_text_of_a_row() {
    let rows = [(Some("Wales".to_owned()), None, 1_000_000)];
    let folder = folder(&[("a", file(&rows, 9, Compression::SNAPPY))]);
    let results = edits(&folder.path().join("a")).results(|_| Timestamp(0));
    let (parts, _) = runtime().block_on(rest(&results, Default::default())).unwrap();
    let malformed = untimed(&parts["a"])[0].clone().unwrap_err();
    let raw = String::from_utf8(malformed.raw).unwrap();
    assert_eq!(raw, r#"{"page":"Wales","added":null,"time":1000000}"#);
    assert!(malformed.reason.contains("added"), "{}", malformed.reason);
}
