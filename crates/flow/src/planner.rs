//! From the graph as written to the graph as run: rules rewrite it, and what is left is grouped in stages.
//!
//! | rule | what it does |
//! |---|---|
//! | [`DropUnread`](rules::DropUnread) | what nothing reads and has no effect goes |
//! | [`FlattenMerges`](rules::FlattenMerges) | merges of merges are one merge |
//! | [`PullUpMerges`](rules::PullUpMerges) | a function over a merge goes to its sides, where it meets its like |
//! | [`JoinDiamonds`](rules::JoinDiamonds) | functions of one producer that are merged are one function |
//! | [`ComposeFunctions`](rules::ComposeFunctions) | functions in a row are one function, where types allow |
//!
//! Names need no rule: they are not nodes. The law of rules: on every platform the job does the same with and without
//! them, up to the order between the sides of a merge, which is free; each function is called for the same elements.
//!
//! Functions that stay apart still make one *stage* of the planned graph: what is connected by functions and merges
//! alone. Elements pass through a stage by calls, and are gathered between stages.

mod draft;
mod function;
pub mod rules;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

pub use self::draft::{Draft, Form};
pub(crate) use self::draft::{ElementType, Work};
pub(crate) use self::function::{AnyFunction, Function};
use crate::limits::RULE_CALLS_PER_NODE_MAX;
use crate::{Error, ErrorKind, NodeId, Result};

/// One way to rewrite a graph.
///
/// Laws: it does the same on every platform, as said above; and it comes to rest, as each rewriting makes the
/// graph smaller or at least nearer to what the rule wants.
pub trait Rule: Send + Sync {
    /// Its name, for errors; also tells rules apart.
    fn name(&self) -> &'static str;

    /// Looks at one node, and may rewrite it and what stands above it. Called again for what has changed.
    fn apply(&self, node: NodeId, draft: &mut Draft) -> Result<()>;
}

/// Rules in the order in which they are applied: each until it finds nothing more, all again until none does.
///
/// Costs one call for each rule and node, and some for each rewriting.
#[derive(Clone)]
pub struct Planner(Vec<Arc<dyn Rule>>);

impl Planner {
    /// Without rules: a job runs as it is written.
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// These and one more, as the last.
    pub fn with(mut self, rule: impl Rule + 'static) -> Self {
        self.0.push(Arc::new(rule));
        self
    }

    pub(crate) fn apply(&self, draft: &mut Draft) -> Result<()> {
        let mut queues: Vec<BTreeSet<NodeId>> = vec![draft.take_touched(); self.0.len()];
        let calls_max = queues.iter().map(BTreeSet::len).sum::<usize>() * RULE_CALLS_PER_NODE_MAX;
        let mut calls = 0;
        while let Some(n) = queues.iter().position(|queue| !queue.is_empty()) {
            for (rule, n) in self.0.iter().zip(0..).skip(n) {
                while let Some(node) = queues[n].pop_first() {
                    calls += 1;
                    if calls > calls_max {
                        let name = rule.name();
                        let text = format!(
                            "the rules of the planner do not come to rest: leave one out rule={name}"
                        );
                        return Err(Error::new(ErrorKind::Invalid, text));
                    }
                    if draft.is_alive(node) {
                        rule.apply(node, draft)?;
                    }
                    let touched = draft.take_touched();
                    queues.iter_mut().for_each(|queue| queue.extend(&touched));
                }
            }
        }
        Ok(())
    }
}

/// All rules of [`rules`], in the order of the table above.
impl Default for Planner {
    fn default() -> Self {
        Self::none()
            .with(rules::DropUnread)
            .with(rules::FlattenMerges)
            .with(rules::PullUpMerges)
            .with(rules::JoinDiamonds)
            .with(rules::ComposeFunctions)
    }
}

/// By the names of the rules.
impl PartialEq for Planner {
    fn eq(&self, other: &Self) -> bool {
        let names = |planner: &Self| planner.0.iter().map(|rule| rule.name()).collect::<Vec<_>>();
        names(self) == names(other)
    }
}

impl fmt::Debug for Planner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|rule| rule.name()))
            .finish()
    }
}
