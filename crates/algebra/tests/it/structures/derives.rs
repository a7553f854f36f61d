//! Derived structures and bytes keep the laws, for every form of struct.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

use algebra::codec::{Codec, DecodeErrorKind};
use algebra::{Commutative, Group, Idempotent, Max, Monoid, Semigroup, laws};
use proptest::prelude::*;

use crate::kit::golden;

/// With names, and one that a generated name could clash with.
#[derive(Clone, Debug, PartialEq, Semigroup, Monoid, Group, Commutative, Codec)]
struct Traffic {
    requests: u64,
    right: (i32, [u8; 2]),
    r#type: i8,
}

#[derive(Clone, Debug, PartialEq, Semigroup, Monoid, Commutative, Idempotent, Codec)]
struct Peaks(Option<Max<u8>>, BTreeSet<u16>);

#[derive(Clone, Debug, PartialEq, Semigroup, Monoid, Group, Commutative, Idempotent, Codec)]
struct Nothing;

#[derive(Clone, Debug, PartialEq, Semigroup, Monoid, Group, Commutative, Idempotent, Codec)]
struct Empty {}

/// Parameters of every kind; `K` only has to be a key, and `P` nothing at all.
#[derive(Clone, Debug, PartialEq, Semigroup, Monoid, Commutative, Idempotent, Codec)]
struct Keyed<K: Ord, V, P, const N: usize = 2>
where
    V: Clone,
{
    by_key: BTreeMap<K, V>,
    last: [V; N],
    nothing: PhantomData<P>,
}

/// Not summable as a key is: shows that only field types are bounded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Codec)]
struct Key(bool);

/// Of a type that holds itself.
#[derive(Clone, Debug, PartialEq, Semigroup, Monoid, Commutative, Idempotent, Codec)]
struct Tree<T> {
    here: Option<T>,
    below: BTreeMap<u8, Self>,
    deeper: Option<Box<Tree<T>>>,
}

/// Of a type with a life.
#[derive(Clone, Debug, PartialEq, Semigroup, Idempotent)]
struct Named<'a, T: ?Sized + 'a> {
    names: BTreeSet<Cow<'a, str>>,
    of: PhantomData<&'a T>,
}

#[derive(Clone, Debug, PartialEq, Codec)]
#[codec(version = 2)]
struct Second {
    value: u8,
}

#[derive(Clone, Debug, PartialEq, Codec)]
struct FirstForm {
    value: u8,
}

proptest! {
    #[test]
    fn by_name(parts: [(u64, i32, [u8; 2], i8); 3]) {
        let [a, b, c] = parts.map(|(requests, x, y, r#type)| Traffic { requests, right: (x, y), r#type });
        laws::associative(&a, &b, &c)?;
        laws::identity(&a)?;
        laws::inverse(&a)?;
        laws::commutative(&a, &b)?;
        laws::round_trip(&a)?;
        let mut sum = a.clone();
        sum.plus(b.clone());
        prop_assert_eq!(sum.requests, a.requests.wrapping_add(b.requests));
        prop_assert_eq!(sum.right.1[1], a.right.1[1].wrapping_add(b.right.1[1]));
    }

    #[test]
    fn by_place(maxima: [Option<u8>; 3], sets in prop::collection::vec(prop::collection::btree_set(0..9_u16, 0..4), 3)) {
        let [a, b, c] = [0, 1, 2].map(|i: usize| Peaks(maxima[i].map(Max), sets[i].clone()));
        laws::associative(&a, &b, &c)?;
        laws::identity(&a)?;
        laws::commutative(&a, &b)?;
        laws::idempotent(&a)?;
        laws::round_trip(&a)?;
    }

    #[test]
    fn with_parameters(parts: [(bool, Option<u8>, Option<u8>); 3]) {
        let [a, b, c] = parts.map(|(key, value, last)| Keyed::<Key, Option<Max<u8>>, Key> {
            by_key: BTreeMap::from([(Key(key), value.map(Max))]),
            last: [last.map(Max), None],
            nothing: PhantomData,
        });
        laws::associative(&a, &b, &c)?;
        laws::identity(&a)?;
        laws::commutative(&a, &b)?;
        laws::idempotent(&a)?;
        laws::round_trip(&a)?;
    }

    #[test]
    fn of_itself(values: [(Option<u8>, u8, bool); 3]) {
        let [a, b, c] = values.map(|(value, at, deep)| {
            let leaf = Tree { here: value.map(Max), below: BTreeMap::new(), deeper: None };
            Tree { here: None, below: BTreeMap::from([(at % 3, leaf.clone())]), deeper: deep.then(|| Box::new(leaf)) }
        });
        laws::associative(&a, &b, &c)?;
        laws::identity(&a)?;
        laws::commutative(&a, &b)?;
        laws::idempotent(&a)?;
        laws::round_trip(&a)?;
    }

    #[test]
    fn any_bytes(bytes: Vec<u8>, changes: Vec<(usize, u8)>, requests: u64) {
        laws::survives::<Traffic>(&bytes, &changes)?;
        let value = Traffic { requests, right: (1, [2, 3]), r#type: 4 };
        laws::survives::<Traffic>(&value.to_bytes(), &changes)?;
        laws::survives::<Tree<Max<u8>>>(&bytes, &changes)?;
    }
}

#[test]
fn without_fields() {
    laws::associative(&Nothing, &Nothing, &Nothing).unwrap();
    laws::identity(&Nothing).unwrap();
    laws::inverse(&Empty {}).unwrap();
    laws::commutative(&Empty {}, &Empty {}).unwrap();
    laws::idempotent(&Nothing).unwrap();
    laws::round_trip(&Nothing).unwrap();
    assert_eq!(Nothing.to_bytes(), [1]);
}

#[test]
fn with_a_life() {
    let named = |name: &'static str| Named::<()> {
        names: BTreeSet::from([name.into()]),
        of: PhantomData,
    };
    laws::associative(&named("a"), &named("b"), &named("c")).unwrap();
    laws::idempotent(&named("a")).unwrap();
}

#[test]
fn another_version_is_refused() {
    assert_eq!(Second { value: 7 }.to_bytes(), [2, 7]);
    assert_eq!(FirstForm { value: 7 }.to_bytes(), [1, 7]);
    laws::refuses::<Second>(&[1, 7], DecodeErrorKind::Version).unwrap();
    laws::refuses::<FirstForm>(&[2, 7], DecodeErrorKind::Version).unwrap();
    laws::refuses::<FirstForm>(&[1], DecodeErrorKind::Corrupt).unwrap();
    assert_eq!(
        Second::from_bytes(&[1, 7]).unwrap_err().to_string(),
        "another version, read it with the release that wrote it: type=Second expected=2 found=1 at=1"
    );
}

#[test]
fn golden_bytes() {
    golden(
        "derived",
        &(
            Traffic {
                requests: 1,
                right: (-2, [3, 4]),
                r#type: 5,
            },
            Peaks(Some(Max(6)), BTreeSet::from([8, 7])),
            Nothing,
            Second { value: 9 },
        ),
    );
}
