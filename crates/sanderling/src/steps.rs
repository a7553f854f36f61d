//! From a dataset's settings to its chain: SQL, WebAssembly, and functions that the program has brought along.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use event::{DatasetName, Udf};
use processor::{Chain, NativeUdfs};
use udf_wasm::{Limits, Runtime, WasmOptions, WasmUdf};

use crate::settings::{DatasetSettings, StepSettings};
use crate::{Settings, SettingsError};

/// The chains of the datasets that settings name; native functions of a program of yours are not known to it.
///
/// # Errors
/// Names the dataset, the step and what is wrong.
pub fn chains(settings: &Settings) -> Result<BTreeMap<DatasetName, Chain>, SettingsError> {
    let builder = Builder::default();
    let datasets = settings.datasets.iter();
    datasets
        .map(|(name, settings)| Ok((name.clone(), builder.chain(name, settings)?)))
        .collect()
}

/// Builds chains.
#[derive(Default)]
pub(crate) struct Builder {
    natives: NativeUdfs,
    /// Made when the first component is.
    runtime: Mutex<Option<Arc<Runtime>>>,
}

impl Builder {
    pub(crate) fn new(natives: NativeUdfs) -> Self {
        Self {
            natives,
            ..Self::default()
        }
    }

    /// The chain that the settings say.
    ///
    /// # Errors
    /// Names the dataset, the step and what is wrong.
    pub(crate) fn chain(
        &self,
        name: &DatasetName,
        settings: &DatasetSettings,
    ) -> Result<Chain, SettingsError> {
        let bad = |error: String| SettingsError(format!("{error} dataset={name}"));
        let steps: Result<Vec<_>, _> = settings.steps.iter().map(|step| self.step(step)).collect();
        Chain::new(steps.map_err(bad)?).map_err(|error| bad(error.to_string()))
    }

    fn step(&self, step: &StepSettings) -> Result<Arc<dyn Udf>, String> {
        let name = step.name();
        let bad = |error: &dyn std::fmt::Display| format!("a step cannot be built: {error} step={name:?}");
        if let Some(sql) = &step.sql {
            let udf = sql::SqlUdf::new(name, sql).map_err(|error| bad(&error))?;
            return Ok(Arc::new(udf));
        }
        if let Some(file) = &step.wasm {
            let udf = self.component(step, file).map_err(|error| bad(&error))?;
            return Ok(Arc::new(udf));
        }
        self.natives.step(name).map_err(|error| bad(&error))
    }

    fn component(&self, step: &StepSettings, file: &Path) -> Result<WasmUdf, udf_wasm::LoadError> {
        let runtime = {
            let mut runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
            match &*runtime {
                Some(runtime) => runtime.clone(),
                None => runtime.insert(Arc::new(Runtime::new()?)).clone(),
            }
        };
        let limits = Limits::default();
        let options = WasmOptions {
            settings: step.settings.clone().unwrap_or_default(),
            limits: Limits {
                memory_bytes_max: step
                    .memory_max
                    .map_or(limits.memory_bytes_max, |bytes| bytes as usize),
                time_max: step.time_max.unwrap_or(limits.time_max),
                ..limits
            },
            ..WasmOptions::default()
        };
        WasmUdf::from_file(&runtime, step.name(), file, options)
    }
}
