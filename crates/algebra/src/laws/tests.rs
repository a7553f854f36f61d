//! Each law finds a structure that breaks it, and lets one pass that does not.

use super::*;
use crate::codec::{Codec, DecodeError, DecodeErrorKind, Input};
use crate::sketch::Sketch;
use crate::{Commutative, Condense, Group, Idempotent, Monoid, Semiring, Times};

/// Subtraction, and as its product subtraction again: breaks every law.
#[derive(Clone, Debug, PartialEq)]
struct Minus(i64);

impl Semigroup for Minus {
    fn plus(&mut self, right: Self) {
        self.0 -= right.0;
    }

    fn sum(items: impl IntoIterator<Item = Self>) -> Option<Self> {
        items.into_iter().last()
    }
}

impl Monoid for Minus {
    fn zero() -> Self {
        Self(0)
    }

    fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl Group for Minus {
    fn negate(&mut self) {
        self.0 = -self.0;
    }
}

impl Commutative for Minus {}
impl Idempotent for Minus {}

impl Times for Minus {
    fn times(&mut self, right: Self) {
        self.0 -= right.0;
    }
}

impl Semiring for Minus {
    fn one() -> Self {
        Self(0)
    }
}

impl Sketch<i64> for Minus {
    fn add(&mut self, item: &i64) {
        self.0 += item;
    }
}

/// Says that its size shrinks.
impl Condense<Minus> for Minus {
    fn size(&self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    fn condense_into(self, sketch: &mut Minus) {
        sketch.0 += self.0;
    }
}

/// Condenses to something where there is nothing.
#[derive(Clone, Debug, PartialEq, crate::Semigroup, crate::Monoid)]
struct Turned(i64);

impl Condense<Plus<NOTHING>> for Turned {
    fn size(&self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    fn condense_into(self, sketch: &mut Plus<NOTHING>) {
        sketch.0 += if self.0 == 0 { 1 } else { self.0 };
    }
}

/// Addition, with one law broken on purpose.
#[derive(Clone, Debug, PartialEq)]
struct Plus<const BROKEN: u8>(i64);

const NOTHING: u8 = 0;
const ZERO_IS_NOT_ZERO: u8 = 1;
const ALL_ARE_ZERO: u8 = 2;
const INVERSE_IS_NOT_ZERO: u8 = 3;

impl<const BROKEN: u8> Semigroup for Plus<BROKEN> {
    fn plus(&mut self, right: Self) {
        self.0 += right.0;
    }
}

impl<const BROKEN: u8> Monoid for Plus<BROKEN> {
    fn zero() -> Self {
        Self(0)
    }

