//! CSV against what was written, and against the `csv` crate's own reader.

use files::{Columns, CsvOptions, FileSource, Malformed};
use flow::Timestamp;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use store::Progress;

use crate::kit::{folder, packed, packing, rest, runtime, untimed};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sale {
    item: String,
    pieces: i64,
    note: Option<String>,
}

fn sales() -> impl Strategy<Value = Vec<Sale>> {
    let sale = (
        "[a-z\"\r\n, ä]{0,8}",
        any::<i64>(),
        prop::option::of("[\"\n\r,x]{1,5}"),
    )
        .prop_map(|(item, pieces, note)| Sale { item, pieces, note });
    prop::collection::vec(sale, 0..12)
}

fn pieces(sale: &Sale) -> Timestamp {
    Timestamp(sale.pieces % 1000)
}

fn options(columns: Columns, delimiter: u8) -> CsvOptions {
    let mut options = CsvOptions::default();
    (options.columns, options.delimiter) = (columns, delimiter);
    options
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_was_written_is_read(
        sales in sales(), how in packing(), header in any::<bool>(), delimiter in prop_oneof![Just(b','), Just(b';')],
        crlf in any::<bool>(),
    ) {
        let end = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
        let mut writer = csv::WriterBuilder::new()
            .has_headers(header)
            .delimiter(delimiter)
            .terminator(end)
            .from_writer(Vec::new());
        sales.iter().for_each(|sale| writer.serialize(sale).unwrap());
        let folder = folder(&[("a.csv", packed(&writer.into_inner().unwrap(), how))]);
        let names = ["item", "pieces", "note"].map(str::to_owned).to_vec();
        let columns = if header { Columns::Header } else { Columns::Given(names) };
        let make = async || {
            FileSource::csv_with([folder.path().join("a.csv")], options(columns.clone(), delimiter), pieces).unwrap()
        };
        let read = runtime().block_on(flow::laws::source(make));
        let expected: Vec<_> = sales.into_iter().map(|sale| (pieces(&sale), sale)).collect();
        prop_assert_eq!(read.get("a.csv").cloned().unwrap_or_default(), expected);
    }

    /// On any text whose quotes are closed, the records are those that the `csv` crate finds.
    #[test]
    fn any_text_is_what_the_csv_crate_reads(text in "([a-c0-9, \"\r\n]{0,40}|(\"[a,\n]{0,3}\"|[0-9]{0,2})(,|\n|\r\n)){0,12}") {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
        let expected: Vec<Vec<String>> = reader
            .records()
            .map(|record| record.unwrap().iter().map(str::to_owned).collect())
            .collect();
        let is_open = text.len() > 1 && {
            // With a line end and a mark at the end of it: is the mark a record of its own?
            let probe = format!("{text}\nmark");
            let mut probe = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(probe.as_bytes());
            probe.records().last().unwrap().unwrap().as_slice() != "mark"
        };
        prop_assume!(!is_open);
        let folder = folder(&[("a", text.clone().into_bytes())]);
        for columns in 1..4usize {
            let names: Vec<_> = (0..columns).map(|column| column.to_string()).collect();
            let given = options(Columns::Given(names), b',');
            let source = FileSource::<Vec<String>>::csv_with([folder.path().join("a")], given, |_| Timestamp(0));
            let source = source.unwrap().results(|_: &Malformed| Timestamp(1));
            let (read, _) = runtime().block_on(rest(&source, Progress::default())).unwrap();
            let read = untimed(read.get("a").map_or(&[], |items| items));
            let fits: Vec<_> = read.iter().map(|record| record.as_ref().ok().cloned()).collect();
            let expected: Vec<_> =
                expected.iter().map(|record| (record.len() == columns).then(|| record.clone())).collect();
            prop_assert_eq!(fits, expected);
        }
    }
}

#[test]
fn a_quote_that_is_never_closed_costs_its_line() {
    let folder = folder(&[("a", b"item,pieces,note\nx,1,\n\"y,2,\nz,3,\n".to_vec())]);
    let make = async || {
        FileSource::<Sale>::csv([folder.path().join("a")], pieces)
            .unwrap()
            .results(|_| Timestamp(0))
    };
    let read = untimed(&runtime().block_on(flow::laws::source(make))["a"]);
    assert_eq!(read[0].as_ref().unwrap().item, "x");
    let malformed = read[1].as_ref().unwrap_err();
    assert_eq!(
        malformed.to_string(),
        "a:3: a quote opens in it that is never closed"
    );
    assert_eq!(malformed.raw, b"\"y,2,");
    assert_eq!(read[2].as_ref().unwrap().item, "z");
    assert_eq!(read.len(), 3);
}
