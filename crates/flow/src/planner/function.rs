//! Functions between nodes, without their types: which two can be one, and how.
//!
//! Two functions `S → T` and `T → U` would be one of the type `S → U`, which no code of a job has ever been compiled
//! for. Where one of the two keeps the type of its elements it can be done: `T → T` and `T → U` are of the type `T → U`.

use std::any::Any;
use std::sync::Arc;

use crate::Element;
use crate::platform::FlatMapFn;

/// A function whose types only its own code knows.
pub(crate) trait AnyFunction: Any + Send + Sync {
    /// This and then `second`, if `second` keeps the type; it has the type of this one.
    fn then(&self, second: &dyn AnyFunction) -> Option<Arc<dyn AnyFunction>>;
    /// `first` and then this, if `first` keeps the type; it has the type of this one.
    fn after(&self, first: &dyn AnyFunction) -> Option<Arc<dyn AnyFunction>>;
    /// What this and the others make of each element, one after the other, if all have the same type.
    fn together(&self, others: &[Arc<dyn AnyFunction>]) -> Option<Arc<dyn AnyFunction>>;
}

/// A function of a known type.
pub(crate) struct Function<T, U>(pub(crate) FlatMapFn<T, U>);

impl<T: Element, U: Element> Function<T, U> {
    pub(crate) fn of(function: &dyn AnyFunction) -> Option<FlatMapFn<T, U>> {
        let function = (function as &dyn Any).downcast_ref::<Self>()?;
        Some(function.0.clone())
    }
}

impl<T: Element, U: Element> AnyFunction for Function<T, U> {
    fn then(&self, second: &dyn AnyFunction) -> Option<Arc<dyn AnyFunction>> {
        let (first, second) = (self.0.clone(), Function::<U, U>::of(second)?);
        Some(Arc::new(Self(Arc::new(
            move |time, item, emit: &mut dyn FnMut(U)| {
                first(time, item, &mut |item| second(time, item, emit));
            },
        ))))
    }

    fn after(&self, first: &dyn AnyFunction) -> Option<Arc<dyn AnyFunction>> {
        let (first, second) = (Function::<T, T>::of(first)?, self.0.clone());
        Some(Arc::new(Self(Arc::new(
            move |time, item, emit: &mut dyn FnMut(U)| {
                first(time, item, &mut |item| second(time, item, emit));
            },
        ))))
    }

    fn together(&self, others: &[Arc<dyn AnyFunction>]) -> Option<Arc<dyn AnyFunction>> {
        let others = others.iter().map(|other| Self::of(&**other));
        let mut functions: Vec<FlatMapFn<T, U>> = std::iter::once(Some(self.0.clone()))
            .chain(others)
            .collect::<Option<_>>()?;
        let last = functions.pop()?;
        Some(Arc::new(Self(Arc::new(
            move |time, item: T, emit: &mut dyn FnMut(U)| {
                functions
                    .iter()
                    .for_each(|function| function(time, item.clone(), emit));
                last(time, item, emit);
            },
        ))))
    }
}
