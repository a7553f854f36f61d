//! Options of single nodes, set by name; and how a job is planned.
//!
//! A name stands for the node that has it and for all that leads to it. So a node sees its own names and those of what
//! is below it; of those that set an option the nearest wins, counted in nodes; of two that are equally near, that of the
//! node with the smaller number in [`Tail::graph`](crate::Tail::graph), so of the tail that is given first. Where no name
//! sets it, the job's own options hold. A name that no node has, or an option that nothing under the name reads, is an
//! error at planning.

mod resolve;

use std::collections::BTreeMap;

pub(crate) use self::resolve::resolve;
use crate::{Error, ErrorKind, NodeKind, Planner, Result};

/// Options of one node, each unset or set; each is read by the kinds of nodes that its text names.
///
/// [`Local`](crate::Local) does what they say, [`Hybrid`](crate::Hybrid) on both sides, and [`Memory`](crate::Memory)
/// checks them. There are none for functions and merges: they run with what gives them their elements.
///
/// ```
/// use flow::{JobOptions, NodeOptions};
///
/// let options = JobOptions::default()
///     .with("counts", NodeOptions { parallelism: Some(2), ..NodeOptions::default() })
///     .set("lines.epoch_bytes_max", "1MiB")?;
/// assert_eq!(options.plan.nodes["lines"].epoch_bytes_max, Some(1 << 20));
/// # Ok::<(), flow::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeOptions {
    /// On how many threads the functions run that take the elements of a source, look-up, join, sum or closing; small
    /// epochs take fewer. Sources with different numbers run one after the other. Default: that of the job.
    pub parallelism: Option<usize>,
    /// About how many bytes a source gives to an epoch. Default: an equal share of those of the job.
    pub epoch_bytes_max: Option<usize>,
    /// How many keys a look-up, join or sum, or a closing of a sum, asks its service or store for in one call. Default:
    /// all of an epoch; of a closing, a page.
    pub call_keys_max: Option<usize>,
    /// How many of these calls are under way at once. Default: 1.
    pub calls_max: Option<usize>,
    /// For how many elements of a look-up the answer to a key is used again, found or not; so it is as stale as that,
    /// and to the end of an epoch; and as many answers at most are kept between epochs. Default: 0, each epoch asks anew.
    pub cache_elements: Option<usize>,
}

/// An option by its name, as in settings.
struct Field {
    name: &'static str,
    get: fn(&NodeOptions) -> Option<usize>,
    place: fn(&mut NodeOptions) -> &mut Option<usize>,
    min: usize,
    readers: &'static [NodeKind],
}

const ASKS: [NodeKind; 5] = [
    NodeKind::Lookup,
    NodeKind::Join,
    NodeKind::Sum,
    NodeKind::JoinSum,
    NodeKind::Close,
];
const GIVES: [NodeKind; 6] = [
    NodeKind::Source,
    NodeKind::Lookup,
    NodeKind::Join,
    NodeKind::Sum,
    NodeKind::JoinSum,
    NodeKind::Close,
];

const FIELDS: [Field; 5] = [
    Field {
        name: "parallelism",
        get: |options| options.parallelism,
        place: |options| &mut options.parallelism,
        min: 1,
        readers: &GIVES,
    },
    Field {
        name: "epoch_bytes_max",
        get: |options| options.epoch_bytes_max,
        place: |options| &mut options.epoch_bytes_max,
        min: 1,
        readers: &[NodeKind::Source],
    },
    Field {
        name: "call_keys_max",
        get: |options| options.call_keys_max,
        place: |options| &mut options.call_keys_max,
        min: 1,
        readers: &ASKS,
    },
    Field {
        name: "calls_max",
        get: |options| options.calls_max,
        place: |options| &mut options.calls_max,
        min: 1,
        readers: &ASKS,
    },
    Field {
        name: "cache_elements",
        get: |options| options.cache_elements,
        place: |options| &mut options.cache_elements,
        min: 0,
        readers: &[NodeKind::Lookup],
    },
];

impl NodeOptions {
    /// Sets the option of this name to a value as text: a number, which may end in `KiB`, `MiB` or `GiB`.
    ///
    /// # Errors
    /// `Invalid`, with the known options, if there is no such option or the value is not a number.
    pub fn set(&mut self, option: &str, value: &str) -> Result<()> {
        let Some(field) = FIELDS.iter().find(|field| field.name == option) else {
            let known = FIELDS.map(|field| field.name);
            return Err(unknown("option", option, &known));
        };
        *(field.place)(self) = Some(number(value).ok_or_else(|| {
            let text = format!(
                "an option is a whole number, of bytes also with KiB, MiB or GiB: mend it option={option} value={value:?}"
            );
            Error::new(ErrorKind::Invalid, text)
        })?);
        Ok(())
    }
}

/// How a job is planned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanOptions {
    /// Options of nodes by name.
    pub nodes: BTreeMap<String, NodeOptions>,
    /// Options of all nodes, where no name sets them.
    pub all: NodeOptions,
    /// The rules that rewrite the graph.
    pub planner: Planner,
}

impl PlanOptions {
    /// Sets an option from text: `name.option`, or `option` for all nodes. The name may have dots.
    ///
    /// # Errors
    /// As [`NodeOptions::set`]. Whether there is such a name shows when the job is planned.
    pub fn set(&mut self, option: &str, value: &str) -> Result<()> {
        match option.rsplit_once('.') {
            None => self.all.set(option, value),
            Some((name, option)) => {
                let mut options = self.nodes.get(name).cloned().unwrap_or_default();
                options.set(option, value)?;
                self.nodes.insert(name.to_owned(), options);
                Ok(())
            }
        }
    }
}

fn number(text: &str) -> Option<usize> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    let unit = units
        .iter()
        .find_map(|(unit, size)| Some((text.strip_suffix(unit)?, *size)));
    let (digits, size) = unit.unwrap_or((text, 1));
    digits.trim().parse::<usize>().ok()?.checked_mul(size)
}

/// The error for a name that is not known, with the known one that is most like it.
fn unknown(what: &str, name: &str, known: &[&str]) -> Error {
    let nearest = known
        .iter()
        .min_by_key(|known| strsim::osa_distance(known, name))
        .filter(|known| strsim::osa_distance(known, name) <= 1 + name.chars().count() / 3);
    let hint = nearest.map_or_else(String::new, |nearest| format!(", did you mean `{nearest}`?"));
    let text = format!(
        "there is no such {what}{hint} {what}={name:?} known=[{}]",
        known.join(", ")
    );
    Error::new(ErrorKind::Invalid, text)
}
