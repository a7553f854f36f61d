//! The rules that a [`Planner`](super::Planner) has of its own. Each keeps the law of rules: the job does the same.

use std::collections::{BTreeMap, BTreeSet};

use super::{Draft, Rule};
use crate::limits::COMPOSED_FUNCTIONS_MAX;
use crate::{NodeId, Result};

/// What nothing reads and has no effect is not done: the last step of
/// [`scan_by_key`](crate::Producer::scan_by_key), where only the sum is wanted.
#[derive(Clone, Copy, Debug)]
pub struct DropUnread;

impl Rule for DropUnread {
    fn name(&self) -> &'static str {
        "drop_unread"
    }

    fn apply(&self, node: NodeId, draft: &mut Draft) -> Result<()> {
        draft.drop_end(node);
        Ok(())
    }
}

/// `(a ++ b) ++ c` is one merge of three, where nobody else reads the inner one.
#[derive(Clone, Copy, Debug)]
pub struct FlattenMerges;

impl FlattenMerges {
    /// A merge that is but a part of another one.
    fn is_inner(node: NodeId, draft: &Draft) -> bool {
        draft.is_merge(node)
            && draft
                .only_reader(node)
                .is_some_and(|reader| draft.is_merge(reader))
    }
}

impl Rule for FlattenMerges {
    fn name(&self) -> &'static str {
        "flatten_merges"
    }

    fn apply(&self, node: NodeId, draft: &mut Draft) -> Result<()> {
        let outermost = draft.is_merge(node) && !Self::is_inner(node, draft);
        if !outermost
            || !draft
                .parents(node)
                .iter()
                .any(|side| Self::is_inner(*side, draft))
        {
            return Ok(());
        }
        let (mut sides, mut merges, mut stack) = (Vec::new(), Vec::new(), vec![node]);
        while let Some(next) = stack.pop() {
            if next == node || Self::is_inner(next, draft) {
                stack.extend(draft.parents(next).iter().rev());
                merges.push(next);
            } else {
                sides.push(next);
            }
        }
        replace_sides(node, sides, &merges, draft)
    }
}

/// `(a ++ b).f ++ a.g` is `a.f ++ b.f ++ a.g`: where a function over a merge meets others over its sides, so that
/// [`JoinDiamonds`] can take them together, and where the graph does not grow by it.
#[derive(Clone, Copy, Debug)]
pub struct PullUpMerges;

impl Rule for PullUpMerges {
    fn name(&self) -> &'static str {
        "pull_up_merges"
    }

    fn apply(&self, node: NodeId, draft: &mut Draft) -> Result<()> {
        if !draft.is_merge(node) {
            return Ok(());
        }
        let sides = draft.parents(node).to_vec();
        let own =
            |side: NodeId, draft: &Draft| draft.is_function(side) && draft.only_reader(side) == Some(node);
        let mut met: BTreeSet<NodeId> = sides
            .iter()
            .filter(|side| own(**side, draft))
            .flat_map(|side| draft.parents(*side).to_vec())
            .collect();
        let (mut pulled, mut merges) = (Vec::new(), vec![node]);
        for side in sides {
            let merge = draft.parents(side).first().copied();
            let merge = merge.filter(|merge| {
                own(side, draft) && draft.is_merge(*merge) && draft.only_reader(*merge) == Some(side)
            });
            let above = merge
                .map(|merge| draft.parents(merge).to_vec())
                .unwrap_or_default();
            let partners = above.iter().filter(|above| met.contains(above)).count();
            let forms: Option<Vec<_>> = above.iter().map(|above| draft.over(side, *above)).collect();
            // As many functions come as there are sides; the function, the merge and the partners go.
            match forms.filter(|forms| partners > 0 && forms.len() <= partners + 2) {
                None => pulled.push(side),
                Some(forms) => {
                    pulled.extend(forms.into_iter().map(|form| draft.add(form)));
                    met.extend(above);
                    merges.extend(merge);
                }
            }
        }
        match merges.len() {
            1 => Ok(()),
            _ => replace_sides(node, pulled, &merges, draft),
        }
    }
}

/// `a.f ++ a.g` is one function over `a`: each element through both.
#[derive(Clone, Copy, Debug)]
pub struct JoinDiamonds;

impl Rule for JoinDiamonds {
    fn name(&self) -> &'static str {
        "join_diamonds"
    }

    fn apply(&self, node: NodeId, draft: &mut Draft) -> Result<()> {
        if !draft.is_merge(node) {
            return Ok(());
        }
        let mut groups = BTreeMap::<NodeId, Vec<NodeId>>::new();
        for side in draft.parents(node) {
            if draft.is_function(*side) && draft.only_reader(*side) == Some(node) {
                groups.entry(draft.parents(*side)[0]).or_default().push(*side);
            }
        }
        groups.retain(|_, group| group.len() > 1);
        let mut joined = BTreeMap::new();
        for group in groups.into_values() {
            let Some(form) = draft.together(&group) else {
                continue;
            };
            if group.len() == draft.parents(node).len() {
                // A merge of one.
                let form = draft.standing_for(form, &[node]);
                return draft.replace(node, form);
            }
            let one = draft.add(form);
            joined.extend(group.iter().map(|side| (*side, None)));
            joined.insert(group[0], Some(one));
        }
        if joined.is_empty() {
            return Ok(());
        }
        let sides = draft.parents(node).iter();
        let sides = sides.filter_map(|side| joined.get(side).copied().unwrap_or(Some(*side)));
        replace_sides(node, sides.collect(), &[node], draft)
    }
}

/// Two functions in a row are one, if one of them keeps the type of its elements, as each filter does.
#[derive(Clone, Copy, Debug)]
pub struct ComposeFunctions;

impl Rule for ComposeFunctions {
    fn name(&self) -> &'static str {
        "compose_functions"
    }

    fn apply(&self, node: NodeId, draft: &mut Draft) -> Result<()> {
        while draft.is_function(node) {
            let first = draft.parents(node)[0];
            let alone = draft.is_function(first) && draft.only_reader(first) == Some(node);
            if !alone || draft.depth(first) + draft.depth(node) > COMPOSED_FUNCTIONS_MAX {
                break;
            }
            let Some(form) = draft.composed(first, node) else {
                break;
            };
            draft.replace(node, form)?;
        }
        Ok(())
    }
}

/// Puts a merge of `sides` in the place of `merge`, for all of `merges`.
fn replace_sides(merge: NodeId, sides: Vec<NodeId>, merges: &[NodeId], draft: &mut Draft) -> Result<()> {
    match draft.merged(sides) {
        Some(form) => draft.replace(merge, draft.standing_for(form, merges)),
        None => Ok(()),
    }
}
