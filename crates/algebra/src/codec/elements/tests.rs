//! Plain elements: there and back, in one form only, and nothing that a hostile length can do.

use std::fmt::Debug;
use std::hash::{BuildHasherDefault, DefaultHasher};

use proptest::prelude::*;

use super::*;
use crate::codec::{DecodeErrorKind, RECORD_DEPTH_MAX};
use crate::{Semigroup, laws};

type Frozen = BuildHasherDefault<DefaultHasher>;

proptest! {
    #[test]
    fn there_and_back(
        numbers: (u8, i16, u32, i64, u128, bool),
        texts in prop::collection::vec("[a-zé]{0,3}", 1..9),
        ordered in prop::collection::btree_map(any::<u8>(), "[a-z]?", 0..9),
        bits: (u32, u64),
    ) {
        laws::round_trip(&numbers)?;
        laws::round_trip(&(texts[0].clone(), texts.get(1).cloned(), texts.get(2).ok_or(numbers.0).cloned()))?;
        laws::round_trip(&texts)?;
        laws::round_trip(&ordered)?;
        laws::round_trip(&ordered.keys().copied().collect::<BTreeSet<_>>())?;
        laws::round_trip(&ordered.clone().into_iter().collect::<HashMap<_, _>>())?;
        laws::round_trip(&ordered.keys().copied().collect::<HashSet<_>>())?;
        laws::round_trip(&ordered.into_values().collect::<VecDeque<_>>())?;
        laws::round_trip(&[numbers.0, 1, 2])?;
        // Every bit of a float, NaNs too.
        let float = f64::from_bytes(&f64::from_bits(bits.1).to_bytes()).unwrap();
        prop_assert_eq!(float.to_bits(), bits.1);
        let float = f32::from_bytes(&f32::from_bits(bits.0).to_bytes()).unwrap();
        prop_assert_eq!(float.to_bits(), bits.0);
    }

    /// However filled, with whatever room, and whatever the hasher.
    #[test]
    fn hashed_bytes_do_not_depend_on_the_order(entries in prop::collection::btree_map(any::<u16>(), any::<u8>(), 0..40)) {
        let mut other: HashMap<u16, u8, Frozen> = HashMap::with_capacity_and_hasher(1000, Frozen::default());
        other.extend(entries.iter().rev().map(|(key, value)| (*key, *value)));
        let hashed: HashMap<u16, u8> = entries.clone().into_iter().collect();
        prop_assert_eq!(hashed.to_bytes(), entries.to_bytes());
        prop_assert_eq!(other.to_bytes(), entries.to_bytes());
        let keys: BTreeSet<u16> = entries.keys().copied().collect();
        prop_assert_eq!(hashed.keys().copied().collect::<HashSet<_>>().to_bytes(), keys.to_bytes());
        prop_assert_eq!(other.keys().copied().collect::<HashSet<_, Frozen>>().to_bytes(), keys.to_bytes());
    }

    #[test]
    fn any_bytes(
        bytes in prop::collection::vec(prop_oneof![0..3_u8, any::<u8>()], 0..40),
        changes: [(usize, u8); 2],
        texts in prop::collection::vec("[a-zé]{0,3}", 0..9),
        map in prop::collection::hash_map(any::<u8>(), any::<Option<u8>>(), 0..9),
    ) {
        survive::<Vec<String>>(&bytes, &texts.to_bytes(), &changes)?;
        survive::<HashMap<u8, Option<u8>>>(&bytes, &map.to_bytes(), &changes)?;
        survive::<BTreeSet<[u8; 2]>>(&bytes, &[], &changes)?;
        survive::<VecDeque<Result<u8, String>>>(&bytes, &[], &changes)?;
    }
}

/// Any type, summed by dropping one of the two.
#[derive(Debug, PartialEq)]
struct Either<T>(T);

impl<T> Semigroup for Either<T> {
    fn plus(&mut self, _right: Self) {}
}

impl<T: Codec> Codec for Either<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        T::decode(input).map(Self)
    }
}

fn survive<T: Codec>(any: &[u8], valid: &[u8], changes: &[(usize, u8)]) -> laws::Result {
    laws::survives::<Either<T>>(any, changes)?;
    laws::survives::<Either<T>>(valid, changes)
}

#[test]
fn the_layout() {
    fn check(value: impl Codec, bytes: &[u8]) {
        assert_eq!(value.to_bytes(), bytes);
    }
    check(0x0102_u16, &[2, 1]);
    check(-2_i32, &[0xfe, 0xff, 0xff, 0xff]);
    check(1.0_f32, &[0, 0, 0x80, 0x3f]);
    check((true, false), &[1, 0]);
    check('é', &[0xe9, 0, 0, 0]);
    check(Some(7_u8), &[1, 7]);
    check(None::<u8>, &[0]);
    check(Result::<u8, bool>::Ok(7), &[0, 7]);
    check(Result::<u8, bool>::Err(true), &[1, 1]);
    check("é".to_owned(), &[2, 0, 0, 0, 0xc3, 0xa9]);
    check(vec![1_u16, 2], &[2, 0, 0, 0, 1, 0, 2, 0]);
    check(VecDeque::from([1_u8]), &[1, 0, 0, 0, 1]);
    check([1_u8, 2], &[1, 2]);
    check(BTreeSet::from([2_u8, 1]), &[2, 0, 0, 0, 1, 2]);
    check(BTreeMap::from([(2_u8, 3_u8), (1, 4)]), &[2, 0, 0, 0, 1, 4, 2, 3]);
    check((Box::new(1_u8), Wrapping(2_u8), (), PhantomData::<u8>), &[1, 2]);
}

