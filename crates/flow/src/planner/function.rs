//! Functions between nodes, without their types: which two can be one, and how.
//!
//! Two functions `S → T` and `T → U` would be one of the type `S → U`, which no code of a job has ever been compiled
//! for. A filter keeps the type, and its predicate is one call for an element, where a function in its own right is three:
//! so filters become part of the function before or after them.

use std::any::Any;
use std::sync::Arc;

use crate::Element;
use crate::limits::COMPOSED_FILTERS_MAX;
use crate::platform::FlatMapFn;

/// Whether an element is kept.
pub(crate) type KeepFn<T> = Arc<dyn Fn(&T) -> bool + Send + Sync>;

/// A function whose types only its own code knows.
pub(crate) trait AnyFunction: Any + Send + Sync {
    /// This and then `second`, if one of the two is a filter, and they do not get too many.
    fn then(&self, second: &dyn AnyFunction) -> Option<Composed>;
    /// `filter` and then this, if it is a filter of what this takes.
    fn after(&self, filter: &dyn AnyFunction) -> Option<Arc<dyn AnyFunction>>;
    /// What this and the others make of each element, one after the other, if all have the same type.
    fn together(&self, others: &[Arc<dyn AnyFunction>]) -> Option<Arc<dyn AnyFunction>>;
    /// As a [`FlatMapFn`] of its type.
    fn erased(&self) -> Box<dyn Any>;
}

/// Two functions as one, which has the type of one of them.
pub(crate) enum Composed {
    LikeFirst(Arc<dyn AnyFunction>),
    LikeSecond(Arc<dyn AnyFunction>),
}

/// The function, if it has this type.
pub(crate) fn typed<T: Element, U: Element>(function: &dyn AnyFunction) -> Option<FlatMapFn<T, U>> {
    function
        .erased()
        .downcast::<FlatMapFn<T, U>>()
        .ok()
        .map(|function| *function)
}

/// Predicates that all must hold.
pub(crate) struct Filter<T>(Vec<KeepFn<T>>);

impl<T: Element> Filter<T> {
    pub(crate) fn new(keep: impl Fn(&T) -> bool + Send + Sync + 'static) -> Self {
        Self(vec![Arc::new(keep)])
    }

    fn of(function: &dyn AnyFunction) -> Option<&[KeepFn<T>]> {
        let filter = (function as &dyn Any).downcast_ref::<Self>()?;
        Some(&filter.0)
    }
}

impl<T: Element> AnyFunction for Filter<T> {
    fn then(&self, second: &dyn AnyFunction) -> Option<Composed> {
        match Self::of(second) {
            Some(more) => Some(Composed::LikeFirst(Arc::new(Self(joined(&self.0, more)?)))),
            None => Some(Composed::LikeSecond(second.after(self)?)),
        }
    }

    fn after(&self, filter: &dyn AnyFunction) -> Option<Arc<dyn AnyFunction>> {
        Some(Arc::new(Self(joined(Self::of(filter)?, &self.0)?)))
    }

    fn together(&self, others: &[Arc<dyn AnyFunction>]) -> Option<Arc<dyn AnyFunction>> {
        all::<T, T>(self, others)
    }

    fn erased(&self) -> Box<dyn Any> {
        let keeps = self.0.clone();
        let function: FlatMapFn<T, T> = match <[KeepFn<T>; 1]>::try_from(keeps) {
            Ok([keep]) => Arc::new(move |_, item, emit| {
                if keep(&item) {
                    emit(item);
                }
            }),
            Err(keeps) => Arc::new(move |_, item, emit| {
                if keeps.iter().all(|keep| keep(&item)) {
                    emit(item);
                }
            }),
        };
        Box::new(function)
    }
}

/// A function, with filters of what it takes and of what it makes.
pub(crate) struct Function<T, U> {
    before: Vec<KeepFn<T>>,
    function: FlatMapFn<T, U>,
    after: Vec<KeepFn<U>>,
}

impl<T: Element, U: Element> Function<T, U> {
    pub(crate) fn new(function: FlatMapFn<T, U>) -> Self {
        Self {
            before: Vec::new(),
            function,
            after: Vec::new(),
        }
    }
}

impl<T: Element, U: Element> AnyFunction for Function<T, U> {
    fn then(&self, second: &dyn AnyFunction) -> Option<Composed> {
        Some(Composed::LikeFirst(Arc::new(Self {
            before: self.before.clone(),
            function: self.function.clone(),
            after: joined(&self.after, Filter::<U>::of(second)?)?,
        })))
    }

    fn after(&self, filter: &dyn AnyFunction) -> Option<Arc<dyn AnyFunction>> {
        Some(Arc::new(Self {
            before: joined(Filter::<T>::of(filter)?, &self.before)?,
            function: self.function.clone(),
            after: self.after.clone(),
        }))
    }

    fn together(&self, others: &[Arc<dyn AnyFunction>]) -> Option<Arc<dyn AnyFunction>> {
        all::<T, U>(self, others)
    }

    fn erased(&self) -> Box<dyn Any> {
        let (before, function, after) = (self.before.clone(), self.function.clone(), self.after.clone());
        let composed: FlatMapFn<T, U> = match (before.is_empty(), after.is_empty()) {
            (true, true) => function,
            (false, true) => Arc::new(move |time, item, emit| {
                if before.iter().all(|keep| keep(&item)) {
                    function(time, item, emit);
                }
            }),
            (_, false) => Arc::new(move |time, item, emit| {
                if before.iter().all(|keep| keep(&item)) {
                    function(time, item, &mut |out| {
                        if after.iter().all(|keep| keep(&out)) {
                            emit(out);
                        }
                    });
                }
            }),
        };
        Box::new(composed)
    }
}

fn joined<T>(first: &[KeepFn<T>], second: &[KeepFn<T>]) -> Option<Vec<KeepFn<T>>> {
    (first.len() + second.len() <= COMPOSED_FILTERS_MAX).then(|| [first, second].concat())
}

/// Each element through all functions.
fn all<T: Element, U: Element>(
    first: &dyn AnyFunction,
    others: &[Arc<dyn AnyFunction>],
) -> Option<Arc<dyn AnyFunction>> {
    let others = others.iter().map(|other| &**other);
    let functions = std::iter::once(first).chain(others).map(typed::<T, U>);
    let mut functions: Vec<FlatMapFn<T, U>> = functions.collect::<Option<_>>()?;
    let last = functions.pop()?;
    Some(Arc::new(Function::<T, U>::new(Arc::new(
        move |time, item: T, emit: &mut dyn FnMut(U)| {
            functions
                .iter()
                .for_each(|function| function(time, item.clone(), emit));
            last(time, item, emit);
        },
    ))))
}
