//! Where the elements of an epoch gather: one slot per sum, lookup, write and relay of a job.

use std::any::Any;
use std::sync::Arc;

use algebra::Semigroup;
use store::Deltas;

use super::plan::Outlet;
use crate::counter::add_all;
use crate::platform::{Summed, Timed};
use crate::{Counts, Element, Key, Timestamp, Value};

/// What is in one slot; only the nodes that own the slot know its type.
pub(super) type Held = Box<dyn Any + Send>;

/// The contents of all slots, for one chunk of work or for the epoch; and what its functions have counted.
pub(super) struct Slots {
    held: Vec<Held>,
    pub(super) counts: Counts,
}

impl Slots {
    pub(super) fn fresh(kinds: &[Arc<dyn SlotKind>]) -> Self {
        Self {
            held: kinds.iter().map(|kind| kind.fresh()).collect(),
            counts: Counts::new(),
        }
    }

    /// The content of a slot of a known type.
    pub(super) fn get<H: 'static>(&mut self, slot: usize) -> &mut H {
        self.held[slot]
            .downcast_mut()
            .expect("a slot is used with the type it was planned with")
    }

    /// Takes the content out for good.
    pub(super) fn take(&mut self, slot: usize) -> Held {
        std::mem::replace(&mut self.held[slot], Box::new(()))
    }

    /// Adds what later elements have put into `later`. A slot that was taken stays taken.
    pub(super) fn absorb(&mut self, kinds: &[Arc<dyn SlotKind>], later: Slots) {
        add_all(&mut self.counts, &later.counts);
        for ((kind, mine), theirs) in kinds.iter().zip(&mut self.held).zip(later.held) {
            kind.absorb(mine.as_mut(), theirs);
        }
    }
}

/// How one slot begins, and how two of its contents are joined.
pub(super) trait SlotKind: Send + Sync {
    fn fresh(&self) -> Held;
    /// `into ← into, then later`. Does nothing when `into` has been taken: nothing may come after that.
    fn absorb(&self, into: &mut (dyn Any + Send), later: Held);
}

/// Contents of slots: what a chunk has gathered.
pub(super) trait Gathered: Default + Send + 'static {
    fn append(&mut self, later: Self);
}

/// The kind of a slot that holds `G`.
pub(super) struct Gathers<G>(std::marker::PhantomData<fn() -> G>);

impl<G> Gathers<G> {
    pub(super) fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<G: Gathered> SlotKind for Gathers<G> {
    fn fresh(&self) -> Held {
        Box::<G>::default()
    }

    fn absorb(&self, into: &mut (dyn Any + Send), later: Held) {
        if let (Some(into), Ok(later)) = (into.downcast_mut::<G>(), later.downcast::<G>()) {
            into.append(*later);
        }
    }
}

impl<T: Element> Gathered for Vec<Timed<T>> {
    fn append(&mut self, later: Self) {
        if self.is_empty() {
            *self = later;
        } else {
            self.extend(later);
        }
    }
}

/// What a sum gathers whose deltas go to readers.
pub(super) type Sums<K, V> = Deltas<K, Latest<V>>;

/// A delta with the largest time of what it joins.
#[derive(Clone)]
pub(super) struct Latest<V> {
    pub(super) delta: V,
    pub(super) time: Timestamp,
}

impl<V: Semigroup> Semigroup for Latest<V> {
    fn plus(&mut self, right: Self) {
        self.delta.plus(right.delta);
        self.time = self.time.max(right.time);
    }
}

impl<K: Key, V: Value> Gathered for Deltas<K, V> {
    fn append(&mut self, later: Self) {
        Deltas::append(self, later);
    }
}

/// The kind of a sum's slot: [`Sums`] when its outlet is read, else [`Deltas`], which need no times.
pub(super) struct SumSlot<K: Key, V: Value>(pub(super) Arc<Outlet<Summed<K, V>>>);

impl<K: Key, V: Value> SlotKind for SumSlot<K, V> {
    fn fresh(&self) -> Held {
        match self.0.push() {
            Some(_) => Box::<Sums<K, V>>::default(),
            None => Box::<Deltas<K, V>>::default(),
        }
    }

    fn absorb(&self, into: &mut (dyn Any + Send), later: Held) {
        match self.0.push() {
            Some(_) => Gathers::<Sums<K, V>>::new().absorb(into, later),
            None => Gathers::<Deltas<K, V>>::new().absorb(into, later),
        }
    }
}