#[test]
fn one_form_only() {
    fn corrupt<T: Codec>(bytes: &[u8]) {
        laws::refuses::<T>(bytes, DecodeErrorKind::Corrupt).unwrap();
    }
    corrupt::<bool>(&[2]);
    corrupt::<char>(&[0, 0xd8, 0, 0]);
    corrupt::<Option<u8>>(&[2, 0]);
    corrupt::<Result<u8, u8>>(&[2, 0]);
    corrupt::<String>(&[1, 0, 0, 0, 0xff]);
    corrupt::<BTreeSet<u8>>(&[2, 0, 0, 0, 2, 1]);
    corrupt::<BTreeSet<u8>>(&[2, 0, 0, 0, 1, 1]);
    corrupt::<BTreeMap<u8, u8>>(&[2, 0, 0, 0, 2, 0, 1, 0]);
    corrupt::<HashSet<u8>>(&[2, 0, 0, 0, 1, 1]);
    corrupt::<HashMap<u8, u8>>(&[2, 0, 0, 0, 1, 0, 1, 0]);
}

/// Whoever says that thousands of millions follow, and stops, is refused before room is made for them: the largest claim
/// here is of 34 TB, which no allocation survives.
#[test]
fn lengths_that_lie() {
    fn lies<T: Codec + Debug>() {
        for length in [1_u32, 1000, u32::MAX] {
            let error = T::from_bytes(&length.to_le_bytes()).unwrap_err();
            assert_eq!(error.kind(), DecodeErrorKind::Corrupt);
            assert!(
                error.to_string().contains("length exceeds what is left"),
                "{error}"
            );
        }
    }
    lies::<String>();
    lies::<Vec<u32>>();
    lies::<VecDeque<u32>>();
    lies::<Vec<[u64; 1000]>>();
    lies::<BTreeSet<u8>>();
    lies::<BTreeMap<u8, String>>();
    lies::<HashSet<String>>();
    lies::<HashMap<u8, u8>>();
    // An inner length that lies, in an outer one that does not.
    let inner = [1_u32.to_le_bytes(), u32::MAX.to_le_bytes()].concat();
    laws::refuses::<Vec<String>>(&inner, DecodeErrorKind::Corrupt).unwrap();
    // Elements without bytes, of which any length would do.
    laws::refuses::<Vec<()>>(&u32::MAX.to_le_bytes(), DecodeErrorKind::Corrupt).unwrap();
    // A large array of which only the start is there.
    laws::refuses::<[u64; 1000]>(&[0; 80], DecodeErrorKind::Corrupt).unwrap();
}

/// Every prefix of valid bytes, and every one with something behind.
#[test]
fn cut_short_or_lengthened() {
    type Value = (u16, Option<String>, BTreeMap<u8, Vec<u16>>, [bool; 2]);
    let value: Value = (
        7,
        Some("ant".to_owned()),
        BTreeMap::from([(1, vec![1, 2])]),
        [true, false],
    );
    let bytes = value.to_bytes();
    for end in 0..bytes.len() {
        let error = Value::from_bytes(&bytes[..end]).unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::Corrupt, "end={end}");
    }
    let error = Value::from_bytes(&[&bytes[..], &[0]].concat()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("bytes are left over: left=1 at={}", bytes.len())
    );
    // Taken as parts of a whole they may be followed.
    let longer = [&bytes[..], &[9]].concat();
    let mut input = Input::new(&longer);
    assert_eq!(Value::decode(&mut input).unwrap(), value);
    assert_eq!(u8::decode(&mut input).unwrap(), 9);
    input.finish().unwrap();
}

/// A list as a type that holds itself.
#[derive(Debug, PartialEq, crate::codec::Codec)]
struct Node {
    value: u8,
    next: Option<Box<Node>>,
}

#[test]
fn too_deep_is_refused_before_the_stack_ends() {
    let chain = |length: u8| {
        (1..length).fold(Node { value: 0, next: None }, |next, value| Node {
            value,
            next: Some(Box::new(next)),
        })
    };
    laws::round_trip(&chain(RECORD_DEPTH_MAX)).unwrap();
    laws::refuses::<Node>(&chain(RECORD_DEPTH_MAX + 1).to_bytes(), DecodeErrorKind::Corrupt).unwrap();
    let endless = [1, 0, 1].repeat(1_000_000);
    laws::refuses::<Node>(&endless, DecodeErrorKind::Corrupt).unwrap();
    // One after another is not deep.
    let many: Vec<Node> = (0..1000).map(|_| Node { value: 1, next: None }).collect();
    laws::round_trip(&many).unwrap();
}
