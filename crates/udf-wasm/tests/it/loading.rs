//! Which components become functions, and what is said of the others.

use event::Udf;
use udf_wasm::limits::COMPONENT_BYTES_MAX;
use udf_wasm::{LoadErrorKind, Runtime, WasmOptions, WasmUdf};

use crate::guests::{Guest, places};

#[track_caller]
fn refused(component: &[u8], parts: &[&str]) {
    let error = WasmUdf::new(
        &Runtime::new().unwrap(),
        "step",
        component,
        WasmOptions::default(),
    )
    .unwrap_err();
    assert_eq!(error.kind(), LoadErrorKind::Invalid, "{error}");
    assert!(
        parts.iter().all(|part| error.to_string().contains(part)),
        "{error}"
    );
}

#[test]
fn what_is_no_component_of_the_world() {
    refused(b"(component)", &["not WebAssembly"]);
    refused(
        &wat::parse_str("(module)").unwrap(),
        &["core module", "wasm32-wasip2"],
    );
    refused(
        &wat::parse_str("(component)").unwrap(),
        &["must_export=sanderling:udf/step@0.1.0", "exports=[]"],
    );
    let mut cut = Guest::default().component();
    cut.truncate(cut.len() / 2);
    refused(&cut, &["cannot be compiled"]);
    refused(&vec![0; COMPONENT_BYTES_MAX + 1], &["too large", "bytes_max="]);
}

#[test]
fn versions_of_the_interface() {
    let of = |export| Guest {
        export,
        ..Guest::default()
    };
    for other in [
        "sanderling:udf/step@0.2.0",
        "sanderling:udf/step@1.0.0",
        "sanderling:udf/step",
    ] {
        refused(
            &of(other).component(),
            &["must_export=sanderling:udf/step@0.1.0", other],
        );
    }
    let later = of("sanderling:udf/step@0.1.7").udf();
    assert_eq!(later.apply(&places(2)).unwrap(), places(2));
}

#[test]
fn functions_of_other_types() {
    let text = r#"(param "batch" string) (result (result (list u8) (error string)))"#;
    let error = Guest {
        apply_type: text,
        ..Guest::default()
    }
    .load(WasmOptions::default())
    .unwrap_err();
    assert_eq!(error.kind(), LoadErrorKind::Invalid);
    assert!(
        error.to_string().contains("other types than wit/udf.wit says"),
        "{error}"
    );
}

#[test]
fn imports_that_steps_do_not_have() {
    for (imports, name) in [
        (
            r#"(import "acme:net/http@1.0.0" (instance (export "get" (func))))"#,
            "import=acme:net/http@1.0.0",
        ),
        (
            r#"(import "wasi:cli/exit@0.3.0" (instance (export "exit" (func))))"#,
            "import=wasi:cli/exit@0.3.0",
        ),
        (r#"(import "log" (func))"#, "import=log"),
    ] {
        let guest = Guest {
            imports,
            ..Guest::default()
        };
        refused(&guest.component(), &["imports what steps do not have", name]);
    }
}

#[test]
fn settings_reach_the_guest_and_may_be_refused() {
    // It refuses settings that are not empty, with themselves as the reason.
    let guest = Guest {
        init: "(if (result i32) (local.get $length)
                 (then (call $err (local.get $at) (local.get $length)))
                 (else (call $ok (i32.const 0) (i32.const 0))))",
        ..Guest::default()
    };
    assert_eq!(guest.udf().apply(&places(2)).unwrap(), places(2));
    let settings = "colour=red".to_owned();
    let error = guest
        .load(WasmOptions {
            settings,
            ..WasmOptions::default()
        })
        .unwrap_err();
    assert_eq!(error.kind(), LoadErrorKind::Refused);
    assert!(
        error
            .to_string()
            .contains("it refused its settings: colour=red step=guest"),
        "{error}"
    );
}

#[test]
fn files() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("step.wasm");
    let load = || WasmUdf::from_file(&Runtime::new().unwrap(), "step", &file, WasmOptions::default());
    let error = load().unwrap_err();
    assert_eq!(error.kind(), LoadErrorKind::Unavailable);
    assert!(error.to_string().contains("step.wasm"), "{error}");
    std::fs::write(&file, Guest::default().component()).unwrap();
    assert_eq!(load().unwrap().apply(&places(2)).unwrap(), places(2));
    std::fs::write(&file, "text").unwrap();
    assert_eq!(load().unwrap_err().kind(), LoadErrorKind::Invalid);
}
