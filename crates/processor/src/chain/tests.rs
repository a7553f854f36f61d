//! Rows and rejects of random chains are what a naive twin says, each event in one place; and what breaks a contract.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray, StringViewArray,
    UInt32Array, UInt64Array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use event::{
    Batch, BatchHeader, BatchKey, DatasetSchema, DatasetSettings, ERROR_COLUMN, EmitterId, Encoding, Epoch,
    ROW_COLUMN, Reject, Sequence, Udf, UdfError, UdfErrorKind,
};
use jiff::Timestamp;
use proptest::prelude::*;
use queue::{Offset, Partition, Record};

use super::{Chain, Chains};
use crate::NativeUdf;
use crate::limits::STEP_OUT_BYTES_MAX;

/// A step that a twin can do by hand. Rows have a number `n`, and `c`, which copy they are.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Keep(i64),
    Add(i64),
    /// 0 to 2 rows of each.
    Explode,
    /// Fails the call if a number is divisible.
    FailRow(i64),
    /// The same by the column.
    ErrorColumn(i64),
    Panic(i64),
    /// Gives back a row that did not go in.
    Lie(i64),
    /// Gives the rows in the reverse order.
    Reverse,
    /// No columns but the one that counts.
    Forget,
}

fn divides(d: i64, n: i64) -> bool {
    n.rem_euclid(d) == 0
}

fn numbers(rows: &RecordBatch, name: &str) -> Vec<i64> {
    let column = rows
        .column_by_name(name)
        .map(|column| column.as_primitive::<Int64Type>());
    (0..rows.num_rows())
        .map(|row| {
            column
                .filter(|column| column.is_valid(row))
                .map_or(0, |column| column.value(row))
        })
        .collect()
}

fn column(name: &str, values: Vec<i64>) -> (String, ArrayRef) {
    (name.to_owned(), Arc::new(Int64Array::from(values)))
}

fn step(index: usize, kind: Kind) -> Arc<dyn Udf> {
    let name = format!("{index}");
    let any = |rows: &RecordBatch, d: i64| numbers(rows, "n").into_iter().any(|n| divides(d, n));
    Arc::new(match kind {
        Kind::Keep(d) => NativeUdf::filter(&name, move |rows| {
            Ok(numbers(rows, "n")
                .into_iter()
                .map(|n| Some(!divides(d, n)))
                .collect::<BooleanArray>())
        }),
        Kind::Add(by) => NativeUdf::columns(&name, move |rows| {
            Ok(vec![column(
                "n",
                numbers(rows, "n").into_iter().map(|n| n + by).collect(),
            )])
        }),
        Kind::Explode => NativeUdf::new(&name, |rows| {
            let (mut from, mut copies) = (Vec::new(), Vec::new());
            for (row, (n, c)) in numbers(rows, "n").into_iter().zip(numbers(rows, "c")).enumerate() {
                for copy in 0..n.rem_euclid(3) {
                    from.push(row as u32);
                    copies.push(c * 4 + copy);
                }
            }
            let rows = take_record_batch(rows, &UInt32Array::from(from)).expect("the rows are there");
            crate::native::with_columns(&rows, vec![column("c", copies)])
        }),
        Kind::FailRow(d) => NativeUdf::new(&name, move |rows| match any(rows, d) {
            true => Err(UdfError::new(UdfErrorKind::Row, "divisible")),
            false => Ok(rows.clone()),
        }),
        Kind::ErrorColumn(d) => NativeUdf::columns(&name, move |rows| {
            let errors = numbers(rows, "n")
                .into_iter()
                .map(|n| divides(d, n).then_some("divisible"));
            Ok(vec![(
                ERROR_COLUMN.to_owned(),
                Arc::new(errors.collect::<StringArray>()) as ArrayRef,
            )])
        }),
        Kind::Panic(d) => NativeUdf::new(&name, move |rows| {
            assert!(!any(rows, d), "divisible");
            Ok(rows.clone())
        }),
        Kind::Lie(d) => NativeUdf::columns(&name, move |rows| {
            let lie = u32::from(any(rows, d));
            let places = (0..rows.num_rows() as u32)
                .map(|row| row + lie)
                .collect::<UInt32Array>();
            Ok(vec![(ROW_COLUMN.to_owned(), Arc::new(places) as ArrayRef)])
        }),
        Kind::Reverse => NativeUdf::new(&name, |rows| {
            let order: UInt32Array = (0..rows.num_rows() as u32).rev().collect();
            Ok(take_record_batch(rows, &order).expect("the rows are there"))
        }),
        Kind::Forget => NativeUdf::new(&name, |rows| {
            let at = rows.schema().index_of(ROW_COLUMN).expect("it goes in");
            Ok(rows.project(&[at]).expect("it is there"))
        }),
    })
}

