//! User-defined functions of datasets as WebAssembly components, in a sandbox with limits.
//!
//! | name | shape |
//! |---|---|
//! | [`Runtime`] | the compiler, and the thread that looks at the time: one a process |
//! | [`WasmUdf`] | a component of the world in `wit/udf.wit` as an [`event::Udf`] |
//! | [`WasmOptions`] | settings, [`Limits`], and which [`Instances`] calls get |
//! | [`limits`] | what can be set, and what stands |
//!
//! ```no_run
//! use event::Udf;
//! use udf_wasm::{Runtime, WasmOptions, WasmUdf};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let rows = arrow::array::RecordBatch::new_empty(arrow::datatypes::Schema::empty().into());
//! let runtime = Runtime::new()?;
//! let settings = "email".to_owned();
//! let options = WasmOptions { settings, ..WasmOptions::default() };
//! let redact = WasmUdf::from_file(&runtime, "redact", "redact.wasm", options)?;
//! let redacted = redact.apply(&rows)?;
//! # Ok(())
//! # }
//! ```
//!
//! A guest has no files, no network, no clock and no chance: WASI 0.2 is there so that what ordinary toolchains make can
//! be loaded, and answers the same in each call (see `src/wasi.rs`).
//! Time is processor time of the calling thread, looked at each tick, and not instructions counted: a loaded machine
//! rejects nothing, and a guest runs at full speed. So a call close to its limit may pass once and fail once; a limit
//! should be far from what rows take.
//!
//! Not here: compiled code kept on disk (each start compiles anew), a limit on what compiling takes, WASI 0.3, guests
//! that are core modules.

mod error;
mod host;
mod instance;
pub mod limits;
mod rows;
mod runtime;
mod udf;
mod wasi;

pub use error::{LoadError, LoadErrorKind};
pub use limits::Limits;
pub use runtime::Runtime;
pub use udf::{Instances, WasmOptions, WasmUdf};
