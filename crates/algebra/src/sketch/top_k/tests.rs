//! The largest and smallest beside a sorted vector.

use proptest::prelude::*;

use super::*;
use crate::codec::DecodeErrorKind;
use crate::laws;

fn largest(items: &[u8]) -> Largest<u8, 5> {
    let mut top = Largest::new();
    items.iter().for_each(|item| top.add(item));
    top
}

fn smallest(items: &[u8]) -> Smallest<u8, 5> {
    let mut top = Smallest::new();
    items.iter().for_each(|item| top.add(item));
    top
}

fn items() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0..30_u8, 0..12)
}

proptest! {
    #[test]
    fn laws_hold(a in items(), b in items(), c in items(), x in 0..30_u8) {
        macro_rules! lawful {
            ($of:ident) => {
                let [a, b, c] = [&a, &b, &c].map(|items| $of(items));
                laws::associative(&a, &b, &c)?;
                laws::commutative(&a, &b)?;
                laws::identity(&a)?;
                laws::adds(&a, &x, PartialEq::eq)?;
                laws::bulk_equals_repeated(&[a.clone(), b, c])?;
                laws::round_trip(&a)?;
            };
        }
        lawful!(largest);
        lawful!(smallest);
    }

    #[test]
    fn like_sorting_all(
        items in prop::collection::vec(any::<u8>(), 0..60),
        cuts in prop::collection::vec(any::<usize>(), 0..4),
    ) {
        let mut sorted = items.clone();
        sorted.sort_unstable();
        let expected: Vec<u8> = sorted.iter().copied().take(5).collect();
        prop_assert_eq!(smallest(&items).into_items(), expected);
        let expected: Vec<u8> = sorted.iter().rev().copied().take(5).collect();
        prop_assert_eq!(largest(&items).into_items(), expected);
        laws::merge_equals_whole_within(&items, &cuts, largest, PartialEq::eq)?;
        laws::merge_equals_whole_within(&items, &cuts, smallest, PartialEq::eq)?;
        let ones = items.iter().map(Largest::<u8, 5>::of);
        prop_assert_eq!(Largest::sum(ones).unwrap_or_default(), largest(&items));
    }

    #[test]
    fn bytes_survive(a in items(), any in prop::collection::vec(any::<u8>(), 0..60), changes: [(usize, u8); 2]) {
        laws::survives::<Largest<u8, 5>>(&largest(&a).to_bytes(), &changes)?;
        laws::survives::<Smallest<u8, 5>>(&smallest(&a).to_bytes(), &changes)?;
        laws::survives::<Smallest<u8, 5>>(&any, &[])?;
    }
}

#[test]
fn many_are_summed_in_bounded_room() {
    let ones = (0..5_000_u32).map(|n| Smallest::<u32, 3>::of(&(n * 7_919 % 5_003)));
    let mut all: Vec<u32> = (0..5_000).map(|n| n * 7_919 % 5_003).collect();
    all.sort_unstable();
    assert_eq!(Smallest::sum(ones).unwrap().items(), &all[..3]);
}

#[test]
fn other_bytes_are_refused() {
    let bytes = largest(&[1, 2]).to_bytes();
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        bytes
    };
    laws::refuses::<Largest<u8, 5>>(&with(0, 1), DecodeErrorKind::Corrupt).unwrap();
    laws::refuses::<Largest<u8, 5>>(&with(1, 2), DecodeErrorKind::Version).unwrap();
    laws::refuses::<Largest<u8, 6>>(&bytes, DecodeErrorKind::Shape).unwrap();
    laws::refuses::<Smallest<u8, 5>>(&bytes, DecodeErrorKind::Shape).unwrap();
    laws::refuses::<Largest<u8, 5>>(&with(bytes.len() - 1, 9), DecodeErrorKind::Corrupt).unwrap();
}