/// Rows as `(line, n, c)`, and rejects as line → (stage, step).
type Outcome = (Vec<(u32, i64, i64)>, BTreeMap<u32, (String, Option<String>)>);

/// The same by hand: a batch's lines, `None` for one that is no event.
fn twin(kinds: &[Kind], lines: &[Option<i64>]) -> Outcome {
    let mut rejects = BTreeMap::new();
    let mut rows = Vec::new();
    for (line, n) in (1u32..).zip(lines) {
        match n {
            Some(n) => rows.push((line, *n, 0)),
            None => drop(rejects.insert(line, ("decode".to_owned(), None))),
        }
    }
    for (index, kind) in kinds.iter().enumerate() {
        let divisible = |d: i64| rows.iter().filter(move |row| divides(d, row.1)).map(|row| row.0);
        let bad: Vec<u32> = match *kind {
            Kind::FailRow(d) | Kind::ErrorColumn(d) => divisible(d).collect(),
            Kind::Panic(d) | Kind::Lie(d) if divisible(d).next().is_some() => {
                rows.iter().map(|row| row.0).collect()
            }
            _ => Vec::new(),
        };
        rows.retain(|row| !bad.contains(&row.0));
        for line in bad {
            rejects.insert(line, ("udf".to_owned(), Some(index.to_string())));
        }
        rows = match *kind {
            Kind::Keep(d) => rows.into_iter().filter(|row| !divides(d, row.1)).collect(),
            Kind::Add(by) => rows.into_iter().map(|(line, n, c)| (line, n + by, c)).collect(),
            Kind::Explode => {
                let copies = |(line, n, c): (u32, i64, i64)| {
                    (0..n.rem_euclid(3)).map(move |copy| (line, n, c * 4 + copy))
                };
                rows.into_iter().flat_map(copies).collect()
            }
            Kind::Forget => rows.into_iter().map(|(line, ..)| (line, 0, 0)).collect(),
            _ => rows,
        };
    }
    (rows, rejects)
}

fn record(offset: u64, payload: String) -> Record {
    let now = Timestamp::from_second(1_700_000_000).expect("a time");
    Record {
        partition: Partition(0),
        offset: Offset(offset),
        batch: Batch {
            dataset: "d".parse().expect("a name"),
            header: BatchHeader {
                key: BatchKey {
                    emitter: EmitterId(uuid::Uuid::from_u128(1)),
                    epoch: Epoch(0),
                    sequence: Sequence(offset),
                },
                events: payload.lines().count() as u32,
                encoding: Encoding::Ndjson,
                generated_at: now,
                received_at: now,
            },
            payload: payload.into(),
        },
    }
}

fn chains(steps: Vec<Arc<dyn Udf>>) -> Chains {
    let chain = Chain::new(steps)
        .expect("the names differ")
        .with_call_time_max(Duration::from_secs(60));
    let table = Arc::new(DatasetSchema::empty());
    Chains::new(table, &DatasetSettings::default(), &chain, Arc::default()).unwrap()
}

fn run(chains: &Chains, payload: &str) -> (Vec<RecordBatch>, Vec<Reject>) {
    let (rows, rejects, _) = chains.begin(record(0, payload.to_owned())).finish();
    (rows, rejects)
}

/// One batch of numbers of a step; the reason of its only kind of reject, and how many there are.
fn rejected(
    apply: impl Fn(&RecordBatch) -> Result<RecordBatch, UdfError> + Send + Sync + 'static,
) -> (String, usize) {
    let (rows, rejects) = run(
        &chains(vec![Arc::new(NativeUdf::new("s", apply))]),
        "{\"n\":1}\n{\"n\":2}",
    );
    assert!(rows.is_empty());
    assert!(
        rejects.iter().all(|reject| reject.reason == rejects[0].reason),
        "{rejects:?}"
    );
    (rejects[0].reason.clone(), rejects.len())
}

fn kinds() -> impl Strategy<Value = Vec<Kind>> {
    let kind = prop_oneof![
        (2i64..5).prop_map(Kind::Keep),
        (-3i64..4).prop_map(Kind::Add),
        Just(Kind::Explode),
        (2i64..30).prop_map(Kind::FailRow),
        (2i64..30).prop_map(Kind::ErrorColumn),
        (20i64..200).prop_map(Kind::Panic),
        (20i64..200).prop_map(Kind::Lie),
        Just(Kind::Reverse),
        Just(Kind::Forget),
    ];
    prop::collection::vec(kind, 0..6)
}

