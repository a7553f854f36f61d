//! Laws and bytes of the Bloom filter.

use datasketches::bloom::BloomFilterBuilder;
use proptest::prelude::*;

use super::*;
use crate::codec::{Codec, DecodeErrorKind};
use crate::laws;

type Small = Bloom<512, 3>;

fn of_items(items: &[u16]) -> Small {
    let mut filter = Small::new();
    items.iter().for_each(|item| filter.add(item));
    filter
}

fn filter() -> impl Strategy<Value = Small> {
    prop::collection::vec(any::<u16>(), 0..60).prop_map(|items| of_items(&items))
}

proptest! {
    #[test]
    fn laws_hold(a in filter(), b in filter(), c in filter(), item: u64) {
        laws::associative(&a, &b, &c)?;
        laws::identity(&a)?;
        laws::commutative(&a, &b)?;
        laws::idempotent(&a)?;
        laws::adds(&a, &item, Small::eq)?;
        laws::round_trip(&a)?;
    }

    #[test]
    fn what_was_added_is_found(left: Vec<u16>, right: Vec<u16>) {
        let mut both = of_items(&left);
        let common = both.intersect(&of_items(&right));
        both.plus(of_items(&right));
        prop_assert!(left.iter().chain(&right).all(|item| both.contains(item)));
        prop_assert!(left.iter().filter(|item| right.contains(item)).all(|item| common.contains(item)));
    }

    #[test]
    fn bytes_survive(a in filter(), changes: Vec<(usize, u8)>, header in 0..32_usize, bits: u8) {
        laws::survives::<Small>(&a.to_bytes(), &changes)?;
        laws::survives::<Small>(&a.to_bytes(), &[(header, bits)])?;
    }
}

#[test]
fn as_the_library() {
    let mut library = BloomFilterBuilder::with_size(512, 3).seed(SEED).build().unwrap();
    assert_eq!(library.serialize(), Small::new().to_bytes());
    for item in 0..40_u16 {
        assert_eq!(
            of_items(&(0..item).collect::<Vec<_>>()).to_bytes(),
            library.serialize()
        );
        library.insert(u64::from(item));
    }
    let mut texts = Small::new();
    library.reset();
    for text in ["", "ant", "a text of more than thirty-two bytes"] {
        texts.add(text);
        library.insert(datasketches::hash::value::raw_bytes::from_str(text));
    }
    assert_eq!(texts.to_bytes(), library.serialize());
    let mut uncounted = texts.to_bytes();
    uncounted[24..32].fill(0xff);
    assert_eq!(Small::from_bytes(&uncounted).unwrap(), texts);
    uncounted[24..32].fill(0);
    laws::refuses::<Small>(&uncounted, DecodeErrorKind::Corrupt).unwrap();
}

#[test]
fn empty_ones_are_equal_and_small() {
    let (a, b) = (of_items(&[1, 2]), of_items(&[3]));
    let none = a.intersect(&b).intersect(&Small::new());
    assert!(none.is_zero());
    assert_eq!(none, Small::new());
    assert_eq!(Small::new().to_bytes().len(), 24);
    assert!(!Small::new().contains("ant"));
    assert_eq!(Small::new().distinct_estimate(), 0.0);
    assert_eq!(Small::new().false_positive_probability(), 0.0);
}

#[test]
fn shape_and_version_are_refused() {
    for bytes in [Small::new().to_bytes(), of_items(&[1, 2]).to_bytes()] {
        laws::refuses::<Bloom<1_024, 3>>(&bytes, DecodeErrorKind::Shape).unwrap();
        laws::refuses::<Bloom<512, 4>>(&bytes, DecodeErrorKind::Shape).unwrap();
        let with = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            bytes
        };
        laws::refuses::<Small>(&with(8, 0), DecodeErrorKind::Shape).unwrap();
        laws::refuses::<Small>(&with(1, 2), DecodeErrorKind::Version).unwrap();
        laws::refuses::<Small>(&with(2, 7), DecodeErrorKind::Corrupt).unwrap();
        // Words of bits: 2³¹ − 1, without that many to follow.
        let mut huge = bytes.clone();
        huge[16..20].copy_from_slice(&i32::MAX.to_le_bytes());
        laws::refuses::<Small>(&huge, DecodeErrorKind::Shape).unwrap();
    }
}

#[test]
fn suggestions_fit() {
    let shape = |items, probability| {
        let shape = BloomShape::suggest(items, probability);
        (shape.bits, shape.hashes)
    };
    assert_eq!(shape(1_000, 0.01), (9_600, 7));
    assert_eq!(shape(10_000, 0.01), (95_872, 7));
    assert_eq!(shape(100_000, 0.01), (958_528, 7));
    assert_eq!(shape(100_000, 0.001), (1_437_760, 10));
    assert_eq!(shape(1_000_000, 0.001), (14_377_600, 10));
    for probability in [f64::NAN, -1.0, 0.0, 1.0, f64::INFINITY] {
        let shape = BloomShape::suggest(u64::MAX, probability);
        assert!(
            shape.bits == 1 << 36 && (1..=64).contains(&shape.hashes),
            "{shape:?}"
        );
    }
    assert_eq!(BloomShape::suggest(0, 0.5), BloomShape { bits: 64, hashes: 1 });
}
