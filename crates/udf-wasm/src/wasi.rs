//! WASI 0.2 for guests that an ordinary toolchain built: all of it can be linked, and next to nothing can be done.
//!
//! What start-up code of languages asks for has an answer that is the same in each call: no arguments, no environment,
//! no directories, an empty standard input, a clock that stands at 1970-01-01, and random numbers from one seed.
//! What is written to standard output is gone; standard error is shown when the guest crashes. Waiting returns at once.
//! Any other call ends the guest's call with an error that names it.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, LinkerInstance, Resource, ResourceType, Val};
use wasmtime::{AsContextMut, Engine, Error, Result, StoreContextMut};

use crate::LoadError;
use crate::host::Host;
use crate::limits::TEXT_BYTES_MAX;

/// What a guest holds of the host: the number is one of the constants below.
struct Handle;

const STANDARD_INPUT: u32 = 0;
const STANDARD_OUTPUT: u32 = 1;
const STANDARD_ERROR: u32 = 2;
const ALWAYS_READY: u32 = 3;

/// A linker with all that the component imports.
///
/// # Errors
/// `Invalid` if it imports anything but WASI 0.2.
pub(crate) fn linker(engine: &Engine, component: &Component) -> Result<Linker<Host>, LoadError> {
    let mut linker = Linker::new(engine);
    for (name, import) in component.component_type().imports(engine) {
        let interface = name
            .strip_prefix("wasi:")
            .and_then(|name| name.split_once("@0.2."))
            .map(|(interface, _)| interface);
        let (Some(interface), ComponentItem::ComponentInstance(instance)) = (interface, import.ty) else {
            return Err(LoadError::invalid(format_args!(
                "the component imports what steps do not have: build it without (WASI 0.2 may be imported) \
                 import={name}"
            )));
        };
        let defined = linker.instance(name).and_then(|mut instances| {
            for (item, export) in instance.exports(engine) {
                define(&mut instances, interface, item, &export.ty)?;
            }
            Ok(())
        });
        defined.map_err(|error| LoadError::invalid(format_args!("{error:#} import={name}")))?;
    }
    Ok(linker)
}

fn define(
    into: &mut LinkerInstance<'_, Host>,
    interface: &str,
    item: &str,
    ty: &ComponentItem,
) -> Result<()> {
    match ty {
        ComponentItem::Resource(_) => into.resource(item, ResourceType::host::<Handle>(), |_, _| Ok(())),
        ComponentItem::ComponentFunc(_) => {
            let (interface, name) = (interface.to_owned(), item.to_owned());
            into.func_new(item, move |mut store, _, params, results| {
                let answer = answer(&mut store, (&interface, &name), params)?;
                match (results, answer) {
                    ([], None) => Ok(()),
                    ([result], Some(answer)) => {
                        *result = answer;
                        Ok(())
                    }
                    _ => Err(denied(&mut store, &interface, &name)),
                }
            })
        }
        _ => Ok(()),
    }
}

fn denied(store: &mut StoreContextMut<'_, Host>, interface: &str, name: &str) -> Error {
    store.data_mut().refuse(format!(
        "it called what steps do not have (files, network, processes): do without call=wasi:{interface}#{name}"
    ))
}