proptest! {
    #[test]
    fn each_event_is_in_one_place_and_it_is_the_one_that_a_twin_says(
        kinds in kinds(),
        batches in prop::collection::vec(prop::collection::vec(prop::option::weighted(0.9, -50i64..50), 1..40), 1..4),
    ) {
        let chains = chains(kinds.iter().enumerate().map(|(index, kind)| step(index, *kind)).collect());
        for (offset, batch) in (0..).zip(batches) {
            let line = |n: &Option<i64>| n.map_or("oh no".to_owned(), |n| format!("{{\"n\":{n},\"c\":0}}"));
            let lines: Vec<String> = batch.iter().map(line).collect();
            let mut work = chains.begin(record(offset, lines.join("\n")));
            for _ in &kinds {
                work = work.step();
            }
            let at: Vec<u32> = work.parts.iter().flat_map(|part| part.lines.clone()).collect();
            let (rows, rejects, _) = work.finish();
            let all = |name| rows.iter().flat_map(|rows| numbers(rows, name)).collect::<Vec<_>>();
            let got: Vec<(u32, i64, i64)> =
                at.into_iter().zip(all("n")).zip(all("c")).map(|((line, n), c)| (line, n, c)).collect();
            let (expected, expected_rejects) = twin(&kinds, &batch);
            prop_assert_eq!(got, expected);
            let mut got = BTreeMap::new();
            for reject in &rejects {
                prop_assert_eq!(&reject.raw, lines[reject.line as usize - 1].as_bytes());
                let step = reject.step.as_deref().map(str::to_owned);
                prop_assert!(got.insert(reject.line, (reject.stage.to_owned(), step)).is_none());
            }
            prop_assert_eq!(got, expected_rejects);
        }
    }
}

#[test]
fn what_breaks_the_contract_rejects_the_rows_of_the_call_and_says_how() {
    let with = |name: &'static str, column: ArrayRef| {
        move |rows: &RecordBatch| {
            crate::native::with_columns(rows, vec![(name.to_owned(), column.slice(0, rows.num_rows()))])
        }
    };
    let places = |places: Vec<Option<u32>>| with(ROW_COLUMN, Arc::new(UInt32Array::from(places)));
    let text = |words: &[&str]| Arc::new(StringViewArray::from(words.to_vec())) as ArrayRef;
    let check = |got: (String, usize), text: &str| assert_eq!(got, (text.to_owned(), 2));
    check(
        rejected(|rows| Ok(rows.project(&[0]).expect("it is there"))),
        "the column _row is missing: hand it on with the rows",
    );
    check(
        rejected(places(vec![Some(0), None])),
        "the column _row has nulls nulls=1",
    );
    check(
        rejected(places(vec![Some(0), Some(2)])),
        "the column _row names a row that did not go in row=2 rows=2",
    );
    check(
        rejected(with(ROW_COLUMN, Arc::new(UInt64Array::from(vec![0, 1])))),
        "the column _row is of another type type=UInt64 must_be=UInt32",
    );
    check(
        rejected(with(ERROR_COLUMN, Arc::new(UInt64Array::from(vec![0, 1])))),
        "the column _error must be text type=UInt64",
    );
    let durations = Arc::new(arrow::array::DurationSecondArray::from(vec![1, 2]));
    check(
        rejected(with("took", durations)),
        "field took: columns of this type are not stored, cast it type=Duration(s)",
    );
    check(
        rejected(with("big", Arc::new(UInt64Array::from(vec![u64::MAX; 2])))),
        "field big: Cast error: Can't cast value 18446744073709551615 to type Int64",
    );
    let (reason, _) = rejected(with("eventTime", text(&["noon", "noon"])));
    assert!(reason.starts_with("the event's time is not RFC 3339"), "{reason}");
    check(rejected(|_| panic!("oh")), "the function panicked panic=\"oh\"");
}

