//! What stands after an aggregator: another answer, or none while there are no items.

use super::{Aggregator, Fold, Scan};

/// [`after`](super::AggregatorExt::after): another answer, made of the first. Also after a [`Fold`] or a [`Scan`].
#[derive(Clone, Copy, Debug)]
pub struct After<A, F> {
    pub(super) aggregator: A,
    pub(super) change: F,
}

impl<T: ?Sized, O, A: Aggregator<T>, F: Fn(A::Output) -> O> Aggregator<T> for After<A, F> {
    type State = A::State;
    type Output = O;

    #[inline]
    fn prepare(&self, item: &T) -> A::State {
        self.aggregator.prepare(item)
    }

    #[inline]
    fn add(&self, state: &mut A::State, item: &T) {
        self.aggregator.add(state, item);
    }

    #[inline]
    fn present(&self, state: A::State) -> O {
        (self.change)(self.aggregator.present(state))
    }
}

impl<T: ?Sized, O, A: Fold<T>, F: Fn(A::Output) -> O> Fold<T> for After<A, F> {
    type State = A::State;
    type Output = O;

    fn start(&self) -> A::State {
        self.aggregator.start()
    }

    fn step(&self, state: &mut A::State, item: &T) {
        self.aggregator.step(state, item);
    }

    fn end(&self, state: A::State) -> O {
        (self.change)(self.aggregator.end(state))
    }
}

impl<T: ?Sized, O, A: Scan<T>, F: Fn(A::Output) -> O> Scan<T> for After<A, F> {
    type State = A::State;
    type Output = O;

    fn start(&self) -> A::State {
        self.aggregator.start()
    }

    fn step(&self, state: &mut A::State, item: &T) -> O {
        (self.change)(self.aggregator.step(state, item))
    }
}

/// [`optional`](super::AggregatorExt::optional): state and answer in an `Option`, so that the state has a zero.
#[derive(Clone, Copy, Debug)]
pub struct Optional<A> {
    pub(super) aggregator: A,
}

impl<T: ?Sized, A: Aggregator<T>> Aggregator<T> for Optional<A> {
    type State = Option<A::State>;
    type Output = Option<A::Output>;

    #[inline]
    fn prepare(&self, item: &T) -> Option<A::State> {
        Some(self.aggregator.prepare(item))
    }

    #[inline]
    fn add(&self, state: &mut Option<A::State>, item: &T) {
        match state {
            Some(state) => self.aggregator.add(state, item),
            None => *state = self.prepare(item),
        }
    }

    #[inline]
    fn present(&self, state: Option<A::State>) -> Option<A::Output> {
        state.map(|state| self.aggregator.present(state))
    }
}
