//! The graph of a job, for people: numbered nodes, drawn as Mermaid or Graphviz.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::node::{NodeRef, Shape};
use crate::{Counts, Platform};

/// The number of a node in its graph: parents have smaller ones; the same job always gets the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub usize);

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NodeKind {
    /// Elements from outside.
    Source,
    /// One to one.
    Map,
    /// One to itself or none.
    Filter,
    /// One to one or none.
    FilterMap,
    /// One to any number.
    FlatMap,
    /// The key of a pair to any number; the value stays.
    FlatMapKeys,
    /// The value of a pair to any number; the key stays.
    FlatMapValues,
    /// The elements of two nodes.
    Merge,
    /// With the value of a service.
    Lookup,
    /// With the value of a sum of this job.
    Join,
    /// Sum by key into a store: a tail.
    Sum,
    /// With the value of a sum, which it adds to: a tail.
    JoinSum,
    /// The final sums of closed batches: a tail.
    Close,
    /// Write to a sink: a tail.
    Write,
}

impl NodeKind {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Map => "map",
            Self::Filter => "filter",
            Self::FilterMap => "filter_map",
            Self::FlatMap => "flat_map",
            Self::FlatMapKeys => "flat_map_keys",
            Self::FlatMapValues => "flat_map_values",
            Self::Merge => "merge",
            Self::Lookup => "lookup",
            Self::Join => "join",
            Self::Sum => "sum",
            Self::JoinSum => "join_sum",
            Self::Close => "close",
            Self::Write => "write",
        }
    }

    /// Whether it has an effect.
    pub fn is_tail(self) -> bool {
        matches!(self, Self::Sum | Self::JoinSum | Self::Close | Self::Write)
    }
}

/// One node of a [`Graph`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its number.
    pub id: NodeId,
    /// What it does.
    pub kind: NodeKind,
    /// The name that the user gave.
    pub name: Option<String>,
    /// The nodes it reads from, once for each time.
    pub parents: Vec<NodeId>,
}

impl NodeInfo {
    /// The name given, or kind and number: `sum-3`.
    pub fn label(&self) -> String {
        self.name
            .clone()
            .unwrap_or_else(|| format!("{}-{}", self.kind.word(), self.id.0))
    }
}

/// The nodes of a job, parents before children; and what its functions have counted, if that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    nodes: Vec<NodeInfo>,
    counts: Counts,
}

impl Graph {
    /// The nodes, by number.
    pub fn nodes(&self) -> &[NodeInfo] {
        &self.nodes
    }

    /// The same, drawn with these counts beside it: those of [`JobStatus::counters`](crate::JobStatus::counters).
    pub fn with_counts(self, counts: Counts) -> Self {
        Self { counts, ..self }
    }

    /// The counts, a line each.
    fn legend(&self, line_end: &str) -> Option<String> {
        let lines = self.counts.iter().map(|(name, n)| format!("{name}: {n}"));
        let lines: Vec<String> = lines.collect();
        (!lines.is_empty()).then(|| lines.join(line_end))
    }

    /// A Mermaid flow chart.
    pub fn to_mermaid(&self) -> String {
        let mut text = String::from("flowchart LR\n");
        for NodeInfo { id, kind, .. } in &self.nodes {
            let label = self.title(*id).replace('"', "#quot;");
            let (open, close) = match kind {
                NodeKind::Source => ("([", "])"),
                kind if kind.is_tail() => ("[(", ")]"),
                _ => ("[", "]"),
            };
            let _ = writeln!(text, "  n{}{open}\"{label}\"{close}", id.0);
        }
        self.edges(|from, to| {
            let _ = writeln!(text, "  n{from} --> n{to}");
        });
        if let Some(legend) = self.legend("<br/>") {
            let _ = writeln!(text, "  counters>\"{}\"]", legend.replace('"', "#quot;"));
        }
        text
    }

    /// A Graphviz digraph.
    pub fn to_dot(&self) -> String {
        let mut text = String::from("digraph job {\n  rankdir=LR;\n");
        for NodeInfo { id, kind, .. } in &self.nodes {
            let label = self.title(*id).replace('\\', "\\\\").replace('"', "\\\"");
            let shape = match kind {
                NodeKind::Source => "ellipse",
                kind if kind.is_tail() => "cylinder",
                _ => "box",
            };
            let _ = writeln!(text, "  n{} [label=\"{label}\", shape={shape}];", id.0);
        }
        self.edges(|from, to| {
            let _ = writeln!(text, "  n{from} -> n{to};");
        });
        if let Some(legend) = self.legend("\n") {
            let label = legend
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\l");
            let _ = writeln!(text, "  counters [label=\"{label}\\l\", shape=note];");
        }
        text.push_str("}\n");
        text
    }

    fn title(&self, id: NodeId) -> String {
        let NodeInfo { kind, name, .. } = &self.nodes[id.0];
        name.as_ref().map_or_else(
            || kind.word().to_owned(),
            |name| format!("{} {name}", kind.word()),
        )
    }

    fn edges(&self, mut edge: impl FnMut(usize, usize)) {
        for node in &self.nodes {
            for parent in &node.parents {
                edge(parent.0, node.id.0);
            }
        }
    }
}

/// The nodes that tails reach, parents first. A name has the number of the node that it names.
pub(crate) struct Order<P: Platform> {
    pub(crate) nodes: Vec<(NodeRef<P>, NodeId)>,
    pub(crate) graph: Graph,
}

impl<P: Platform> Order<P> {
    pub(crate) fn of(ends: &[NodeRef<P>]) -> Self {
        let (mut nodes, mut infos) = (Vec::new(), Vec::<NodeInfo>::new());
        let mut ids: HashMap<usize, NodeId> = HashMap::new();
        // A node goes on the stack, then its parents above it; it gets its number when they have theirs.
        let mut stack: Vec<NodeRef<P>> = ends.iter().rev().cloned().collect();
        while let Some(node) = stack.last() {
            if ids.contains_key(&node.address()) {
                stack.pop();
                continue;
            }
            let parents = node.get().parents();
            let missing = parents
                .iter()
                .rev()
                .filter(|parent| !ids.contains_key(&parent.address()));
            let missing: Vec<_> = missing.cloned().collect();
            if !missing.is_empty() {
                stack.extend(missing);
                continue;
            }
            let parents: Vec<NodeId> = parents.iter().map(|parent| ids[&parent.address()]).collect();
            let id = match node.get().shape() {
                Shape::Name(name) => {
                    infos[parents[0].0].name.get_or_insert_with(|| name.to_owned());
                    parents[0]
                }
                Shape::Node(kind) => {
                    let id = NodeId(infos.len());
                    infos.push(NodeInfo {
                        id,
                        kind,
                        name: None,
                        parents,
                    });
                    id
                }
            };
            ids.insert(node.address(), id);
            nodes.extend(stack.pop().map(|node| (node, id)));
        }
        Self {
            nodes,
            graph: Graph {
                nodes: infos,
                counts: Counts::new(),
            },
        }
    }
}
