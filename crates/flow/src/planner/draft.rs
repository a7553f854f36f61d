//! The graph that rules rewrite: nodes by number, without their types, which it keeps nevertheless.

use std::any::TypeId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use super::function::AnyFunction;
use crate::{Error, ErrorKind, Graph, NodeId, NodeKind, Result};

/// The type of a node's elements.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ElementType {
    pub(crate) id: TypeId,
    pub(crate) name: &'static str,
}

/// How the work of a node is lowered.
#[derive(Clone)]
pub(crate) enum Work {
    /// As the node says that the job was written with.
    Written,
    /// As this function, of the type that the carrier's function has.
    Function(Arc<dyn AnyFunction>),
    /// As a merge of elements of the carrier's type.
    Merge,
}

/// What a node does and what it reads: a handle that knows its element type, to be put in a node's place or to be added.
#[derive(Clone)]
pub struct Form {
    pub(crate) work: Work,
    pub(crate) kind: NodeKind,
    pub(crate) parents: Vec<NodeId>,
    /// The node of the job, as written, whose types this has.
    pub(crate) carrier: NodeId,
    pub(crate) element: ElementType,
    /// The nodes of the job, as written, whose work this is.
    pub(crate) members: Vec<NodeId>,
    pub(crate) title: String,
    /// Functions that are called within one another.
    pub(crate) depth: usize,
}

struct Spot {
    form: Form,
    /// Who reads it, and how often.
    readers: BTreeMap<NodeId, usize>,
    end: bool,
    alive: bool,
}

/// A job's graph while it is planned. At first a node has the number that it has in [`Tail::graph`](crate::Tail::graph).
///
/// A node is replaced in its place, by what hands on the same type of elements; so whoever reads it need not know. What
/// nothing reads any more, and has no effect, is dropped at once, with all that led only to it.
pub struct Draft {
    spots: Vec<Spot>,
    /// Nodes whose surroundings have changed.
    touched: BTreeSet<NodeId>,
}

impl Draft {
    /// Of a graph; `form` says what each node is. A join reads its sum's deltas too, through its sum.
    pub(crate) fn new(graph: &Graph, ends: &[NodeId], form: impl Fn(NodeId) -> (Work, ElementType)) -> Self {
        let mut draft = Self {
            spots: Vec::new(),
            touched: BTreeSet::new(),
        };
        for node in graph.nodes() {
            let (work, element) = form(node.id);
            draft.add(Form {
                work,
                kind: node.kind,
                parents: node.parents.clone(),
                carrier: node.id,
                element,
                members: vec![node.id],
                title: node.title(),
                depth: 1,
            });
        }
        ends.iter().for_each(|end| draft.spots[end.0].end = true);
        draft
    }

    fn form(&self, node: NodeId) -> &Form {
        &self.spots[node.0].form
    }

    /// Whether it is there still.
    pub fn is_alive(&self, node: NodeId) -> bool {
        self.spots.get(node.0).is_some_and(|spot| spot.alive)
    }

    /// What it does.
    pub fn kind(&self, node: NodeId) -> NodeKind {
        self.form(node).kind
    }

    /// What it reads, in order, once for each time.
    pub fn parents(&self, node: NodeId) -> &[NodeId] {
        &self.form(node).parents
    }

    /// Who reads it, each once.
    pub fn readers(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.spots[node.0].readers.keys().copied()
    }

    /// The one node that reads it, if it reads it once and nobody else does.
    pub fn only_reader(&self, node: NodeId) -> Option<NodeId> {
        let spot = &self.spots[node.0];
        let (reader, times) = spot.readers.first_key_value()?;
        (spot.readers.len() == 1 && *times == 1 && !spot.end).then_some(*reader)
    }

    /// Whether it is a function from one element to any number.
    pub fn is_function(&self, node: NodeId) -> bool {
        matches!(self.form(node).work, Work::Function(_))
    }

    /// Whether it merges.
    pub fn is_merge(&self, node: NodeId) -> bool {
        matches!(self.form(node).work, Work::Merge)
    }

    /// How many functions of its are called within one another.
    pub fn depth(&self, node: NodeId) -> usize {
        self.form(node).depth
    }

