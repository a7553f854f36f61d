//! Text and NDJSON against `str::lines`.

use files::{FileSource, Malformed};
use flow::Timestamp;
use proptest::prelude::*;

use crate::kit::{Packing, folder, packed, packing, runtime, untimed};

/// Lines with all sorts of ends, as one text.
fn text() -> impl Strategy<Value = String> {
    let end = prop_oneof![4 => Just("\n"), 2 => Just("\r\n"), 1 => Just("\n\n"), 1 => Just("\r")];
    let line = ("[a-z\"{}, äß漢😀]{0,20}", end).prop_map(|(line, end)| line + end);
    (prop::collection::vec(line, 0..12), "[a-zä]{0,3}").prop_map(|(lines, last)| lines.concat() + &last)
}

fn length(line: &str) -> Timestamp {
    Timestamp(line.len() as i64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn text_is_its_lines(texts in prop::collection::vec((text(), packing()), 1..4)) {
        let names = ["a.txt", "b.txt", "c.txt"];
        let files: Vec<_> =
            names.into_iter().zip(&texts).map(|(name, (text, how))| (name, packed(text.as_bytes(), *how))).collect();
        let folder = folder(&files);
        let make = async || FileSource::text([folder.path().join("*.txt")], length).unwrap();
        let read = runtime().block_on(flow::laws::source(make));
        for (name, (text, _)) in names.iter().zip(&texts) {
            let expected: Vec<_> = text.lines().map(|line| (length(line), line.to_owned())).collect();
            prop_assert_eq!(read.get(*name).cloned().unwrap_or_default(), expected);
        }
    }

    /// Whatever the bytes are: each line is an element or malformed, in order, and nothing panics.
    #[test]
    fn bytes_are_lines_or_malformed(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'1')], 0..200), how in packing(),
    ) {
        let folder = folder(&[("a", packed(&bytes, how))]);
        let path = folder.path().join("a");
        prop_assume!(how != Packing::Plain || ![0x1F, 0x28, 0xEF].iter().any(|first| bytes.first() == Some(first)));
        prop_assume!(!bytes.starts_with(&[0xEF]));
        let make = async || {
            FileSource::<u8>::ndjson([&path], |_| Timestamp(1)).unwrap().results(|_: &Malformed| Timestamp(0))
        };
        let read = runtime().block_on(flow::laws::source(make));
        let mut expected = Vec::new();
        for (i, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let line = if bytes.len() > line.len() { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
            if line.trim_ascii().is_empty() {
                continue;
            }
            expected.push(serde_json::from_slice::<u8>(line).map_err(|_| (i as u64 + 1, line.to_vec())));
        }
        let read = untimed(read.get("a").map_or(&[], |items| items));
        let read: Vec<_> = read.into_iter().map(|item| item.map_err(|malformed| (malformed.line, malformed.raw))).collect();
        // A carriage return before the end of the file is white space of JSON, but stays in what is raw.
        let trimmed = |item: &Result<u8, (u64, Vec<u8>)>| {
            item.clone().map_err(|(line, raw)| (line, raw.strip_suffix(b"\r").map_or(raw.clone(), <[u8]>::to_vec)))
        };
        prop_assert_eq!(
            read.iter().map(trimmed).collect::<Vec<_>>(), expected.iter().map(trimmed).collect::<Vec<_>>()
        );
    }
}
