//! User-defined functions of datasets in Rust: rows in, rows out, as a WebAssembly component.
//!
//! A function is a type that is made of its settings and is [`Udf`]; [`udf!`] makes it what the component exports.
//! The contract of the rows is in `crates/udf-wasm/wit/udf.wit`.
//!
//! There is no clock, no chance, no file and no network: the time that functions see stands still, and what
//! `HashMap` draws is the same in each instance. What is printed to standard error is shown when the function panics.

use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;

pub use arrow_array::{self as array, RecordBatch};
pub use arrow_schema as schema;
pub use arrow_select as select;

wit_bindgen::generate!({
    path: "../../../crates/udf-wasm/wit",
    world: "udf",
    pub_export_macro: true,
    export_macro_name: "export_component",
    default_bindings_module: "udf_guest",
});
#[doc(hidden)]
pub use exports::sanderling::udf::step::Guest;

/// The column (`UInt32`) that says of which row that came in a row was made. It has to be in what comes out.
pub const ROW_COLUMN: &str = "_row";

/// The column (`Utf8`) with which a function rejects a row: where it is not null, for that reason.
pub const ERROR_COLUMN: &str = "_error";

/// A function of rows. It is pure: the same rows give the same rows.
pub trait Udf: Sized + 'static {
    /// The function with its settings: the text that stands in the dataset's settings.
    ///
    /// # Errors
    /// Settings that cannot be used. The text says how to mend them.
    fn new(settings: &str) -> Result<Self, String>;

    /// The rows that come out.
    ///
    /// # Errors
    /// Some row is at fault: the function is called again with fewer rows, until the bad ones are found.
    fn apply(&self, rows: &RecordBatch) -> Result<RecordBatch, String>;
}

/// Makes a type that is [`Udf`] what the component exports.
#[macro_export]
macro_rules! udf {
    ($function:ty) => {
        struct Component;

        std::thread_local! {
            static FUNCTION: std::cell::OnceCell<$function> = const { std::cell::OnceCell::new() };
        }

        impl $crate::Guest for Component {
            fn init(settings: String) -> Result<(), String> {
                let function = <$function as $crate::Udf>::new(&settings)?;
                FUNCTION.with(|cell| {
                    cell.set(function)
                        .map_err(|_| "init was called twice".to_owned())
                })
            }

            fn apply(batch: Vec<u8>) -> Result<Vec<u8>, String> {
                FUNCTION.with(|cell| {
                    let function = cell.get().ok_or("init has to be called before apply")?;
                    let rows = $crate::read(&batch)?;
                    $crate::write(&$crate::Udf::apply(function, &rows)?)
                })
            }
        }

        $crate::export_component!(Component);
    };
}

/// The one batch of an IPC stream.
#[doc(hidden)]
pub fn read(stream: &[u8]) -> Result<RecordBatch, String> {
    let mut reader = StreamReader::try_new(stream, None).map_err(|error| error.to_string())?;
    match reader.next() {
        Some(batch) => batch.map_err(|error| error.to_string()),
        None => Ok(RecordBatch::new_empty(reader.schema())),
    }
}

/// An IPC stream of one batch.
#[doc(hidden)]
pub fn write(rows: &RecordBatch) -> Result<Vec<u8>, String> {
    let stream = Vec::with_capacity(rows.get_array_memory_size());
    let mut writer = StreamWriter::try_new(stream, &rows.schema()).map_err(|error| error.to_string())?;
    writer.write(rows).map_err(|error| error.to_string())?;
    writer.into_inner().map_err(|error| error.to_string())
}
