//! What stands before an aggregator: which part of an item it takes, or what is computed of it.
//!
//! The first two are also what stands before a [`Fold`] or a [`Scan`].

use super::{Aggregator, Fold, Scan};
use crate::Monoid;

/// [`of`](super::AggregatorExt::of): takes a part of each item.
#[derive(Clone, Copy, Debug)]
pub struct Of<A, P> {
    pub(super) aggregator: A,
    pub(super) part: P,
}

impl<T: ?Sized, U: ?Sized, A: Aggregator<U>, P: Fn(&T) -> &U> Aggregator<T> for Of<A, P> {
    type State = A::State;
    type Output = A::Output;

    #[inline]
    fn prepare(&self, item: &T) -> A::State {
        self.aggregator.prepare((self.part)(item))
    }

    #[inline]
    fn add(&self, state: &mut A::State, item: &T) {
        self.aggregator.add(state, (self.part)(item));
    }

    #[inline]
    fn present(&self, state: A::State) -> A::Output {
        self.aggregator.present(state)
    }
}

impl<T: ?Sized, U: ?Sized, A: Fold<U>, P: Fn(&T) -> &U> Fold<T> for Of<A, P> {
    type State = A::State;
    type Output = A::Output;

    fn start(&self) -> A::State {
        self.aggregator.start()
    }

    fn step(&self, state: &mut A::State, item: &T) {
        self.aggregator.step(state, (self.part)(item));
    }

    fn end(&self, state: A::State) -> A::Output {
        self.aggregator.end(state)
    }
}

impl<T: ?Sized, U: ?Sized, A: Scan<U>, P: Fn(&T) -> &U> Scan<T> for Of<A, P> {
    type State = A::State;
    type Output = A::Output;

    fn start(&self) -> A::State {
        self.aggregator.start()
    }

    fn step(&self, state: &mut A::State, item: &T) -> A::Output {
        self.aggregator.step(state, (self.part)(item))
    }
}

/// [`before`](super::AggregatorExt::before): takes what is computed of each item.
#[derive(Clone, Copy, Debug)]
pub struct Before<A, F> {
    pub(super) aggregator: A,
    pub(super) compute: F,
}

impl<T: ?Sized, U, A: Aggregator<U>, F: Fn(&T) -> U> Aggregator<T> for Before<A, F> {
    type State = A::State;
    type Output = A::Output;

    #[inline]
    fn prepare(&self, item: &T) -> A::State {
        self.aggregator.prepare(&(self.compute)(item))
    }

    #[inline]
    fn add(&self, state: &mut A::State, item: &T) {
        self.aggregator.add(state, &(self.compute)(item));
    }

    #[inline]
    fn present(&self, state: A::State) -> A::Output {
        self.aggregator.present(state)
    }
}

impl<T: ?Sized, U, A: Fold<U>, F: Fn(&T) -> U> Fold<T> for Before<A, F> {
    type State = A::State;
    type Output = A::Output;

    fn start(&self) -> A::State {
        self.aggregator.start()
    }

    fn step(&self, state: &mut A::State, item: &T) {
        self.aggregator.step(state, &(self.compute)(item));
    }

    fn end(&self, state: A::State) -> A::Output {
        self.aggregator.end(state)
    }
}

impl<T: ?Sized, U, A: Scan<U>, F: Fn(&T) -> U> Scan<T> for Before<A, F> {
    type State = A::State;
    type Output = A::Output;

    fn start(&self) -> A::State {
        self.aggregator.start()
    }

    fn step(&self, state: &mut A::State, item: &T) -> A::Output {
        self.aggregator.step(state, &(self.compute)(item))
    }
}

/// The functions of an aggregator to which an item may give nothing, or much: only `add` differs.
macro_rules! partial {
    (|$this:ident, $state:ident, $item:ident: $type:ty| $add:expr) => {
        type State = A::State;
        type Output = A::Output;

        #[inline]
        fn prepare(&self, item: &$type) -> A::State {
            let mut state = A::State::zero();
            self.add(&mut state, item);
            state
        }

        #[inline]
        fn add(&self, $state: &mut A::State, $item: &$type) {
            let $this = self;
            $add
        }

        #[inline]
        fn present(&self, state: A::State) -> A::Output {
            self.aggregator.present(state)
        }
    };
}

/// [`filter`](super::AggregatorExt::filter): takes the items for which `keep` holds.
#[derive(Clone, Copy, Debug)]
pub struct Filter<A, P> {
    pub(super) aggregator: A,
    pub(super) keep: P,
}

impl<T: ?Sized, A: Aggregator<T, State: Monoid>, P: Fn(&T) -> bool> Aggregator<T> for Filter<A, P> {
    partial!(|this, state, item: T| {
        if (this.keep)(item) {
            this.aggregator.add(state, item);
        }
    });
}

/// [`of_some`](super::AggregatorExt::of_some): takes a part of the items that have it.
#[derive(Clone, Copy, Debug)]
pub struct OfSome<A, P> {
    pub(super) aggregator: A,
    pub(super) part: P,
}

impl<T: ?Sized, U: ?Sized, A, P> Aggregator<T> for OfSome<A, P>
where
    A: Aggregator<U, State: Monoid>,
    P: Fn(&T) -> Option<&U>,
{
    partial!(|this, state, item: T| {
        if let Some(part) = (this.part)(item) {
            this.aggregator.add(state, part);
        }
    });
}

/// [`collect_before`](super::AggregatorExt::collect_before): takes what is computed of an item where it is `Some`.
#[derive(Clone, Copy, Debug)]
pub struct CollectBefore<A, F> {
    pub(super) aggregator: A,
    pub(super) compute: F,
}

impl<T: ?Sized, U, A, F> Aggregator<T> for CollectBefore<A, F>
where
    A: Aggregator<U, State: Monoid>,
    F: Fn(&T) -> Option<U>,
{
    partial!(|this, state, item: T| {
        if let Some(computed) = (this.compute)(item) {
            this.aggregator.add(state, &computed);
        }
    });
}

/// [`of_each`](super::AggregatorExt::of_each): takes each element of a collection in the item.
#[derive(Clone, Copy, Debug)]
pub struct OfEach<A, P> {
    pub(super) aggregator: A,
    pub(super) elements: P,
}

impl<T: ?Sized, C: ?Sized, U: ?Sized, A, P> Aggregator<T> for OfEach<A, P>
where
    for<'a> &'a C: IntoIterator<Item = &'a U>,
    A: Aggregator<U, State: Monoid>,
    P: Fn(&T) -> &C,
{
    partial!(|this, state, item: T| {
        for element in (this.elements)(item) {
            this.aggregator.add(state, element);
        }
    });
}

/// [`flat`](super::AggregatorExt::flat): takes each of what is computed of an item.
#[derive(Clone, Copy, Debug)]
pub struct Flat<A, F> {
    pub(super) aggregator: A,
    pub(super) compute: F,
}

impl<T: ?Sized, I: IntoIterator, A, F> Aggregator<T> for Flat<A, F>
where
    A: Aggregator<I::Item, State: Monoid>,
    F: Fn(&T) -> I,
{
    partial!(|this, state, item: T| {
        for computed in (this.compute)(item) {
            this.aggregator.add(state, &computed);
        }
    });
}