    fn is_zero(&self) -> bool {
        match BROKEN {
            ZERO_IS_NOT_ZERO | INVERSE_IS_NOT_ZERO => false,
            ALL_ARE_ZERO => true,
            _ => self.0 == 0,
        }
    }
}

impl<const BROKEN: u8> Group for Plus<BROKEN> {
    fn negate(&mut self) {
        self.0 = -self.0;
    }
}

impl<const BROKEN: u8> Commutative for Plus<BROKEN> {}
impl<const BROKEN: u8> Idempotent for Plus<BROKEN> {}

impl Times for Plus<NOTHING> {
    fn times(&mut self, right: Self) {
        self.0 *= right.0;
    }
}

impl Semiring for Plus<NOTHING> {
    fn one() -> Self {
        Self(1)
    }
}

impl Sketch<i64> for Plus<NOTHING> {
    fn add(&mut self, item: &i64) {
        self.0 += item;
    }
}

#[test]
fn sums() {
    let (a, b, c) = (Minus(1), Minus(2), Minus(3));
    let broken = associative(&a, &b, &c).unwrap_err();
    assert_eq!(
        broken.to_string(),
        "(a ⊕ b) ⊕ c = a ⊕ (b ⊕ c) does not hold: left=Minus(-4) right=Minus(2)"
    );
    associative_within(&a, &b, &c, |x, y| x.0.abs() == y.0).unwrap_err();
    associative_within(&a, &b, &c, |x, y| x.0 == -2 * y.0).unwrap();
    commutative(&a, &b).unwrap_err();
    commutative_within(&a, &b, |x, y| x.0 == y.0).unwrap_err();
    commutative_within(&a, &b, |x, y| x.0 == -y.0).unwrap();
    idempotent(&a).unwrap_err();
    idempotent(&Plus::<NOTHING>(1)).unwrap_err();

    let (a, b, c) = (Plus::<NOTHING>(1), Plus(2), Plus(3));
    associative(&a, &b, &c).unwrap();
    commutative(&a, &b).unwrap();
    idempotent(&Plus::<NOTHING>(0)).unwrap();
}

#[test]
fn zeros_and_inverses() {
    let broken = |result: Result, law: &str| {
        let text = result.unwrap_err().to_string();
        assert!(text.contains(law), "{text}");
    };
    broken(identity(&Minus(1)), "zero ⊕ a = a");
    broken(identity_within(&Minus(1), |x, y| x == y), "zero ⊕ a = a");
    identity_within(&Minus(1), |x, y| x.0.abs() == y.0.abs()).unwrap();
    broken(identity(&Plus::<ZERO_IS_NOT_ZERO>(1)), "is_zero(zero)");
    broken(identity(&Plus::<ALL_ARE_ZERO>(1)), "is_zero(a) ⇒ a = zero");
    broken(inverse(&Minus(1)), "a ⊕ negate(a) = zero");
    broken(inverse_within(&Minus(1), |x, y| x == y), "a ⊕ negate(a) = zero");
    inverse_within(&Minus(1), |x, y| x.0.abs() == 2 + y.0).unwrap();
    broken(inverse(&Plus::<INVERSE_IS_NOT_ZERO>(1)), "is_zero(a ⊕ negate(a))");
    identity(&Plus::<NOTHING>(1)).unwrap();
    inverse(&Plus::<NOTHING>(1)).unwrap();
}

#[test]
fn products() {
    let (a, b, c) = (Minus(1), Minus(2), Minus(3));
    distributive(&a, &b, &c).unwrap_err();
    distributive_within(&a, &b, &c, |x, y| x == y).unwrap_err();
    distributive_within(&a, &b, &c, |_, _| true).unwrap();
    unit(&a).unwrap_err();

    let (a, b, c) = (Plus::<NOTHING>(1), Plus(2), Plus(3));
    distributive(&a, &b, &c).unwrap();
    unit(&b).unwrap();
}

#[test]
fn parts() {
    let items = [1, 2, 3, 4, 5];
    let minus: Vec<Minus> = items.iter().map(|item| Minus(*item)).collect();
    bulk_equals_repeated(&minus).unwrap_err();
    let plus: Vec<Plus<NOTHING>> = items.iter().map(|item| Plus(*item)).collect();
    bulk_equals_repeated(&plus).unwrap();
    bulk_equals_repeated::<Plus<NOTHING>>(&[]).unwrap();

    let whole = |items: &[i64]| Minus(items.iter().sum());
    merge_equals_whole_within(&items, &[2, 1], whole, Minus::eq).unwrap_err();
    merge_equals_whole_within(&items, &[], whole, Minus::eq).unwrap();
    let whole = |items: &[i64]| Plus::<NOTHING>(items.iter().sum());
    merge_equals_whole_within(&items, &[2, 1], whole, Plus::eq).unwrap();

    adds(&Minus(1), &2, Minus::eq).unwrap_err();
    adds(&Plus(1), &2, Plus::eq).unwrap();
    condenses_within(&Minus(1), &Minus(2), Minus::eq).unwrap_err();
    let zero = condenses_within(&Turned(1), &Turned(2), Plus::eq).unwrap_err();
    assert!(zero.to_string().starts_with("condense(zero) = zero"));
    let shrinks = condenses_within(&Minus(1), &Minus(2), |_, _| true).unwrap_err();
    assert!(shrinks.to_string().starts_with("size(a ⊕ b)"));
}

/// Bytes that break one law.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bytes<const BROKEN: u8>(u8);

const FORGETS: u8 = 1;
const REFUSES_ITS_OWN: u8 = 2;
const ENDS_EARLY: u8 = 3;
const NEVER_THE_SAME: u8 = 4;
const TAKES_MORE: u8 = 5;
const CANNOT_BE_READ_AGAIN: u8 = 6;

impl<const BROKEN: u8> Semigroup for Bytes<BROKEN> {
    fn plus(&mut self, right: Self) {
        self.0 = self.0.wrapping_add(right.0);
    }
}

impl<const BROKEN: u8> Codec for Bytes<BROKEN> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(match BROKEN {
            NEVER_THE_SAME => self.0.wrapping_add(1),
            CANNOT_BE_READ_AGAIN if self.0 == 7 => 255,
            _ => self.0,
        });
    }

    fn decode(input: &mut Input<'_>) -> std::result::Result<Self, DecodeError> {
        if BROKEN == ENDS_EARLY && input.remaining() == 0 {
            return Ok(Self(0));
        }
        let read = u8::decode(input)?;
        if BROKEN == TAKES_MORE {
            input.take(input.remaining())?;
        }
        match BROKEN {
            FORGETS => Ok(Self(0)),
            REFUSES_ITS_OWN => Err(input.corrupt("refused")),
            CANNOT_BE_READ_AGAIN if read == 255 => Err(input.corrupt("refused")),
            _ => Ok(Self(read)),
        }
    }
}

#[test]
fn bytes() {
    round_trip(&Bytes::<NOTHING>(1)).unwrap();
    round_trip(&Bytes::<FORGETS>(1)).unwrap_err();
    round_trip(&Bytes::<REFUSES_ITS_OWN>(1)).unwrap_err();
    round_trip(&Bytes::<NEVER_THE_SAME>(1)).unwrap_err();

    survives::<Bytes<NOTHING>>(&[1], &[(0, 7)]).unwrap();
    survives::<Bytes<NOTHING>>(&[], &[(0, 7)]).unwrap();
    survives::<Bytes<ENDS_EARLY>>(&[1], &[]).unwrap_err();
    survives::<Bytes<TAKES_MORE>>(&[1], &[]).unwrap_err();
    survives::<Bytes<CANNOT_BE_READ_AGAIN>>(&[1], &[]).unwrap();
    survives::<Bytes<CANNOT_BE_READ_AGAIN>>(&[1], &[(0, 7)]).unwrap_err();

    refuses::<Bytes<NOTHING>>(&[], DecodeErrorKind::Corrupt).unwrap();
    refuses::<Bytes<NOTHING>>(&[], DecodeErrorKind::Version).unwrap_err();
    refuses::<Bytes<NOTHING>>(&[1], DecodeErrorKind::Corrupt).unwrap_err();
}

#[test]
fn chance() {
    let tries = |failures: usize| (0..1000).map(move |try_| try_ >= failures);
    fails_at_most(0.05, tries(0)).unwrap();
    fails_at_most(0.05, tries(50)).unwrap();
    fails_at_most(0.05, tries(70)).unwrap();
    fails_at_most(0.05, tries(150)).unwrap_err();
    fails_at_most(0.05, tries(1000)).unwrap_err();
    fails_at_most(0.0, tries(0)).unwrap();
    fails_at_most(0.0, tries(1)).unwrap_err();
    fails_at_most(0.05, []).unwrap();
}
