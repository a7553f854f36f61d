//! A component as a step of a dataset's chain.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::{fmt, fs};

use arrow::array::RecordBatch;
use event::{Udf, UdfError, UdfErrorKind};

use crate::instance::{Instance, Program};
use crate::limits::{COMPONENT_BYTES_MAX, IDLE_INSTANCES_MAX, INPUT_BYTES_MAX, Limits};
use crate::{LoadError, LoadErrorKind, Runtime, rows};

/// What one function is given beside its component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WasmOptions {
    /// The text that the component's `init` gets. Default: empty.
    pub settings: String,
    /// What a call may use.
    pub limits: Limits,
    /// Which instance a call gets.
    pub instances: Instances,
}

/// Which instance a call gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Instances {
    /// One that answered a call before, if there is one that waits: what it keeps between calls must not matter. When
    /// such a call fails in any way, a fresh instance is asked, so no row is ever rejected for what was asked before.
    #[default]
    Reused,
    /// A fresh one for each call: nothing can be kept.
    Fresh,
}

/// A WebAssembly component that is a [`Udf`]: rows → Arrow IPC → guest → Arrow IPC → rows.
///
/// A guest sees its rows and its settings alone, and is stopped at its [`Limits`]. Calls on several threads run at once,
/// each in an instance of its own.
///
/// Costs, beside the guest's own work: the rows are written as IPC and copied into the guest's memory, and the same back.
pub struct WasmUdf {
    name: String,
    program: Program,
    options: WasmOptions,
    idle: Mutex<Vec<Instance>>,
}

impl WasmUdf {
    /// Compiles a component (of the world in `wit/udf.wit`, binary) and starts its first instance.
    ///
    /// Compiles on this thread; do it where a thread may be busy for a while.
    ///
    /// # Errors
    /// `Invalid` if it is no such component, `Refused` if it did not start with its settings and limits.
    pub fn new(
        runtime: &Runtime,
        name: impl Into<String>,
        component: &[u8],
        options: WasmOptions,
    ) -> Result<Self, LoadError> {
        let name = name.into();
        check_bytes(component)?;
        let program = Program::new(runtime, component)?;
        let first = program.start(&options.settings, &options.limits).map_err(|why| {
            let text = format!("the step cannot start: {why} step={name}");
            LoadError::new(why.kind(), text)
        })?;
        let udf = Self {
            name,
            program,
            options,
            idle: Mutex::default(),
        };
        udf.keep(first);
        Ok(udf)
    }

    /// The same from a file.
    ///
    /// # Errors
    /// `Unavailable` if it cannot be read; those of [`WasmUdf::new`], with the file's name.
    pub fn from_file(
        runtime: &Runtime,
        name: impl Into<String>,
        file: impl AsRef<Path>,
        options: WasmOptions,
    ) -> Result<Self, LoadError> {
        let file = file.as_ref();
        let within = |kind, what: &dyn fmt::Display| {
            LoadError::new(kind, format_args!("{what} file={}", file.display()))
        };
        let unreadable = |error| {
            within(
                LoadErrorKind::Unavailable,
                &format!("the component cannot be read: {error}"),
            )
        };
        let meta = fs::metadata(file).map_err(unreadable)?;
        if !meta.is_file() {
            return Err(within(LoadErrorKind::Invalid, &"a component is a file"));
        }
        let length = meta.len();
        if length > COMPONENT_BYTES_MAX as u64 {
            return Err(within(LoadErrorKind::Invalid, &too_large(length)));
        }
        let component = fs::read(file).map_err(unreadable)?;
        Self::new(runtime, name, &component, options).map_err(|error| within(error.kind(), &error))
    }

    fn waiting(&self) -> Option<Instance> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, instance: Instance) {
        if self.options.instances == Instances::Fresh || !instance.may_wait() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_INSTANCES_MAX {
            idle.push(instance);
        }
    }

    fn ask(&self, instance: &mut Instance, input: &[u8], rows: usize) -> Result<RecordBatch, UdfError> {
        let out = self.program.ask(instance, input, &self.options.limits)?;
        rows::decode(out, rows).map_err(|why| UdfError::new(UdfErrorKind::Broken, why))
    }
}

impl Udf for WasmUdf {
    fn name(&self) -> &str {
        &self.name
    }

    fn apply(&self, rows: &RecordBatch) -> Result<RecordBatch, UdfError> {
        let input = rows::encode(rows).map_err(|error| {
            UdfError::new(
                UdfErrorKind::Row,
                format_args!("the rows cannot be passed on: {error}"),
            )
        })?;
        if input.len() > INPUT_BYTES_MAX {
            let text = format!(
                "the rows are too large for one call bytes={} bytes_max={INPUT_BYTES_MAX}",
                input.len()
            );
            return Err(UdfError::new(UdfErrorKind::Row, text));
        }
        if let Some(mut used) = self.waiting()
            && let Ok(out) = self.ask(&mut used, &input, rows.num_rows())
        {
            self.keep(used);
            return Ok(out);
        }
        let fresh = self.program.start(&self.options.settings, &self.options.limits);
        let mut fresh = fresh.map_err(|why| UdfError::new(UdfErrorKind::Broken, why))?;
        let answer = self.ask(&mut fresh, &input, rows.num_rows());
        if !matches!(&answer, Err(error) if error.kind() == UdfErrorKind::Broken) {
            self.keep(fresh);
        }
        answer
    }
}

fn check_bytes(component: &[u8]) -> Result<(), LoadError> {
    if component.len() > COMPONENT_BYTES_MAX {
        return Err(LoadError::invalid(too_large(component.len() as u64)));
    }
    match component.split_at_checked(8) {
        Some((b"\0asm\x01\0\0\0", _)) => Err(LoadError::invalid(
            "this is a core module and no component: build it for wasm32-wasip2, or run `wasm-tools component new`",
        )),
        Some((head, _)) if head.starts_with(b"\0asm") => Ok(()),
        _ => Err(LoadError::invalid(
            "this is not WebAssembly: it does not begin with \\0asm",
        )),
    }
}

fn too_large(bytes: u64) -> String {
    format!(
        "the component is too large: strip it, or leave out what it does not need bytes={bytes} bytes_max={COMPONENT_BYTES_MAX}"
    )
}

impl fmt::Debug for WasmUdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmUdf")
            .field("name", &self.name)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
