//! Guests that were built for WASI.

use event::{Udf, UdfErrorKind};
use udf_wasm::{LoadErrorKind, WasmOptions};

use crate::guests::{Guest, places};

/// A guest that imports some of WASI, whatever version 0.2 has of it, and calls it as `body` says.
fn guest(body: &'static str) -> Guest {
    Guest {
        imports: r#"
  (import "wasi:cli/exit@0.2.6" (instance $exit (export "exit" (func (param "status" (result))))))
  (import "wasi:random/random@0.2.0" (instance $random (export "get-random-u64" (func (result u64)))))
  (import "wasi:clocks/monotonic-clock@0.2.3" (instance $clock (export "now" (func (result u64)))))
  (import "wasi:sockets/network@0.2.0" (instance $net
    (export "network" (type (sub resource)))
    (export "dial" (func))))
  (core func $exit (canon lower (func $exit "exit")))
  (core func $random (canon lower (func $random "get-random-u64")))
  (core func $now (canon lower (func $clock "now")))
  (core func $dial (canon lower (func $net "dial")))"#,
        instance_imports: r#"(with "" (instance (export "exit" (func $exit)) (export "random" (func $random))
          (export "now" (func $now)) (export "dial" (func $dial))))"#,
        core: r#"(import "" "exit" (func $exit (param i32))) (import "" "random" (func $random (result i64)))
          (import "" "now" (func $now (result i64))) (import "" "dial" (func $dial))
          (global $first (mut i64) (i64.const 0))"#,
        apply: body,
        ..Guest::default()
    }
}

#[track_caller]
fn broken(body: &'static str, part: &str) {
    let error = guest(body).udf().apply(&places(1)).unwrap_err();
    assert_eq!(error.kind(), UdfErrorKind::Broken, "{error}");
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn what_steps_do_not_have_is_named() {
    broken("(call $dial) unreachable", "call=wasi:sockets/network#dial");
    broken(
        "(call $exit (i32.const 1)) unreachable",
        "it ended itself: call=wasi:cli/exit",
    );
    let error = Guest {
        init: "(call $dial) unreachable",
        ..guest("unreachable")
    }
    .load(WasmOptions::default())
    .unwrap_err();
    assert_eq!(error.kind(), LoadErrorKind::Refused);
    assert!(
        error.to_string().contains("call=wasi:sockets/network#dial"),
        "{error}"
    );
}

/// The clock stands still, and each call draws the same numbers, which differ from one another.
#[test]
fn clock_and_chance_are_the_same_in_each_call() {
    let body = "(local $drawn i64)
      (if (i64.ne (call $now) (call $now)) (then unreachable))
      (local.set $drawn (call $random))
      (if (i64.eq (local.get $drawn) (call $random)) (then unreachable))
      (if (i64.eqz (global.get $first)) (then (global.set $first (local.get $drawn))))
      (if (i64.ne (global.get $first) (local.get $drawn)) (then (loop $again (br $again))))
      (call $ok (local.get $at) (local.get $length))";
    let udf = guest(body).udf();
    for _ in 0..3 {
        assert_eq!(udf.apply(&places(2)).unwrap(), places(2));
    }
}

#[test]
fn what_was_said_before_a_crash_is_shown() {
    let guest = |apply| Guest {
        imports: r#"
  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "output-stream" (type $stream (sub resource)))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $stream)) (param "contents" (list u8)) (result (result))))))
  (alias export $streams "output-stream" (type $stream))
  (import "wasi:cli/stderr@0.2.0" (instance $stderr
    (alias outer 1 $stream (type $outer))
    (export "output-stream" (type $stream (eq $outer)))
    (export "get-stderr" (func (result (own $stream))))))
  (core func $get (canon lower (func $stderr "get-stderr")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $memory)))"#,
        instance_imports: r#"(with "" (instance (export "get" (func $get)) (export "write" (func $write))))"#,
        core: r#"(import "" "get" (func $get (result i32)))
                 (import "" "write" (func $write (param i32 i32 i32) (result i32)))"#,
        apply,
        data: b"oh, no!".to_vec(),
        ..Guest::default()
    };
    let said =
        "(if (call $write (call $get) (i32.const 1024) (i32.const 7)) (then (loop $again (br $again))))";
    let crashed = format!("{said} unreachable");
    let error = guest(crashed.leak()).udf().apply(&places(1)).unwrap_err();
    assert!(error.to_string().ends_with(r#"stderr="oh, no!""#), "{error}");
    let fine = format!("{said} (call $ok (local.get $at) (local.get $length))");
    assert_eq!(guest(fine.leak()).udf().apply(&places(1)).unwrap(), places(1));
}