fn answer(
    store: &mut StoreContextMut<'_, Host>,
    (interface, name): (&str, &str),
    params: &[Val],
) -> Result<Option<Val>> {
    let method = name.rsplit_once('.').map_or(name, |(_, method)| method);
    Ok(Some(match (interface, method) {
        ("cli/environment", "get-environment" | "get-arguments")
        | ("filesystem/preopens", "get-directories") => Val::List(Vec::new()),
        ("cli/environment", "initial-cwd")
        | ("filesystem/types", "filesystem-error-code")
        | ("cli/terminal-stdin" | "cli/terminal-stdout" | "cli/terminal-stderr", _) => Val::Option(None),
        ("cli/stdin", "get-stdin") => handle(store, STANDARD_INPUT)?,
        ("cli/stdout", "get-stdout") => handle(store, STANDARD_OUTPUT)?,
        ("cli/stderr", "get-stderr") => handle(store, STANDARD_ERROR)?,
        ("cli/exit", "exit" | "exit-with-code") => {
            return Err(store
                .data_mut()
                .refuse("it ended itself: call=wasi:cli/exit".to_owned()));
        }
        ("io/streams", _) => return stream(store, name, params),
        ("io/poll", "ready") => Val::Bool(true),
        ("io/poll", "block") => return Ok(None),
        ("io/poll", "poll") => ready(params),
        ("clocks/monotonic-clock", "now") => Val::U64(0),
        ("clocks/monotonic-clock", "resolution") => Val::U64(1),
        ("clocks/monotonic-clock", "subscribe-duration" | "subscribe-instant") => {
            handle(store, ALWAYS_READY)?
        }
        ("clocks/wall-clock", "now") => time(0),
        ("clocks/wall-clock", "resolution") => time(1),
        ("random/insecure-seed", "insecure-seed") => {
            let host = store.data_mut();
            Val::Tuple(vec![Val::U64(host.draw()), Val::U64(host.draw())])
        }
        ("random/random", "get-random-u64") | ("random/insecure", "get-insecure-random-u64") => {
            Val::U64(store.data_mut().draw())
        }
        ("random/random", "get-random-bytes") | ("random/insecure", "get-insecure-random-bytes") => {
            random_bytes(store, params)?
        }
        _ => return Err(denied(store, interface, name)),
    }))
}

fn stream(store: &mut StoreContextMut<'_, Host>, name: &str, params: &[Val]) -> Result<Option<Val>> {
    Ok(Some(match name {
        "[method]output-stream.check-write" => {
            Val::Result(Ok(Some(Box::new(Val::U64(TEXT_BYTES_MAX as u64)))))
        }
        "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush" => {
            if let [Val::Resource(stream), Val::List(bytes)] = params {
                let stream: Resource<Handle> = stream.try_into_resource(store.as_context_mut())?;
                if stream.rep() == STANDARD_ERROR {
                    let bytes = bytes.iter().filter_map(|byte| match byte {
                        Val::U8(byte) => Some(*byte),
                        _ => None,
                    });
                    store.data_mut().write_stderr(bytes);
                }
            }
            Val::Result(Ok(None))
        }
        "[method]output-stream.flush" | "[method]output-stream.blocking-flush" => Val::Result(Ok(None)),
        "[method]input-stream.read" | "[method]input-stream.blocking-read" => {
            Val::Result(Err(Some(Box::new(Val::Variant("closed".to_owned(), None)))))
        }
        "[method]output-stream.subscribe" | "[method]input-stream.subscribe" => handle(store, ALWAYS_READY)?,
        _ => return Err(denied(store, "io/streams", name)),
    }))
}

fn handle(store: &mut StoreContextMut<'_, Host>, number: u32) -> Result<Val> {
    let resource = Resource::<Handle>::new_own(number);
    Ok(Val::Resource(
        resource.try_into_resource_any(store.as_context_mut())?,
    ))
}

/// The places of all that are waited for.
fn ready(params: &[Val]) -> Val {
    let places = match params {
        [Val::List(waited)] => 0..waited.len() as u32,
        _ => 0..0,
    };
    Val::List(places.map(Val::U32).collect())
}

fn time(nanoseconds: u32) -> Val {
    Val::Record(vec![
        ("seconds".to_owned(), Val::U64(0)),
        ("nanoseconds".to_owned(), Val::U32(nanoseconds)),
    ])
}

fn random_bytes(store: &mut StoreContextMut<'_, Host>, params: &[Val]) -> Result<Val> {
    let host = store.data_mut();
    match params {
        [Val::U64(wanted)] if *wanted <= TEXT_BYTES_MAX as u64 => {
            let bytes = (0..*wanted).map(|_| Val::U8(host.draw() as u8));
            Ok(Val::List(bytes.collect()))
        }
        _ => Err(host.refuse(format!(
            "it wanted more random bytes at once than a step may: ask for less bytes_max={TEXT_BYTES_MAX}"
        ))),
    }
}
