//! One instance of a component: its own memory, one call at a time.

use event::{UdfError, UdfErrorKind};
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, Func, InstancePre, Lift, Lower, TypedFunc,
};
use wasmtime::{Result, Store};

use crate::host::{Host, at_tick};
use crate::limits::{IDLE_MEMORY_BYTES_MAX, Limits, TEXT_BYTES_MAX};
use crate::{LoadError, LoadErrorKind, Runtime, wasi};

/// The interface that a component exports. Its versions are those of `wit/udf.wit`.
pub(crate) const INTERFACE: &str = "sanderling:udf/step@0.1.0";

type Rows<'a> = (&'a [u8],);
type RowsOut = (Result<Vec<u8>, String>,);

/// What instances are made of.
pub(crate) struct Program {
    runtime: Runtime,
    linked: InstancePre<Host>,
    init: ComponentExportIndex,
    apply: ComponentExportIndex,
}

/// An instance whose `init` was called.
pub(crate) struct Instance {
    store: Store<Host>,
    apply: Func,
}

impl Program {
    /// Compiles a component, and checks what it exports and imports.
    pub(crate) fn new(runtime: &Runtime, bytes: &[u8]) -> Result<Self, LoadError> {
        let engine = runtime.engine();
        let component = Component::from_binary(engine, bytes).map_err(|error| {
            LoadError::invalid(format_args!("the component cannot be compiled: {error:#}"))
        })?;
        let function = |name| {
            let interface = component.get_export_index(None, INTERFACE)?;
            component.get_export_index(Some(&interface), name)
        };
        let (Some(init), Some(apply)) = (function("init"), function("apply")) else {
            let exports = component.component_type();
            let exports: Vec<&str> = exports.exports(engine).map(|(name, _)| name).collect();
            return Err(LoadError::invalid(format_args!(
                "the component is no step: build it for the world in wit/udf.wit must_export={INTERFACE} \
                 exports={exports:?}"
            )));
        };
        let linked = wasi::linker(engine, &component)?
            .instantiate_pre(&component)
            .map_err(|error| LoadError::invalid(format_args!("the component cannot be linked: {error:#}")))?;
        let runtime = runtime.clone();
        Ok(Self {
            runtime,
            linked,
            init,
            apply,
        })
    }

    /// A fresh instance with its settings.
    ///
    /// # Errors
    /// `Refused` if it refused them, or did not start; `Invalid` if its functions have other types.
    pub(crate) fn start(&self, settings: &str, limits: &Limits) -> Result<Instance, LoadError> {
        let refused = |why: String| LoadError::new(LoadErrorKind::Refused, why);
        let mut store = Store::new(self.runtime.engine(), Host::new(limits.clone()));
        store.limiter(|host| host);
        store.epoch_deadline_callback(at_tick);
        // More than its memory has can no answer carry.
        store.set_hostcall_fuel(limits.memory_bytes_max.saturating_add(TEXT_BYTES_MAX));
        let _running = self.begin(&mut store);
        let instance = self
            .linked
            .instantiate(&mut store)
            .map_err(|error| refused(store.data().why(&error)))?;
        let init = instance.get_func(&mut store, self.init);
        let apply = instance.get_func(&mut store, self.apply);
        let (Some(init), Some(apply)) = (init, apply) else {
            return Err(LoadError::invalid(format_args!(
                "it has no functions in {INTERFACE}"
            )));
        };
        typed::<Rows<'_>, RowsOut>(&apply, &store)?;
        let init = typed::<(&str,), (Result<(), String>,)>(&init, &store)?;
        let answer = init.call(&mut store, (settings,));
        let (answer,) = answer.map_err(|error| refused(store.data().why(&error)))?;
        answer.map_err(|reason| refused(format!("it refused its settings: {}", cut(reason))))?;
        Ok(Instance { store, apply })
    }

    /// Asks an instance: the bytes that come out.
    ///
    /// # Errors
    /// `Row` as the guest says, or if more comes out than may; `Broken` if it crashed or met another limit.
    pub(crate) fn ask(
        &self,
        instance: &mut Instance,
        input: &[u8],
        limits: &Limits,
    ) -> Result<Vec<u8>, UdfError> {
        let _running = self.begin(&mut instance.store);
        let answer = instance
            .apply
            .typed::<Rows<'_>, RowsOut>(&instance.store)
            .and_then(|apply| apply.call(&mut instance.store, (input,)));
        let (answer,) =
            answer.map_err(|error| UdfError::new(UdfErrorKind::Broken, instance.store.data().why(&error)))?;
        let out = answer.map_err(|reason| UdfError::new(UdfErrorKind::Row, cut(reason)))?;
        if out.len() > limits.output_bytes_max {
            return Err(UdfError::new(
                UdfErrorKind::Row,
                format_args!(
                    "more came out than may of one call: let it make less, or raise the limit bytes={} \
                     output_bytes_max={}",
                    out.len(),
                    limits.output_bytes_max
                ),
            ));
        }
        Ok(out)
    }

    fn begin(&self, store: &mut Store<Host>) -> crate::runtime::RunningCall<'_> {
        store.data_mut().begin();
        store.set_epoch_deadline(1);
        self.runtime.call()
    }
}

impl Instance {
    /// Whether it may wait for its next call: memory that has grown is never given back.
    pub(crate) fn may_wait(&self) -> bool {
        self.store.data().memory_bytes() <= IDLE_MEMORY_BYTES_MAX
    }
}

/// The function, if `wit/udf.wit` gives it these types.
fn typed<P, R>(function: &Func, store: &Store<Host>) -> Result<TypedFunc<P, R>, LoadError>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    function.typed(store).map_err(|error| {
        LoadError::invalid(format_args!(
            "its functions have other types than wit/udf.wit says: {error:#}"
        ))
    })
}

/// A guest's text, cut to its limit.
fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        let bytes = text.len();
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.push_str(&format!(" (cut bytes={bytes})"));
    }
    text
}