#[test]
fn a_step_may_set_the_time_and_nothing_else_of_the_system() {
    let set = NativeUdf::columns("set", |_| {
        let text = |words: [&str; 2]| Arc::new(StringViewArray::from(words.to_vec())) as ArrayRef;
        let times = ["2023-11-14T00:00:00Z", "2033-11-14T00:00:00Z"];
        Ok(vec![
            ("eventtime".to_owned(), text(times)),
            ("_emitter".to_owned(), text(["me", "me"])),
        ])
    });
    let (rows, rejects) = run(&chains(vec![Arc::new(set)]), "{\"n\":1}\n{\"n\":2,\"_row\":7}");
    assert_eq!(rows[0].num_rows(), 1);
    let time = rows[0]
        .column(2)
        .as_primitive::<TimestampMicrosecondType>()
        .value(0);
    assert_eq!(time, 1_699_920_000_000_000);
    assert_ne!(rows[0].column(3).as_string_view().value(0), "me");
    assert_eq!((rejects[0].line, rejects[0].stage), (2, "validate"));
    assert!(
        rejects[0].reason.contains("too far after its receipt"),
        "{}",
        rejects[0].reason
    );
    assert_eq!(rejects[0].raw, br#"{"n":2,"_row":7}"#);
}

#[test]
fn fields_with_names_of_the_contract_are_kept_in_extra() {
    let same = NativeUdf::new("same", |rows| Ok(rows.clone()));
    let (rows, rejects) = run(&chains(vec![Arc::new(same)]), r#"{"n":1,"_ROW":7,"_error":"x"}"#);
    assert!(rejects.is_empty());
    let extra: serde_json::Value =
        serde_json::from_str(rows[0].column(5).as_string_view().value(0)).expect("JSON");
    assert_eq!(extra, serde_json::json!({"_ROW": 7, "_error": "x"}));
}

#[test]
fn what_does_not_fit_the_table_is_rejected_by_its_value() {
    let chains = chains(vec![Arc::new(NativeUdf::new("as", |rows| {
        // The type of the column changes with the first number.
        let ns = numbers(rows, "n");
        let new: ArrayRef = match ns[0] {
            0 => Arc::new(Int64Array::from(ns)),
            1 => Arc::new(
                ns.iter()
                    .map(|n| Some(*n as f64 / 2.0))
                    .collect::<arrow::array::Float64Array>(),
            ),
            _ => Arc::new(
                ns.iter()
                    .map(|n| (n % 2 == 0).then(|| n.to_string()))
                    .collect::<StringViewArray>(),
            ),
        };
        crate::native::with_columns(rows, vec![("n".to_owned(), new)])
    }))]);
    let check = |payload: &str, expected: &[i64], lines: &[u32]| {
        let (rows, rejects) = run(&chains, payload);
        let got: Vec<i64> = rows.iter().flat_map(|rows| numbers(rows, "n")).collect();
        assert_eq!(got, expected);
        let got: Vec<u32> = rejects.iter().map(|reject| reject.line).collect();
        assert_eq!(got, lines);
        assert!(
            rejects
                .iter()
                .all(|reject| reject.stage == "validate" && reject.step.is_none())
        );
    };
    check("{\"n\":0}\n{\"n\":4}", &[0, 4], &[]);
    check("{\"n\":1}\n{\"n\":4}\n{\"n\":6}", &[2, 3], &[1]);
    check("{\"n\":2}\n{\"n\":3}\n{\"n\":4}", &[0], &[1, 3]);
}

#[test]
fn a_call_that_does_not_return_costs_its_rows_and_those_until_it_does() {
    let (release, released) = std::sync::mpsc::sync_channel::<()>(0);
    let released = std::sync::Mutex::new(released);
    let wait = NativeUdf::new("wait", move |rows| {
        if numbers(rows, "n") == [0] {
            let _ = released.lock().map(|released| released.recv());
        }
        Ok(rows.clone())
    });
    let chain = Chain::new(vec![Arc::new(wait)])
        .expect("a chain")
        .with_call_time_max(Duration::from_secs(2));
    let table = Arc::new(DatasetSchema::empty());
    let chains = Chains::new(table, &DatasetSettings::default(), &chain, Arc::default()).unwrap();
    let reason = |payload| {
        let (rows, rejects) = run(&chains, payload);
        assert!(rows.is_empty());
        rejects[0].reason.clone()
    };
    assert_eq!(
        reason("{\"n\":0}"),
        "the function took too long rows=1 time_max=2s"
    );
    assert!(reason("{\"n\":1}").starts_with("an earlier call has not returned"));
    assert_eq!(chains.newest().status().steps[0].stuck_calls, 1);
    release.send(()).expect("the call waits");
    while chains.newest().status().steps[0].stuck_calls > 0 {
        std::thread::yield_now();
    }
    let (rows, rejects) = run(&chains, "{\"n\":1}");
    assert_eq!((rows.len(), rejects.len()), (1, 0));
    let status = chains.newest().status();
    let step = &status.steps[0];
    assert_eq!(
        (
            step.calls,
            step.broken_calls,
            step.rows_in,
            step.rows_out,
            step.rejects
        ),
        (2, 1, 3, 1, 2)
    );
}

#[test]
fn bad_rows_beyond_the_calls_are_rejected_with_their_neighbours() {
    let bad = |rows: &RecordBatch| numbers(rows, "n").iter().any(|n| n % 2 == 0);
    let fail = NativeUdf::new("fail", move |rows| match bad(rows) {
        true => Err(UdfError::new(UdfErrorKind::Row, "even")),
        false => Ok(rows.clone()),
    });
    let chains = chains(vec![Arc::new(fail)]);
    let lines: Vec<String> = (0..10_000).map(|n| format!("{{\"n\":{n}}}")).collect();
    let (rows, rejects) = run(&chains, &lines.join("\n"));
    let rows: usize = rows.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows + rejects.len(), 10_000);
    assert!(rejects.len() > 5_000, "some are not tried alone");
    let untried = |reject: &&Reject| reject.reason.starts_with("not tried without its neighbours");
    assert!(
        rejects
            .iter()
            .filter(|reject| !untried(reject))
            .all(|reject| reject.reason == "even" && reject.line % 2 == 1)
    );
    assert_eq!(
        chains.newest().status().steps[0].calls,
        2 * crate::limits::CALLS_MAX as u64
    );
}

#[test]
fn what_comes_out_is_measured_by_its_rows_and_not_by_the_buffers_that_they_share() {
    let fail = NativeUdf::new("fail", |rows| match numbers(rows, "n").contains(&7) {
        true => Err(UdfError::new(UdfErrorKind::Row, "seven")),
        false => Ok(rows.clone()),
    });
    let chains = chains(vec![Arc::new(fail)]);
    let text = "x".repeat(240);
    let line = |n: i64| format!("{{\"n\":{n},\"t\":\"{text}\",\"l\":[{{\"u\":\"{text}\"}}]}}");
    let lines: Vec<String> = (0..30_000).map(line).collect();
    let (rows, rejects) = run(&chains, &lines.join("\n"));
    assert_eq!(rejects.len(), 1);
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 29_999);

    let much = NativeUdf::new("much", |rows| {
        let text = "x".repeat(1 << 20);
        let one = StringViewArray::from(vec![text.as_str()]);
        let often = UInt32Array::from(vec![0; STEP_OUT_BYTES_MAX / text.len() + 1]);
        let texts = arrow::compute::take(&one, &often, None).expect("the row is there");
        let rows = take_record_batch(rows, &often).expect("the row is there");
        crate::native::with_columns(&rows, vec![("t".to_owned(), texts)])
    });
    let (rows, rejects) = run(&self::chains(vec![Arc::new(much)]), "{\"n\":1}\n{\"n\":2}");
    assert_eq!((rows.len(), rejects.len()), (0, 2));
    assert!(
        rejects[0].reason.starts_with("too much came out"),
        "{}",
        rejects[0].reason
    );
}

