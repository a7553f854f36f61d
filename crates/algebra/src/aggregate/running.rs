//! The answers on the way.

use super::Aggregator;

/// [`running`](super::AggregatorExt::running): after each item the answer so far, as an iterator.
#[derive(Debug)]
pub struct Running<'s, A, T: ?Sized, I>
where
    A: Aggregator<T>,
{
    aggregator: &'s A,
    state: Option<A::State>,
    items: I,
}

impl<'s, A: Aggregator<T>, T: ?Sized, I> Running<'s, A, T, I> {
    pub(super) fn new(aggregator: &'s A, items: I) -> Self {
        Self {
            aggregator,
            state: None,
            items,
        }
    }
}

impl<'a, A, T, I> Iterator for Running<'_, A, T, I>
where
    A: Aggregator<T, State: Clone>,
    T: ?Sized + 'a,
    I: Iterator<Item = &'a T>,
{
    type Item = A::Output;

    fn next(&mut self) -> Option<A::Output> {
        let item = self.items.next()?;
        match &mut self.state {
            Some(state) => self.aggregator.add(state, item),
            None => self.state = Some(self.aggregator.prepare(item)),
        }
        self.state.clone().map(|state| self.aggregator.present(state))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}
