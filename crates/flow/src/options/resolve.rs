//! Which node gets which option: one walk from the names to the sources for each option.

use std::collections::VecDeque;

use super::{FIELDS, Field, PlanOptions, unknown};
use crate::{Error, ErrorKind, Graph, NodeId, NodeInfo, NodeKind, NodeOptions, Result};

/// The options of each node of `graph`; those only that its kind reads.
///
/// `Invalid` if there is no node of a name, or nothing under it reads an option that it sets, or a value is too small.
pub(crate) fn resolve(graph: &Graph, options: &PlanOptions) -> Result<Vec<NodeOptions>> {
    check_names(graph, options)?;
    let mut resolved = vec![NodeOptions::default(); graph.nodes().len()];
    for field in &FIELDS {
        let setters = options.nodes.iter().filter(|(_, set)| (field.get)(set).is_some());
        for (name, set) in setters {
            check_value(field, name, set)?;
            let heads = named(graph, name).collect();
            let mut above = vec![false; graph.nodes().len()];
            walk(graph, heads, |node, _| {
                !std::mem::replace(&mut above[node.0], true)
            });
            let mut nodes = graph.nodes().iter();
            if !nodes.any(|node| above[node.id.0] && field.readers.contains(&node.kind)) {
                return Err(unread(graph, field, name));
            }
        }
        check_value(field, "", &options.all)?;
        // Of the names of one node the first is the nearest.
        let own = |node: &NodeInfo| {
            let mut names = node.names.iter();
            names.find_map(|name| (field.get)(options.nodes.get(name)?))
        };
        let own: Vec<Option<usize>> = graph.nodes().iter().map(own).collect();
        let heads = (0..own.len()).filter(|n| own[*n].is_some()).map(NodeId);
        let mut values = vec![None; own.len()];
        walk(graph, heads.collect(), |node, below| {
            let new = values[node.0].is_none();
            if new {
                values[node.0] = below.map_or(own[node.0], |below| values[below.0]);
            }
            new
        });
        for (node, value) in graph.nodes().iter().zip(values) {
            if field.readers.contains(&node.kind) {
                *(field.place)(&mut resolved[node.id.0]) = value.or((field.get)(&options.all));
            }
        }
    }
    Ok(resolved)
}

/// Goes from `heads` up, the nearest nodes first: `visit` gets a node and the one below, and says whether to go on.
fn walk(graph: &Graph, heads: Vec<NodeId>, mut visit: impl FnMut(NodeId, Option<NodeId>) -> bool) {
    let mut queue: VecDeque<(NodeId, Option<NodeId>)> = heads.into_iter().map(|node| (node, None)).collect();
    while let Some((node, below)) = queue.pop_front() {
        if visit(node, below) {
            let parents = graph.nodes()[node.0].parents.iter();
            queue.extend(parents.map(|parent| (*parent, Some(node))));
        }
    }
}

fn named<'a>(graph: &'a Graph, name: &'a str) -> impl Iterator<Item = NodeId> + 'a {
    let nodes = graph.nodes().iter();
    nodes
        .filter(move |node| node.names.iter().any(|own| own == name))
        .map(|node| node.id)
}

fn check_names(graph: &Graph, options: &PlanOptions) -> Result<()> {
    let known = graph
        .nodes()
        .iter()
        .flat_map(|node| &node.names)
        .map(String::as_str);
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    known.dedup();
    match options
        .nodes
        .keys()
        .find(|name| known.binary_search(&name.as_str()).is_err())
    {
        None => Ok(()),
        Some(name) => Err(unknown("name", name, &known)),
    }
}

fn check_value(field: &Field, name: &str, set: &NodeOptions) -> Result<()> {
    match (field.get)(set) {
        Some(value) if value < field.min => {
            let text = format!(
                "an option is too small name={name:?} option={} value={value} min={}",
                field.name, field.min
            );
            Err(Error::new(ErrorKind::Invalid, text))
        }
        _ => Ok(()),
    }
}

/// Nothing under a name reads the option.
fn unread(graph: &Graph, field: &Field, name: &str) -> Error {
    let kind = named(graph, name).next().map(|node| graph.nodes()[node.0].kind);
    let own = |field: &&Field| kind.is_some_and(|kind| field.readers.contains(&kind));
    let options: Vec<&str> = FIELDS.iter().filter(own).map(|field| field.name).collect();
    let readers: Vec<&str> = field.readers.iter().map(|kind: &NodeKind| kind.word()).collect();
    let text = format!(
        "nothing with this name or above it reads the option: leave it out, or name a node that does name={name:?} option={} \
         read_by=[{}] kind={} options_of_the_kind=[{}]",
        field.name,
        readers.join(", "),
        kind.map_or("none", NodeKind::word),
        options.join(", "),
    );
    Error::new(ErrorKind::Invalid, text)
}
