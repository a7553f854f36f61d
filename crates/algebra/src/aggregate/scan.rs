//! Scans: an output for each item, which may depend on all before it.

use std::fmt;

use super::{After, Aggregator, Before, Of};

/// A state, and for each item the next state and an output: a Mealy machine (Mealy 1955).
///
/// A machine whose output is of the state alone (Moore 1956) is one that steps and then reads. Tuples to 12 and arrays
/// of scans are scans.
pub trait Scan<T: ?Sized> {
    /// What is kept between items.
    type State;
    /// What each item gives.
    type Output;

    /// The state before the first item.
    fn start(&self) -> Self::State;

    /// Takes an item and answers.
    fn step(&self, state: &mut Self::State, item: &T) -> Self::Output;
}

/// Sugar of every [`Scan`].
pub trait ScanExt<T: ?Sized>: Scan<T> {
    /// The outputs for these items, lazily.
    fn run<'a, I>(&self, items: I) -> Scanned<'_, Self, T, I::IntoIter>
    where
        T: 'a,
        I: IntoIterator<Item = &'a T>,
        Self: Sized,
    {
        Scanned {
            scan: self,
            state: self.start(),
            items: items.into_iter(),
        }
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

    /// With other outputs, made of these.
    fn after<O, F: Fn(Self::Output) -> O>(self, change: F) -> After<Self, F>
    where
        Self: Sized,
    {
        After {
            aggregator: self,
            change,
        }
    }

    /// The outputs of this one are the items of `next`.
    fn then<B: Scan<Self::Output>>(self, next: B) -> Then<Self, B>
    where
        Self: Sized,
    {
        Then { first: self, next }
    }

    /// Each output with the item it answers.
    fn with_item(self) -> WithItem<Self>
    where
        T: ToOwned,
        Self: Sized,
    {
        WithItem { scan: self }
    }
}

impl<T: ?Sized, A: Scan<T> + ?Sized> ScanExt<T> for A {}

/// [`run`](ScanExt::run): the outputs of a scan, as an iterator.
#[derive(Debug)]
pub struct Scanned<'s, A: Scan<T>, T: ?Sized, I> {
    scan: &'s A,
    state: A::State,
    items: I,
}

impl<'a, A: Scan<T>, T: ?Sized + 'a, I: Iterator<Item = &'a T>> Iterator for Scanned<'_, A, T, I> {
    type Item = A::Output;

    #[inline]
    fn next(&mut self) -> Option<A::Output> {
        let item = self.items.next()?;
        Some(self.scan.step(&mut self.state, item))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

/// [`then`](ScanExt::then): one scan after another.
#[derive(Clone, Copy, Debug)]
pub struct Then<A, B> {
    first: A,
    next: B,
}

impl<T: ?Sized, A: Scan<T>, B: Scan<A::Output>> Scan<T> for Then<A, B> {
    type State = (A::State, B::State);
    type Output = B::Output;

    fn start(&self) -> Self::State {
        (self.first.start(), self.next.start())
    }

    fn step(&self, state: &mut Self::State, item: &T) -> B::Output {
        let between = self.first.step(&mut state.0, item);
        self.next.step(&mut state.1, &between)
    }
}

/// [`with_item`](ScanExt::with_item): pairs of item and output.
#[derive(Clone, Copy, Debug)]
pub struct WithItem<A> {
    scan: A,
}

impl<T: ToOwned + ?Sized, A: Scan<T>> Scan<T> for WithItem<A> {
    type State = A::State;
    type Output = (T::Owned, A::Output);

    fn start(&self) -> A::State {
        self.scan.start()
    }

    fn step(&self, state: &mut A::State, item: &T) -> Self::Output {
        (item.to_owned(), self.scan.step(state, item))
    }
}

/// [`scan`]: a scan of a start and a function.
#[derive(Clone, Copy)]
pub struct ScanFn<S, F> {
    start: S,
    step: F,
}

/// The scan with this start, and `step` for each item.
///
/// ```
/// use algebra::aggregate::{ScanExt, index, scan};
///
/// let change = scan(0, |last, item: &i32| item - std::mem::replace(last, *item));
/// assert_eq!((index(), change).run(&[3, 1, 4]).collect::<Vec<_>>(), [(0, 3), (1, -2), (2, 3)]);
/// ```
pub fn scan<S: Clone, T: ?Sized, O, F: Fn(&mut S, &T) -> O>(start: S, step: F) -> ScanFn<S, F> {
    ScanFn { start, step }
}

impl<T: ?Sized, S: Clone, O, F: Fn(&mut S, &T) -> O> Scan<T> for ScanFn<S, F> {
    type State = S;
    type Output = O;

    fn start(&self) -> S {
        self.start.clone()
    }

    fn step(&self, state: &mut S, item: &T) -> O {
        (self.step)(state, item)
    }
}

impl<S: fmt::Debug, F> fmt::Debug for ScanFn<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanFn")
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

/// [`index`]: the place of each item.
#[derive(Clone, Copy, Debug)]
pub struct Index;

/// 0 for the first item, 1 for the next, and so on.
pub fn index() -> Index {
    Index
}

impl<T: ?Sized> Scan<T> for Index {
    type State = u64;
    type Output = u64;

    fn start(&self) -> u64 {
        0
    }

    fn step(&self, state: &mut u64, _item: &T) -> u64 {
        let index = *state;
        *state += 1;
        index
    }
}

/// [`to_scan`](super::AggregatorExt::to_scan): the answers of an aggregator on the way.
#[derive(Clone, Copy, Debug)]
pub struct ToScan<A> {
    pub(super) aggregator: A,
}

impl<T: ?Sized, A: Aggregator<T, State: Clone>> Scan<T> for ToScan<A> {
    type State = Option<A::State>;
    type Output = A::Output;

    fn start(&self) -> Self::State {
        None
    }

    fn step(&self, state: &mut Self::State, item: &T) -> A::Output {
        let next = match state.take() {
            Some(mut state) => {
                self.aggregator.add(&mut state, item);
                state
            }
            None => self.aggregator.prepare(item),
        };
        self.aggregator.present(state.insert(next).clone())
    }
}