    /// A function and the function that reads it, as one: if one of the two keeps the type of its elements.
    pub fn composed(&self, first: NodeId, second: NodeId) -> Option<Form> {
        let (a, b) = (self.form(first), self.form(second));
        let (Work::Function(f), Work::Function(g)) = (&a.work, &b.work) else {
            return None;
        };
        let (function, carrier) = match f.then(&**g) {
            Some(function) => (function, a.carrier),
            None => (g.after(&**f)?, b.carrier),
        };
        (b.parents == [first]).then(|| Form {
            work: Work::Function(function),
            kind: in_a_row(a.kind, b.kind),
            parents: a.parents.clone(),
            carrier,
            element: b.element,
            members: [&a.members[..], &b.members].concat(),
            title: format!("{} ▸ {}", a.title, b.title),
            depth: a.depth + b.depth,
        })
    }

    /// Functions of the same type that read one node, as one: each element through all of them, in order.
    pub fn together(&self, functions: &[NodeId]) -> Option<Form> {
        let forms: Vec<&Form> = functions.iter().map(|node| self.form(*node)).collect();
        let (first, others) = forms.split_first()?;
        let works = forms.iter().map(|form| match &form.work {
            Work::Function(function) if form.parents == first.parents => Some(function.clone()),
            _ => None,
        });
        let works: Vec<_> = works.collect::<Option<_>>()?;
        let function = works[0].together(&works[1..])?;
        let titles: Vec<&str> = forms.iter().map(|form| form.title.as_str()).collect();
        let keeps = matches!(first.kind, NodeKind::FlatMapKeys | NodeKind::FlatMapValues);
        let same = keeps && others.iter().all(|other| other.kind == first.kind);
        Some(Form {
            work: Work::Function(function),
            kind: if same { first.kind } else { NodeKind::FlatMap },
            parents: first.parents.clone(),
            carrier: first.carrier,
            element: first.element,
            members: forms.iter().flat_map(|form| form.members.clone()).collect(),
            title: format!("({})", titles.join(" | ")),
            depth: forms.iter().map(|form| form.depth).max()?,
        })
    }

    /// The same function over another node, whose elements have the same type as those of the node it reads now.
    pub fn over(&self, function: NodeId, parent: NodeId) -> Option<Form> {
        let form = self.form(function);
        let now = *form.parents.first()?;
        let fits = self.is_function(function) && self.form(now).element == self.form(parent).element;
        fits.then(|| Form {
            parents: vec![parent],
            ..form.clone()
        })
    }

    /// The elements of all `sides`, if they have one type.
    pub fn merged(&self, sides: Vec<NodeId>) -> Option<Form> {
        let first = self.form(*sides.first()?);
        let fits = sides.iter().all(|side| self.form(*side).element == first.element);
        fits.then(|| Form {
            work: Work::Merge,
            kind: NodeKind::Merge,
            carrier: first.carrier,
            element: first.element,
            members: Vec::new(),
            title: NodeKind::Merge.word().to_owned(),
            depth: 1,
            parents: sides,
        })
    }

    /// `form`, which does the work of these nodes as well and shows their names.
    pub fn standing_for(&self, mut form: Form, nodes: &[NodeId]) -> Form {
        for other in nodes.iter().map(|node| self.form(*node)) {
            form.members.extend(&other.members);
            if other.title == other.kind.word() {
                continue;
            }
            if form.title == form.kind.word() {
                form.title.clone_from(&other.title);
            } else {
                form.title = format!("{} ▸ {}", form.title, other.title);
            }
        }
        form
    }

    /// Adds a node, which is to be read by one that is replaced next.
    pub fn add(&mut self, form: Form) -> NodeId {
        let node = NodeId(self.spots.len());
        for parent in &form.parents {
            *self.spots[parent.0].readers.entry(node).or_default() += 1;
        }
        self.spots.push(Spot {
            form,
            readers: BTreeMap::new(),
            end: false,
            alive: true,
        });
        self.touched.insert(node);
        node
    }

