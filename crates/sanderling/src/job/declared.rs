//! What a job asks for, found by building it once with nothing behind its ports.

use flow::{Element, Graph, Key, Memory, PlanOptions, Platform, Producer, Result, Tail, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

use ::files::EventTime;

use super::{Ports, Program};

/// The names of a job's ports, and its graph.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) sources: Vec<&'static str>,
    pub(super) stores: Vec<&'static str>,
    pub(super) graph: Graph,
}

impl Declared {
    /// What `J` asks for.
    ///
    /// # Errors
    /// What the job itself reports.
    pub(super) fn of<J: Program>(flags: &J::Flags) -> Result<Self> {
        let mut names = Names::default();
        let graph = J::tail::<Memory, _>(flags, &mut names)?.graph();
        Ok(Self {
            sources: names.sources,
            stores: names.stores,
            graph,
        })
    }
}

/// Whether the job has the nodes that options are for.
///
/// # Errors
/// `Invalid` when an option is nobody's.
pub(super) fn check_options<J: Program>(flags: &J::Flags, options: &PlanOptions) -> Result<()> {
    let tail = J::tail::<Memory, _>(flags, &mut Names::default())?;
    // Over no elements this plans the job and does no more.
    Memory::run_with(&tail, options)?;
    Ok(())
}

#[derive(Default)]
struct Names {
    sources: Vec<&'static str>,
    stores: Vec<&'static str>,
}

impl Ports<Memory> for Names {
    fn source<T, R>(
        &mut self,
        name: &'static str,
        _: impl Fn(&T) -> R + Send + Sync + 'static,
    ) -> Result<Producer<Memory, T>>
    where
        T: Element + DeserializeOwned,
        R: EventTime,
    {
        self.sources.push(name);
        Ok(Producer::source(Vec::new()).name(name))
    }

    fn store_shown<K, V, S>(
        &mut self,
        name: &'static str,
        _: impl Fn(&V) -> S + Send + Sync + 'static,
    ) -> Result<<Memory as Platform>::Store<K, V>>
    where
        K: Key + Serialize + DeserializeOwned,
        V: Value + Serialize + DeserializeOwned,
        S: Serialize,
    {
        self.stores.push(name);
        Ok(<Memory as Platform>::Store::default())
    }
}
