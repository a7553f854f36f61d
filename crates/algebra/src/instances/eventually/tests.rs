//! With a toy sketch: the laws, and that the value is a function of the exact sum.

use proptest::prelude::*;

use super::*;
use crate::codec::DecodeErrorKind;
use crate::{Any, Item, Max, hash128, laws};

/// Which of 64 hashes have come: a set of items with most of it forgotten.
#[derive(
    Clone,
    Debug,
    PartialEq,
    crate::Semigroup,
    crate::Monoid,
    crate::Commutative,
    crate::Idempotent,
    crate::codec::Codec,
)]
struct Toy([Any; 8]);

impl<T: Item + ?Sized> Sketch<T> for Toy {
    fn add(&mut self, item: &T) {
        self.0[(hash128(item, 0) % 8) as usize] = Any(true);
    }
}

/// How many, and the largest: of values that may come twice, in order.
#[derive(Clone, Debug, PartialEq, crate::Semigroup, crate::Monoid, crate::codec::Codec)]
struct Count(u64, Option<Max<u8>>);

impl Sketch<u8> for Count {
    fn add(&mut self, item: &u8) {
        self.plus(Self(1, Some(Max(*item))));
    }
}

/// Sums by the last bit of the key: of entries, of which a key may have many.
#[derive(
    Clone, Debug, PartialEq, crate::Semigroup, crate::Monoid, crate::Commutative, crate::codec::Codec,
)]
struct Halves([u64; 2]);

impl Sketch<(u8, u64)> for Halves {
    fn add(&mut self, (key, value): &(u8, u64)) {
        self.0[usize::from(key % 2)] += value;
    }
}

impl crate::sketch::SumsByKey<u8, u64> for Halves {}

type Distinct = Eventually<BTreeSet<u8>, Toy, 4>;
type Hashed = Eventually<HashSet<u8>, Toy, 4>;
type Counted = Eventually<Vec<u8>, Count, 4>;

fn of<T: Sketch<u8>>(items: &[u8]) -> T {
    let mut value = T::zero();
    items.iter().for_each(|item| value.add(item));
    value
}

fn items() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0..20_u8, 0..7)
}

macro_rules! lawful {
    ($($name:ident $type:ty;)*) => {
        proptest! {$(
            #[test]
            fn $name(a in items(), b in items(), c in items(), cuts: [usize; 3], x in 0..20_u8) {
                let whole = [&a[..], &b, &c].concat();
                laws::merge_equals_whole_within(&whole, &cuts, of::<$type>, <$type>::eq)?;
                let [a, b, c] = [a, b, c].map(|items| of::<$type>(&items));
                laws::associative(&a, &b, &c)?;
                laws::identity(&a)?;
                laws::adds(&a, &x, <$type>::eq)?;
                laws::round_trip(&a)?;
                laws::round_trip(&laws::sum([a, b, c]))?;
            }
        )*}
    };
}

lawful! {
    distinct Distinct;
    hashed Hashed;
    counted Counted;
    never_exact Eventually<BTreeSet<u8>, Toy, 0>;
}

proptest! {
    #[test]
    fn markers(a in items(), b in items()) {
        laws::commutative(&of::<Distinct>(&a), &of::<Distinct>(&b))?;
        laws::idempotent(&of::<Distinct>(&a))?;
    }

    #[test]
    fn the_exact_ones_condense(a in items(), b in items()) {
        laws::condenses_within::<BTreeSet<u8>, Toy>(&of(&a), &of(&b), Toy::eq)?;
        laws::condenses_within::<HashSet<u8>, Toy>(&of(&a), &of(&b), Toy::eq)?;
        laws::condenses_within::<Vec<u8>, Count>(&a, &b, Count::eq)?;
        let counts = |items: &[u8]| items.iter().map(|item| (*item, 1)).collect::<Vec<(u8, u64)>>();
        let [a, b] = [a, b].map(|items| crate::sum_by_key(counts(&items)));
        laws::condenses_within::<BTreeMap<u8, u64>, Halves>(&a, &b, Halves::eq)?;
        let [a, b] = [a, b].map(|map| map.into_iter().collect());
        laws::condenses_within::<HashMap<u8, u64>, Halves>(&a, &b, Halves::eq)?;
    }

    #[test]
    fn sums_by_key(items in items(), cuts: [usize; 3]) {
        fn of<T: Sketch<(u8, u64)>>(items: &[u8]) -> T {
            let mut value = T::zero();
            items.iter().for_each(|item| value.add(&(*item, 2)));
            value
        }
        type Ordered = Eventually<BTreeMap<u8, u64>, Halves, 3>;
        type Unordered = Eventually<HashMap<u8, u64>, Halves, 3>;
        laws::merge_equals_whole_within(&items, &cuts, of::<Ordered>, Ordered::eq)?;
        laws::merge_equals_whole_within(&items, &cuts, of::<Unordered>, Unordered::eq)?;
        let value = of::<Ordered>(&items);
        laws::round_trip(&value)?;
        prop_assert_eq!(value.to_bytes(), of::<Unordered>(&items).to_bytes());
        prop_assert_eq!(value.exact().is_some(), of::<BTreeMap<u8, u64>>(&items).len() <= 3);
    }

    #[test]
    fn a_function_of_the_exact_sum(items in items()) {
        let (value, exact) = (of::<Distinct>(&items), of::<BTreeSet<u8>>(&items));
        prop_assert_eq!(value.clone().into_sketch(), of::<Toy>(&items));
        prop_assert_eq!(&value, &Distinct::from(exact.clone()));
        if exact.len() <= 4 {
            prop_assert_eq!((value.exact(), value.sketch()), (Some(&exact), None));
            prop_assert_eq!(value.answer(BTreeSet::len, |_| 99), exact.len());
        } else {
            prop_assert_eq!((value.exact(), value.sketch()), (None, Some(&of::<Toy>(&items))));
            prop_assert_eq!(value.answer(BTreeSet::len, |_| 99), 99);
        }
        let hashed = of::<Hashed>(&items).to_bytes();
        prop_assert_eq!(hashed, value.to_bytes());
    }

    #[test]
    fn any_bytes(bytes: Vec<u8>, changes: Vec<(usize, u8)>, items in items()) {
        laws::survives::<Distinct>(&bytes, &changes)?;
        laws::survives::<Distinct>(&of::<Distinct>(&items).to_bytes(), &changes)?;
    }
}

#[test]
fn other_bytes_are_refused() {
    let mut bytes = of::<Eventually<BTreeSet<u8>, Toy, 5>>(&[1, 2, 3, 4, 5]).to_bytes();
    laws::refuses::<Distinct>(&bytes, DecodeErrorKind::Shape).unwrap();
    bytes[2] = 4;
    laws::refuses::<Distinct>(&bytes, DecodeErrorKind::Corrupt).unwrap();
    bytes[1] = 2;
    laws::refuses::<Distinct>(&bytes, DecodeErrorKind::Version).unwrap();
    bytes[0] = 0;
    laws::refuses::<Distinct>(&bytes, DecodeErrorKind::Corrupt).unwrap();
}

#[test]
fn takes_what_its_parts_take() {
    let mut words = Eventually::<BTreeSet<String>, Toy, 2>::new();
    words.add("ant");
    words.add("bee");
    assert_eq!(words.exact().map(BTreeSet::len), Some(2));
    let text = serde_json::to_string(&words).unwrap();
    assert_eq!(
        serde_json::from_str::<Eventually<BTreeSet<String>, Toy, 2>>(&text).unwrap(),
        words
    );
    words.add("cat");
    assert_eq!(words.exact(), None);
}