#[test]
fn a_batch_goes_through_the_chain_that_was_there_when_it_came() {
    let add = |by| chain_of(step(0, Kind::Add(by)));
    let chains = chains(vec![]);
    let n = |offset| {
        let (rows, _, _) = chains.begin(record(offset, "{\"n\":1}".to_owned())).finish();
        numbers(&rows[0], "n")[0]
    };
    assert_eq!(n(0), 1);
    let settings = DatasetSettings::default();
    assert_eq!(chains.set(&settings, &add(10), || vec![Offset(2)]).unwrap(), 2);
    assert_eq!(chains.set(&settings, &add(20), || vec![Offset(4)]).unwrap(), 3);
    assert_eq!([0, 1, 2, 3, 4, 9].map(n), [1, 1, 11, 11, 21, 21]);
    assert_eq!(chains.newest().status().version, 3);
}

fn chain_of(step: Arc<dyn Udf>) -> Chain {
    Chain::new(vec![step]).expect("a chain")
}

#[test]
fn a_chain_that_cannot_be_is_refused() {
    let named = |names: &[&str]| {
        let steps = names
            .iter()
            .map(|name| Arc::new(NativeUdf::new(name, |rows| Ok(rows.clone()))) as Arc<dyn Udf>);
        Chain::new(steps.collect())
            .map(|chain| chain.names().count())
            .map_err(|error| error.to_string())
    };
    assert_eq!(named(&["a", "b"]), Ok(2));
    let twice = "two steps of a chain have one name, rename one name=\"a\"";
    assert_eq!(named(&["a", "a"]), Err(twice.to_owned()));
    assert!(named(&[""]).is_err() && named(&["a\nb"]).is_err());
    assert!(named(&["a"; 33]).is_err());
}
