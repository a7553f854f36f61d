//! Guests in WebAssembly text: a frame that is a step, and what differs from test to test.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::ipc::writer::StreamWriter;
use event::ROW_COLUMN;
use udf_wasm::{LoadError, Runtime, WasmOptions, WasmUdf};

/// The frame's parts that can be replaced. Bodies are of core functions that take `$at` and `$length` of their input
/// and give the place of their result: `$ok` and `$err` make one of a place and a length.
pub(crate) struct Guest {
    pub(crate) export: &'static str,
    pub(crate) imports: &'static str,
    pub(crate) instance_imports: &'static str,
    pub(crate) core: &'static str,
    pub(crate) pages: u32,
    pub(crate) init: &'static str,
    pub(crate) apply: &'static str,
    pub(crate) after: &'static str,
    pub(crate) apply_type: &'static str,
    pub(crate) data: Vec<u8>,
}

/// Bytes of `Guest::data` begin here.
pub(crate) const DATA: usize = 1024;

impl Default for Guest {
    /// A guest that answers with what it was given.
    fn default() -> Self {
        Self {
            export: "sanderling:udf/step@0.1.0",
            imports: "",
            instance_imports: "",
            core: "",
            pages: 2,
            init: "(call $ok (i32.const 0) (i32.const 0))",
            apply: "(call $ok (local.get $at) (local.get $length))",
            after: "(global.set $next (global.get $heap))",
            apply_type: r#"(param "batch" (list u8)) (result (result (list u8) (error string)))"#,
            data: Vec::new(),
        }
    }
}

impl Guest {
    /// A guest that answers with these bytes, whatever it is given.
    pub(crate) fn answering(data: Vec<u8>) -> Self {
        Self {
            apply: "(call $ok (i32.const 1024) (global.get $data_length))",
            data,
            ..Self::default()
        }
    }

    /// A guest that answers with these columns.
    pub(crate) fn answering_columns(columns: Vec<(&str, ArrayRef)>) -> Self {
        let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)));
        Self::answering(stream(&batch.unwrap()))
    }

    pub(crate) fn component(&self) -> Vec<u8> {
        let Self {
            export,
            imports,
            instance_imports,
            core,
            pages,
            init,
            apply,
            after,
            apply_type,
            data,
        } = self;
        let heap = DATA + data.len();
        let pages = (*pages).max((heap >> 16) as u32 + 2);
        let mut bytes = String::new();
        for byte in data {
            write!(bytes, "\\{byte:02x}").unwrap();
        }
        let text = format!(
            r#"(component
  (core module $store (memory (export "memory") {pages}))
  (core instance $store (instantiate $store))
  (alias core export $store "memory" (core memory $memory))
  {imports}
  (core module $m
    (import "store" "memory" (memory 1))
    {core}
    (data (i32.const {DATA}) "{bytes}")
    (global $data_length i32 (i32.const {}))
    (global $heap i32 (i32.const {heap}))
    (global $next (mut i32) (i32.const {heap}))
    (func (export "realloc") (param i32 i32 i32) (param $size i32) (result i32) (local $at i32) (local $lacks i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
      (global.set $next (i32.add (local.get $at) (local.get $size)))
      (local.set $lacks (i32.sub (global.get $next) (i32.shl (memory.size) (i32.const 16))))
      (if (i32.gt_s (local.get $lacks) (i32.const 0))
        (then (if (i32.eq (i32.const -1)
                          (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get $lacks) (i32.const 16)))))
          (then unreachable))))
      (local.get $at))
    (func $ok (param i32 i32) (result i32)
      (i32.store (i32.const 16) (i32.const 0))
      (i32.store (i32.const 20) (local.get 0))
      (i32.store (i32.const 24) (local.get 1))
      (i32.const 16))
    (func $err (param i32 i32) (result i32)
      (drop (call $ok (local.get 0) (local.get 1)))
      (i32.store (i32.const 16) (i32.const 1))
      (i32.const 16))
    (func (export "init") (param $at i32) (param $length i32) (result i32) {init})
    (func (export "apply") (param $at i32) (param $length i32) (result i32) {apply})
    (func (export "after") (param i32) {after}))
  (core instance $i (instantiate $m (with "store" (instance $store)) {instance_imports}))
  (alias core export $i "realloc" (core func $realloc))
  (func $init (param "settings" string) (result (result (error string)))
    (canon lift (core func $i "init") (memory $memory) (realloc $realloc)))
  (func $apply {apply_type}
    (canon lift (core func $i "apply") (memory $memory) (realloc $realloc) (post-return (core func $i "after"))))
  (instance $step (export "init" (func $init)) (export "apply" (func $apply)))
  (export "{export}" (instance $step)))"#,
            data.len()
        );
        wat::parse_str(&text).unwrap()
    }

    pub(crate) fn load(&self, options: WasmOptions) -> Result<WasmUdf, LoadError> {
        WasmUdf::new(&Runtime::new().unwrap(), "guest", &self.component(), options)
    }

    pub(crate) fn udf(&self) -> WasmUdf {
        self.load(WasmOptions::default()).unwrap()
    }
}

/// Rows that have nothing but their places.
pub(crate) fn places(rows: u32) -> RecordBatch {
    let places: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..rows));
    RecordBatch::try_from_iter([(ROW_COLUMN, places)]).unwrap()
}

pub(crate) fn stream(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}
