//! The graph of a job: numbered nodes, as written and as planned; drawn as Mermaid or Graphviz.

mod draw;

use std::collections::{BTreeMap, HashMap};

use crate::node::{NodeRef, Shape};
use crate::options::resolve;
use crate::planner::{Draft, Form, Work};
use crate::{Counts, NodeOptions, PlanOptions, Platform, Result};

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
            Self::Write => "write",
        }
    }

    /// Whether it has an effect.
    pub fn is_tail(self) -> bool {
        matches!(self, Self::Sum | Self::JoinSum | Self::Write)
    }

    /// Whether elements come from outside, are gathered or are written there: neither a function nor a merge.
    fn is_barrier(self) -> bool {
        self.is_tail() || matches!(self, Self::Source | Self::Lookup | Self::Join)
    }
}

/// One node of a [`Graph`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its number.
    pub id: NodeId,
    /// What it does.
    pub kind: NodeKind,
    /// The names that the user gave, the nearest to the node first.
    pub names: Vec<String>,
    /// The nodes it reads from, once for each time.
    pub parents: Vec<NodeId>,
    /// The nodes of the job as written whose work it is: itself, or several that are planned as one.
    pub members: Vec<NodeId>,
    /// The options that its kind reads, as set by names.
    pub options: NodeOptions,
    /// What has gone through it, if that is known.
    pub elements: Option<NodeElements>,
    /// Functions that are called within one another.
    pub(crate) depth: usize,
    /// What it is drawn with, if that is not kind and name.
    pub(crate) planned_title: Option<String>,
}

/// How many elements a running job has put through a node, in epochs that are committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeElements {
    /// Elements that it took; of a sum deltas, those of a key in an epoch joined to one. None go into a source.
    pub taken: u64,
    /// Elements that it handed on.
    pub given: u64,
}

impl NodeInfo {
    fn written(id: NodeId, kind: NodeKind, parents: Vec<NodeId>) -> Self {
        Self {
            id,
            kind,
            names: Vec::new(),
            parents,
            members: vec![id],
            options: NodeOptions::default(),
            elements: None,
            depth: 1,
            planned_title: None,
        }
    }

    /// The nearest name.
    pub fn name(&self) -> Option<&str> {
        self.names.first().map(String::as_str)
    }

    /// The nearest name, or kind and number in the graph as written: `sum-3`.
    pub fn label(&self) -> String {
        let number = self.members.last().unwrap_or(&self.id);
        self.name()
            .map_or_else(|| format!("{}-{}", self.kind.word(), number.0), str::to_owned)
    }

    /// Kind and name, as drawn: `sum counts`; of functions that are one `filter ▸ map words`.
    pub fn title(&self) -> String {
        let written = || match self.name() {
            Some(name) => format!("{} {name}", self.kind.word()),
            None => self.kind.word().to_owned(),
        };
        self.planned_title.clone().unwrap_or_else(written)
    }
}

/// The nodes of a job, parents before children, as written or as planned; what its functions have counted, if that is
/// known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    nodes: Vec<NodeInfo>,
    stages: Vec<Vec<NodeId>>,
    counts: Counts,
}

impl Graph {
    /// The nodes, by number.
    pub fn nodes(&self) -> &[NodeInfo] {
        &self.nodes
    }

    /// Of a planned graph: functions and merges that elements pass through without being gathered between them.
    pub fn stages(&self) -> &[Vec<NodeId>] {
        &self.stages
    }

    /// The same, drawn with these counts beside it: those of [`JobStatus::counters`](crate::JobStatus::counters).
    pub fn with_counts(self, counts: Counts) -> Self {
        Self { counts, ..self }
    }

    /// The same, with what has gone through its nodes.
    pub(crate) fn with_elements(mut self, elements: &BTreeMap<NodeId, NodeElements>) -> Self {
        for node in &mut self.nodes {
            node.elements = elements.get(&node.id).copied();
        }
        self
    }

    /// Connected functions and merges.
    fn staged(mut self) -> Self {
        let inside = |node: &NodeInfo| !node.kind.is_barrier();
        // For each node the first of its stage, as far as known: parents come first.
        let mut first: Vec<usize> = (0..self.nodes.len()).collect();
        let root = |first: &mut Vec<usize>, mut n: usize| {
            while first[n] != n {
                first[n] = first[first[n]];
                n = first[n];
            }
            n
        };
        for node in self.nodes.iter().filter(|node| inside(node)) {
            for parent in node.parents.iter().filter(|parent| inside(&self.nodes[parent.0])) {
                let (a, b) = (root(&mut first, parent.0), root(&mut first, node.id.0));
                first[a.max(b)] = a.min(b);
            }
        }
        let mut stages = BTreeMap::<usize, Vec<NodeId>>::new();
        for node in self.nodes.iter().filter(|node| inside(node)) {
            stages
                .entry(root(&mut first, node.id.0))
                .or_default()
                .push(node.id);
        }
        self.stages = stages.into_values().collect();
        self
    }
}

/// A job as written: its nodes by number, names left out; the ends, and the graph.
pub(crate) struct Order<P: Platform> {
    pub(crate) nodes: Vec<NodeRef<P>>,
    pub(crate) ends: Vec<NodeId>,
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
            match node.get().shape() {
                Shape::Name(name) => {
                    let names = &mut infos[parents[0].0].names;
                    if !names.iter().any(|known| known == name) {
                        names.push(name.to_owned());
                    }
                    ids.insert(node.address(), parents[0]);
                    stack.pop();
                }
                Shape::Node(kind) => {
                    let id = NodeId(infos.len());
                    infos.push(NodeInfo::written(id, kind, parents));
                    ids.insert(node.address(), id);
                    nodes.extend(stack.pop());
                }
            }
        }
        Self {
            nodes,
            ends: ends.iter().map(|end| ids[&end.address()]).collect(),
            graph: Graph {
                nodes: infos,
                ..Graph::default()
            },
        }
    }

    /// After the planner: the graph as run, and how each of its nodes is lowered.
    pub(crate) fn planned(&self, options: &PlanOptions) -> Result<(Graph, Vec<Form>)> {
        let resolved = resolve(&self.graph, options)?;
        let written = |node: NodeId| {
            let node = self.nodes[node.0].get();
            (node.work(), node.typed().element())
        };
        let mut draft = Draft::new(&self.graph, &self.ends, written);
        options.planner.apply(&mut draft)?;
        let (mut numbers, mut nodes, mut forms) = (HashMap::new(), Vec::new(), Vec::new());
        for (drafted, form) in draft.finish()? {
            let id = NodeId(nodes.len());
            numbers.insert(drafted, id);
            let written = |member: &NodeId| &self.graph.nodes[member.0];
            let title = matches!(&form.members[..], [member] if written(member).kind == form.kind);
            nodes.push(NodeInfo {
                names: form
                    .members
                    .iter()
                    .flat_map(|member| written(member).names.clone())
                    .collect(),
                members: form.members.clone(),
                options: match form.work {
                    Work::Written => resolved[form.carrier.0].clone(),
                    _ => NodeOptions::default(),
                },
                depth: form.depth,
                planned_title: (!title).then(|| form.title.clone()),
                ..NodeInfo::written(
                    id,
                    form.kind,
                    form.parents.iter().map(|parent| numbers[parent]).collect(),
                )
            });
            forms.push(form);
        }
        let graph = Graph {
            nodes,
            ..Graph::default()
        };
        Ok((graph.staged(), forms))
    }
}
