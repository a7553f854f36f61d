//! Folds: from the left, one item after another; what cannot be merged from parts.

use std::fmt;

use super::{After, Aggregator, Before, Of};
use crate::Monoid;

/// A start, a step for each item, and an end.
///
/// Unlike an [`Aggregator`] it has no `⊕`: two folds over parts make no fold over the whole. So take it for what the
/// order decides (a state machine, a difference to the previous item). Tuples to 12 and arrays of folds are folds.
pub trait Fold<T: ?Sized> {
    /// What is kept between items.
    type State;
    /// The answer.
    type Output;

    /// The state before the first item.
    fn start(&self) -> Self::State;

    /// Takes an item.
    fn step(&self, state: &mut Self::State, item: &T);

    /// The answer that a state gives.
    fn end(&self, state: Self::State) -> Self::Output;
}

/// Sugar of every [`Fold`].
pub trait FoldExt<T: ?Sized>: Fold<T> {
    /// The answer for these items.
    fn run<'a>(&self, items: impl IntoIterator<Item = &'a T>) -> Self::Output
    where
        T: 'a,
    {
        let mut state = self.start();
        items.into_iter().for_each(|item| self.step(&mut state, item));
        self.end(state)
    }

    /// Of a part of each item.
    fn of<E: ?Sized, P: Fn(&E) -> &T>(self, part: P) -> Of<Self, P>
    where
        Self: Sized,
    {
        Of {
            aggregator: self,
            part,
        }
    }

    /// Of what is computed of each item.
    fn before<E: ?Sized, F: Fn(&E) -> T>(self, compute: F) -> Before<Self, F>
    where
        T: Sized,
        Self: Sized,
    {
        Before {
            aggregator: self,
            compute,
        }
    }

    /// With another answer, made of this one.
    fn after<O, F: Fn(Self::Output) -> O>(self, change: F) -> After<Self, F>
    where
        Self: Sized,
    {
        After {
            aggregator: self,
            change,
        }
    }
}

impl<T: ?Sized, A: Fold<T> + ?Sized> FoldExt<T> for A {}

/// [`fold`]: a fold of a start and a function.
#[derive(Clone, Copy)]
pub struct FoldFn<S, F> {
    start: S,
    step: F,
}

/// The fold with this start; `step` takes each item, and the answer is the state.
///
/// ```
/// use algebra::aggregate::{FoldExt, fold};
///
/// let rises = fold((0_u32, i32::MAX), |(rises, last), item: &i32| {
///     *rises += u32::from(item > last);
///     *last = *item;
/// });
/// assert_eq!(rises.after(|(rises, _)| rises).run(&[3, 1, 4, 1, 5]), 2);
/// ```
pub fn fold<S: Clone, T: ?Sized, F: Fn(&mut S, &T)>(start: S, step: F) -> FoldFn<S, F> {
    FoldFn { start, step }
}

impl<T: ?Sized, S: Clone, F: Fn(&mut S, &T)> Fold<T> for FoldFn<S, F> {
    type State = S;
    type Output = S;

    fn start(&self) -> S {
        self.start.clone()
    }

    fn step(&self, state: &mut S, item: &T) {
        (self.step)(state, item);
    }

    fn end(&self, state: S) -> S {
        state
    }
}

impl<S: fmt::Debug, F> fmt::Debug for FoldFn<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FoldFn")
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

/// [`to_fold`](super::AggregatorExt::to_fold): an aggregator, started at zero.
#[derive(Clone, Copy, Debug)]
pub struct ToFold<A> {
    pub(super) aggregator: A,
}

impl<T: ?Sized, A: Aggregator<T, State: Monoid>> Fold<T> for ToFold<A> {
    type State = A::State;
    type Output = A::Output;

    fn start(&self) -> A::State {
        A::State::zero()
    }

    #[inline]
    fn step(&self, state: &mut A::State, item: &T) {
        self.aggregator.add(state, item);
    }

    fn end(&self, state: A::State) -> A::Output {
        self.aggregator.present(state)
    }
}
