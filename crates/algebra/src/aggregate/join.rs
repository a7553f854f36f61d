//! Joins: tuples to 12 and arrays of aggregators, folds and scans are one. Each item passes once.

use super::{Aggregator, Fold, Scan};

macro_rules! tuple {
    ($($part:ident $place:tt)*) => {
        /// Each part by itself; the answers as a tuple.
        impl<T: ?Sized, $($part: Aggregator<T>),*> Aggregator<T> for ($($part,)*) {
            type State = ($($part::State,)*);
            type Output = ($($part::Output,)*);

            #[inline]
            fn prepare(&self, item: &T) -> Self::State {
                ($(self.$place.prepare(item),)*)
            }

            #[inline]
            fn add(&self, state: &mut Self::State, item: &T) {
                $(self.$place.add(&mut state.$place, item);)*
            }

            #[inline]
            fn present(&self, state: Self::State) -> Self::Output {
                ($(self.$place.present(state.$place),)*)
            }
        }

        /// Each part by itself; the ends as a tuple.
        impl<T: ?Sized, $($part: Fold<T>),*> Fold<T> for ($($part,)*) {
            type State = ($($part::State,)*);
            type Output = ($($part::Output,)*);

            fn start(&self) -> Self::State {
                ($(self.$place.start(),)*)
            }

            #[inline]
            fn step(&self, state: &mut Self::State, item: &T) {
                $(self.$place.step(&mut state.$place, item);)*
            }

            fn end(&self, state: Self::State) -> Self::Output {
                ($(self.$place.end(state.$place),)*)
            }
        }

        /// Each part by itself; the outputs as a tuple.
        impl<T: ?Sized, $($part: Scan<T>),*> Scan<T> for ($($part,)*) {
            type State = ($($part::State,)*);
            type Output = ($($part::Output,)*);

            fn start(&self) -> Self::State {
                ($(self.$place.start(),)*)
            }

            #[inline]
            fn step(&self, state: &mut Self::State, item: &T) -> Self::Output {
                ($(self.$place.step(&mut state.$place, item),)*)
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0 B 1);
tuple!(A 0 B 1 C 2);
tuple!(A 0 B 1 C 2 D 3);
tuple!(A 0 B 1 C 2 D 3 E 4);
tuple!(A 0 B 1 C 2 D 3 E 4 F 5);
tuple!(A 0 B 1 C 2 D 3 E 4 F 5 G 6);
tuple!(A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7);
tuple!(A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8);
tuple!(A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9);
tuple!(A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10);
tuple!(A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11);

/// Each by itself; the answers as an array.
impl<T: ?Sized, A: Aggregator<T>, const N: usize> Aggregator<T> for [A; N] {
    type State = [A::State; N];
    type Output = [A::Output; N];

    fn prepare(&self, item: &T) -> Self::State {
        self.each_ref().map(|aggregator| aggregator.prepare(item))
    }

    fn add(&self, state: &mut Self::State, item: &T) {
        for (aggregator, state) in self.iter().zip(state) {
            aggregator.add(state, item);
        }
    }

    fn present(&self, state: Self::State) -> Self::Output {
        let mut aggregators = self.iter();
        state.map(|state| {
            let aggregator = aggregators
                .next()
                .expect("there are as many aggregators as states");
            aggregator.present(state)
        })
    }
}

/// Each by itself; the ends as an array.
impl<T: ?Sized, A: Fold<T>, const N: usize> Fold<T> for [A; N] {
    type State = [A::State; N];
    type Output = [A::Output; N];

    fn start(&self) -> Self::State {
        self.each_ref().map(A::start)
    }

    fn step(&self, state: &mut Self::State, item: &T) {
        for (fold, state) in self.iter().zip(state) {
            fold.step(state, item);
        }
    }

    fn end(&self, state: Self::State) -> Self::Output {
        let mut folds = self.iter();
        state.map(|state| {
            folds
                .next()
                .expect("there are as many folds as states")
                .end(state)
        })
    }
}

/// Each by itself; the outputs as an array.
impl<T: ?Sized, A: Scan<T>, const N: usize> Scan<T> for [A; N] {
    type State = [A::State; N];
    type Output = [A::Output; N];

    fn start(&self) -> Self::State {
        self.each_ref().map(A::start)
    }

    fn step(&self, state: &mut Self::State, item: &T) -> Self::Output {
        let mut states = state.iter_mut();
        self.each_ref()
            .map(|scan| scan.step(states.next().expect("there are as many states as scans"), item))
    }
}
