//! Guests that take more than they may.

use std::time::Duration;

use event::{Udf, UdfErrorKind};
use udf_wasm::{Limits, LoadErrorKind, WasmOptions};

use crate::guests::{Guest, places};

/// Small limits.
fn options() -> WasmOptions {
    let limits = Limits {
        memory_bytes_max: 8 << 20,
        time_max: Duration::from_millis(30),
        output_bytes_max: 1 << 20,
    };
    WasmOptions {
        limits,
        ..WasmOptions::default()
    }
}

/// A guest that misbehaves when it gets many rows, and gives back few.
fn guest(when_many: &'static str) -> Guest {
    let apply = format!(
        "(if (i32.gt_u (local.get $length) (i32.const 2000)) (then {when_many}))
         (call $ok (local.get $at) (local.get $length))"
    );
    Guest {
        core: "(func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0))))",
        apply: apply.leak(),
        ..Guest::default()
    }
}

/// Many rows fail so; few are answered before and after.
#[track_caller]
fn check(guest: &Guest, kind: UdfErrorKind, part: &str) {
    let udf = guest.load(options()).unwrap();
    for _ in 0..2 {
        assert_eq!(udf.apply(&places(3)).unwrap(), places(3));
        let error = udf.apply(&places(1000)).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(udf.apply(&places(3)).unwrap(), places(3));
}

#[test]
fn time() {
    check(
        &guest("(loop $again (br $again))"),
        UdfErrorKind::Broken,
        "time_max=30ms",
    );
}

#[test]
fn memory() {
    let grow = "(loop $again (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
                (br $again))";
    check(&guest(grow), UdfErrorKind::Broken, "memory_bytes_max=8388608");
}

#[test]
fn memory_that_was_refused_may_be_done_without() {
    let udf = guest("(drop (memory.grow (i32.const 1000)))")
        .load(options())
        .unwrap();
    assert_eq!(udf.apply(&places(1000)).unwrap(), places(1000));
}

#[test]
fn stack() {
    let deep = "(drop (call $deep (i32.const 0)))";
    check(
        &guest(deep),
        UdfErrorKind::Broken,
        "nest too deep stack_bytes_max=524288",
    );
}

#[test]
fn crash() {
    check(
        &guest("unreachable"),
        UdfErrorKind::Broken,
        "crashed: wasm trap: wasm `unreachable`",
    );
}

#[test]
fn output() {
    let much = "(drop (memory.grow (i32.const 40))) (return (call $ok (i32.const 0) (i32.const 2000000)))";
    check(
        &guest(much),
        UdfErrorKind::Row,
        "bytes=2000000 output_bytes_max=1048576",
    );
}

#[test]
fn output_that_is_not_in_memory() {
    let beyond = "(return (call $ok (i32.const 0) (i32.const 2000000000)))";
    check(&guest(beyond), UdfErrorKind::Broken, "crashed: ");
}

/// Each call leaves 2 MiB behind, of the 8 MiB that an instance may have.
#[test]
fn a_guest_that_leaks_is_replaced() {
    let udf = Guest {
        apply: "(if (i32.eq (memory.grow (i32.const 32)) (i32.const -1)) (then unreachable))
                (call $ok (local.get $at) (local.get $length))",
        ..Guest::default()
    };
    let udf = udf.load(options()).unwrap();
    for _ in 0..20 {
        assert_eq!(udf.apply(&places(3)).unwrap(), places(3));
    }
}

#[test]
fn a_start_has_the_same_limits() {
    for (guest, part) in [
        (
            Guest {
                pages: 1000,
                ..Guest::default()
            },
            "memory_bytes_max",
        ),
        (
            Guest {
                init: "(loop $again (br $again)) unreachable",
                ..Guest::default()
            },
            "time_max",
        ),
        (
            Guest {
                init: "unreachable",
                ..Guest::default()
            },
            "crashed",
        ),
        (
            Guest {
                core: "(table 2000000 funcref)",
                ..Guest::default()
            },
            "elements_max",
        ),
    ] {
        let error = guest.load(options()).unwrap_err();
        assert_eq!(error.kind(), LoadErrorKind::Refused, "{error}");
        assert!(
            error.to_string().contains(part) && error.to_string().ends_with("step=guest"),
            "{error}"
        );
    }
}
