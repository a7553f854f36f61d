//! The laws of aggregators, as plain functions over items, for property tests.

use std::fmt::Debug;

use super::{Aggregator, AggregatorExt};
use crate::Semigroup;
use crate::laws::{Result, agree, merge_equals_whole_within};

/// All laws of an aggregator: [`adds_what_it_prepares`], [`merges`] and [`runs_to_the_end`].
///
/// # Errors
/// When one does not hold.
pub fn aggregates<T, A>(aggregator: &A, items: &[T], cuts: &[usize]) -> Result
where
    A: Aggregator<T, State: Clone + PartialEq + Debug, Output: PartialEq + Debug>,
{
    aggregates_within(aggregator, items, cuts, PartialEq::eq, PartialEq::eq)
}

/// All laws of an aggregator, up to an equivalence of states and one of answers.
///
/// # Errors
/// When one does not hold.
pub fn aggregates_within<T, A>(
    aggregator: &A,
    items: &[T],
    cuts: &[usize],
    same_state: impl Fn(&A::State, &A::State) -> bool,
    same_output: impl Fn(&A::Output, &A::Output) -> bool,
) -> Result
where
    A: Aggregator<T, State: Clone + Debug, Output: Debug>,
{
    adds_what_it_prepares(aggregator, items, &same_state)?;
    merges(aggregator, items, cuts, &same_state)?;
    runs_to_the_end(aggregator, items, &same_output)
}

/// `add(s, x) = s ⊕ prepare(x)`, for each of the items and the state of those before it.
///
/// # Errors
/// When it is not so.
pub fn adds_what_it_prepares<T, A>(
    aggregator: &A,
    items: &[T],
    same: impl Fn(&A::State, &A::State) -> bool,
) -> Result
where
    A: Aggregator<T, State: Clone + Debug>,
{
    let mut items = items.iter();
    let Some(first) = items.next() else {
        return Ok(());
    };
    let mut state = aggregator.prepare(first);
    for item in items {
        let mut summed = state.clone();
        summed.plus(aggregator.prepare(item));
        aggregator.add(&mut state, item);
        agree("add(s, x) = s ⊕ prepare(x)", &state, &summed, &same)?;
    }
    Ok(())
}

/// The state of `xs ++ ys` is that of `xs` ⊕ that of `ys`, for the parts between `cuts` in any grouping.
///
/// # Errors
/// When it is not so.
pub fn merges<T, A>(
    aggregator: &A,
    items: &[T],
    cuts: &[usize],
    same: impl Fn(&A::State, &A::State) -> bool,
) -> Result
where
    A: Aggregator<T, State: Clone + Debug>,
{
    merge_equals_whole_within(
        items,
        cuts,
        |part| aggregator.state_of(part),
        |left, right| both(left.as_ref(), right.as_ref(), &same),
    )
}

/// The last of `running(xs)` is `aggregate(xs)`, and there is one for each item.
///
/// # Errors
/// When it is not so.
pub fn runs_to_the_end<T, A>(
    aggregator: &A,
    items: &[T],
    same: impl Fn(&A::Output, &A::Output) -> bool,
) -> Result
where
    A: Aggregator<T, State: Clone, Output: Debug>,
{
    let running: Vec<A::Output> = aggregator.running(items).collect();
    agree(
        "running(xs) has one for each of xs",
        &running.len(),
        &items.len(),
        |left, right| left == right,
    )?;
    agree(
        "last(running(xs)) = aggregate(xs)",
        &running.last(),
        &aggregator.aggregate(items).as_ref(),
        |left, right| both(*left, *right, &same),
    )
}

fn both<T>(left: Option<&T>, right: Option<&T>, same: impl Fn(&T, &T) -> bool) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => same(left, right),
        (left, right) => left.is_none() == right.is_none(),
    }
}