    /// Puts `form` in the place of a function or a merge: its readers read `form` from now on.
    ///
    /// # Errors
    /// `Invalid` if the elements are of another type, or the node is neither a function nor a merge.
    pub fn replace(&mut self, node: NodeId, form: Form) -> Result<()> {
        let old = self.form(node);
        if old.element != form.element || matches!(old.work, Work::Written) {
            let (is, would) = (old.element.name, form.element.name);
            let text = format!(
                "a function or a merge may only be replaced by what hands on the same type: mend the rule \
                 node={} type={is} new_type={would}",
                old.title
            );
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        for parent in &form.parents {
            *self.spots[parent.0].readers.entry(node).or_default() += 1;
        }
        let old = std::mem::replace(&mut self.spots[node.0].form, form);
        self.release(vec![(node, old.parents)]);
        self.touched.insert(node);
        let readers: Vec<NodeId> = self.readers(node).collect();
        for reader in readers {
            self.touched.insert(reader);
            self.touched.extend(self.only_reader(reader));
        }
        Ok(())
    }

    /// No longer an end of the job: a function or a merge that nothing reads and that has no effect.
    pub fn drop_end(&mut self, node: NodeId) {
        let spot = &mut self.spots[node.0];
        if spot.end && spot.readers.is_empty() && !spot.form.kind.is_tail() {
            spot.end = false;
            spot.alive = false;
            let parents = std::mem::take(&mut spot.form.parents);
            self.release(vec![(node, parents)]);
        }
    }

    /// Readers no longer read these parents; whoever is not needed any more goes too.
    fn release(&mut self, mut released: Vec<(NodeId, Vec<NodeId>)>) {
        while let Some((reader, parents)) = released.pop() {
            for parent in parents {
                let spot = &mut self.spots[parent.0];
                if let Some(times) = spot.readers.get_mut(&reader) {
                    *times -= 1;
                    if *times == 0 {
                        spot.readers.remove(&reader);
                    }
                }
                if !spot.alive {
                    continue;
                }
                if spot.readers.is_empty() && !spot.end && !spot.form.kind.is_tail() {
                    spot.alive = false;
                    released.push((parent, std::mem::take(&mut spot.form.parents)));
                } else if let Some(only) = self.only_reader(parent) {
                    self.touched.extend([parent, only]);
                }
            }
        }
    }

    pub(super) fn take_touched(&mut self) -> BTreeSet<NodeId> {
        std::mem::take(&mut self.touched)
    }

    /// Whether a rule has left nodes that neither are read nor do anything; they are dropped.
    fn drop_unread(&mut self) {
        for n in 0..self.spots.len() {
            let spot = &mut self.spots[n];
            if spot.alive && spot.readers.is_empty() && !spot.end && !spot.form.kind.is_tail() {
                spot.alive = false;
                let parents = std::mem::take(&mut spot.form.parents);
                self.release(vec![(NodeId(n), parents)]);
            }
        }
    }

    /// The nodes, parents first, and otherwise in the order in which the job has them, whatever the rules have done:
    /// sources keep their numbers. `Invalid` if a rule has made a cycle.
    pub(crate) fn finish(mut self) -> Result<Vec<(NodeId, Form)>> {
        self.drop_unread();
        let key = |node: NodeId| Reverse((self.form(node).members.iter().max().copied(), node));
        let mut missing: Vec<usize> = self.spots.iter().map(|spot| spot.form.parents.len()).collect();
        let alive = (0..self.spots.len()).filter(|n| self.spots[*n].alive);
        let alive: Vec<usize> = alive.collect();
        let ready = alive.iter().filter(|n| missing[**n] == 0);
        let mut ready: BinaryHeap<_> = ready.map(|n| key(NodeId(*n))).collect();
        let mut order = Vec::new();
        while let Some(Reverse((_, node))) = ready.pop() {
            order.push((node, self.form(node).clone()));
            for (reader, times) in &self.spots[node.0].readers {
                missing[reader.0] -= times;
                if missing[reader.0] == 0 {
                    ready.push(key(*reader));
                }
            }
        }
        if order.len() < alive.len() {
            let text = "a rule of the planner has made a cycle: mend it, or leave it out of the planner";
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        Ok(order)
    }
}

/// The kind of two functions in a row.
fn in_a_row(first: NodeKind, second: NodeKind) -> NodeKind {
    use NodeKind::{Filter, FilterMap, FlatMap, FlatMapKeys, FlatMapValues, Map};
    match (first, second) {
        (a, b) if a == b => a,
        (Filter, kind @ (FlatMapKeys | FlatMapValues)) | (kind @ (FlatMapKeys | FlatMapValues), Filter) => {
            kind
        }
        (Map | Filter | FilterMap, Map | Filter | FilterMap) => FilterMap,
        _ => FlatMap,
    }
}
