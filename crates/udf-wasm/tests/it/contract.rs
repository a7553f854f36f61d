//! The contract of a step, by guests in WebAssembly text.

use std::sync::{Arc, RwLock};
use std::thread;

use arrow::array::{
    Array, ArrayRef, Int32Array, LargeStringArray, RecordBatch, StringArray, StringViewArray, UInt32Array,
};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use event::{ERROR_COLUMN, ROW_COLUMN, Udf, UdfErrorKind};
use proptest::prelude::*;
use udf_wasm::{Instances, WasmOptions};

use crate::columns::{Column, columns, rows};
use crate::guests::{Guest, places, stream};

#[test]
fn a_guest_that_gives_back_what_it_gets_changes_nothing() {
    let identity = Guest::default().udf();
    proptest!(|(columns in columns(), seed: u64, count in 0usize..40)| {
        let rows = rows(&columns, seed, count);
        prop_assert_eq!(identity.apply(&rows).unwrap(), rows);
    });
    assert_eq!(identity.name(), "guest");
}

#[test]
fn rows_may_be_left_out_doubled_and_rejected() {
    let out: Vec<(&str, ArrayRef)> = vec![
        (ROW_COLUMN, Arc::new(UInt32Array::from(vec![2, 0, 2]))),
        (
            "word",
            Arc::new(StringArray::from(vec![Some("a"), None, Some("b")])),
        ),
        (
            ERROR_COLUMN,
            Arc::new(LargeStringArray::from(vec![None, Some("bad"), None])),
        ),
    ];
    let out = Guest::answering_columns(out).udf().apply(&places(3)).unwrap();
    let expected: Vec<(&str, ArrayRef)> = vec![
        (ROW_COLUMN, Arc::new(UInt32Array::from(vec![2, 0, 2]))),
        (
            "word",
            Arc::new(StringViewArray::from(vec![Some("a"), None, Some("b")])),
        ),
        (
            ERROR_COLUMN,
            Arc::new(StringViewArray::from(vec![None, Some("bad"), None])),
        ),
    ];
    let expected = expected.into_iter().map(|(name, column)| (name, column, true));
    assert_eq!(out, RecordBatch::try_from_iter_with_nullable(expected).unwrap());
}

#[test]
fn an_answer_may_have_no_batch_or_several() {
    let schema = places(1).schema();
    let mut none = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    none.finish().unwrap();
    let none = Guest::answering(none.into_inner().unwrap()).udf();
    assert_eq!(none.apply(&places(3)).unwrap(), places(0));

    let mut two = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    two.write(&places(2)).unwrap();
    two.write(&places(2)).unwrap();
    let two = Guest::answering(two.into_inner().unwrap()).udf();
    let places: Vec<u32> = two
        .apply(&places(2))
        .unwrap()
        .column(0)
        .to_data()
        .buffer::<u32>(0)
        .to_vec();
    assert_eq!(places, [0, 1, 0, 1]);
}

/// What the rows are told that came out of a guest that answers with this.
#[track_caller]
fn broken(guest: &Guest, part: &str) {
    let error = guest.udf().apply(&places(3)).unwrap_err();
    assert_eq!(error.kind(), UdfErrorKind::Broken, "{error}");
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn what_is_no_stream_of_rows_is_told() {
    broken(&Guest::answering(Vec::new()), "has no schema");
    broken(&Guest::answering(vec![7; 1000]), "not an Arrow IPC stream");
    let whole = stream(&places(3));
    broken(
        &Guest::answering(whole[..whole.len() / 2].to_vec()),
        "not an Arrow IPC stream",
    );
    let options = IpcWriteOptions::default()
        .try_with_compression(Some(CompressionType::LZ4_FRAME))
        .unwrap();
    let mut compressed =
        StreamWriter::try_new_with_options(Vec::new(), &places(3).schema(), options).unwrap();
    compressed.write(&places(3)).unwrap();
    broken(
        &Guest::answering(compressed.into_inner().unwrap()),
        "without compression",
    );
}

#[test]
fn a_guest_that_lies_about_rows_is_told() {
    let answering = |name, column: ArrayRef| Guest::answering_columns(vec![(name, column)]);
    broken(
        &answering("row", Arc::new(UInt32Array::from(vec![0]))),
        "no column _row",
    );
    broken(
        &answering(ROW_COLUMN, Arc::new(Int32Array::from(vec![0]))),
        "must be UInt32",
    );
    broken(
        &answering(ROW_COLUMN, Arc::new(UInt32Array::from(vec![Some(0), None]))),
        "no nulls",
    );
    broken(
        &answering(ROW_COLUMN, Arc::new(UInt32Array::from(vec![0, 3]))),
        "row=3 rows=3",
    );
}

#[test]
fn a_guests_error_is_about_a_row() {
    let guest = |length, data: Vec<u8>| Guest {
        apply: length,
        data,
        ..Guest::default()
    };
    let guest_of = |data| guest("(call $err (i32.const 1024) (global.get $data_length))", data);
    let error = guest_of(b"no such city".to_vec())
        .udf()
        .apply(&places(1))
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (UdfErrorKind::Row, "no such city")
    );
    let error = guest_of("ü".repeat(5_000).into_bytes())
        .udf()
        .apply(&places(1))
        .unwrap_err();
    assert_eq!(error.kind(), UdfErrorKind::Row);
    assert!(error.to_string().ends_with("ü (cut bytes=10000)"), "{error}");
    broken(&guest_of(vec![0xFF]), "crashed");
}

/// The second call in one instance crashes, or is an error, or garbage.
#[test]
fn what_was_asked_before_costs_no_row() {
    for second in [
        "unreachable",
        "(return (call $err (i32.const 0) (i32.const 0)))",
        "(return (call $ok (i32.const 0) (i32.const 3)))",
    ] {
        let apply = format!(
            "(if (global.get $asked) (then {second})) (global.set $asked (i32.const 1))
             (call $ok (local.get $at) (local.get $length))"
        );
        let guest = Guest {
            core: "(global $asked (mut i32) (i32.const 0))",
            apply: apply.leak(),
            ..Guest::default()
        };
        for instances in [Instances::Reused, Instances::Fresh] {
            let udf = guest
                .load(WasmOptions {
                    instances,
                    ..WasmOptions::default()
                })
                .unwrap();
            for count in 1..6 {
                assert_eq!(udf.apply(&places(count)).unwrap(), places(count));
            }
        }
    }
}

#[test]
fn threads_call_at_once_while_functions_are_replaced() {
    let wasm: Arc<dyn Udf> = Arc::new(Guest::default().udf());
    let now = RwLock::new(wasm);
    thread::scope(|scope| {
        for thread in 0..8u64 {
            let now = &now;
            scope.spawn(move || {
                for call in 0..50u64 {
                    let udf = now.read().unwrap().clone();
                    let rows = rows(&[Column::Text, Column::Whole], thread * 1000 + call, 20);
                    assert_eq!(udf.apply(&rows).unwrap(), rows);
                }
            });
        }
        for _ in 0..5 {
            let next: Arc<dyn Udf> = Arc::new(Guest::default().udf());
            *now.write().unwrap() = next;
        }
    });
}
