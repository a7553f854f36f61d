//! t-digest: quantiles that are sharpest at both ends, in bytes that Apache DataSketches reads.

use datasketches::tdigest::TDigestMut;

use super::Sketch;
use crate::codec::{Codec, DecodeError, DecodeErrorKind, Input, put_length, through_bytes};
use crate::{Commutative, Monoid, Semigroup};

/// At most about `2·K` centroids (a mean and a weight) and the newest numbers still unmerged, the least and the
/// greatest: quantiles by interpolation.
///
/// There is no proven bound, and inputs can be made that break any (Cormode, Mishra, Ross and Veselý 2021). On the
/// distributions that are tested here a rank is within [`rank_error`](Self::rank_error), half the share of a centroid
/// at that rank, `q·(1 − q)·(2·ln(n / 2K) + 12) / 2K`: for `K = 200` and a million numbers 1.7 % at the median, 0.07 %
/// at 1 % and at 99 %. Where a bound is needed, take [`Kll`](super::Kll) (rank) or [`DdSketch`](super::DdSketch)
/// (value).
///
/// NaN and the infinities are left out, and not counted: the bytes have no place for that count. `-0.0` is taken as
/// `0.0`. A merge beyond `2⁶⁴` numbers keeps the side that has more, the left one of equals.
///
/// The same numbers in the same order and grouping give the same digest; it takes the logarithm of the platform, so
/// that is promised for one platform only. Laws hold *within the error*, identity exactly; `==` compares what the bytes
/// hold, after the unmerged numbers were merged. Source: Dunning and Ertl 2019 (scale function k₂), as in Apache
/// DataSketches.
///
/// ```
/// use algebra::sketch::{Sketch, TDigest};
///
/// let mut waits = TDigest::<200>::new();
/// (1..=1000).for_each(|wait| waits.add(&f64::from(wait)));
/// let p99 = waits.quantile(0.99).unwrap();
/// assert!((989.0..=991.0).contains(&p99));
/// ```
///
/// | | |
/// |---|---|
/// | answers | `quantile`, `rank`, `min`, `max`, `count` |
/// | number | a push; every `8·K` a sort |
/// | merge | `O(K)`, after the merge of what is unmerged |
/// | size | about `32·K` bytes when merged, at most five times that before |
/// | error | `rank_error(q)` of the rank, on tested distributions |
///
/// The bytes are Apache's t-digest format of doubles (serial version 1).
#[derive(Clone, Debug)]
pub struct TDigest<const K: u16 = 200> {
    inner: TDigestMut,
}

impl<const K: u16> TDigest<K> {
    /// Of no numbers.
    pub fn new() -> Self {
        const { assert!(K >= 10, "K of a t-digest is at least 10") }
        Self {
            inner: TDigestMut::new(K).expect("the constant assertion is the only condition"),
        }
    }

    /// How many numbers were taken.
    pub fn count(&self) -> u64 {
        self.inner.total_weight()
    }

    /// The least number; `None` when there is none.
    pub fn min(&self) -> Option<f64> {
        self.inner.min_value()
    }

    /// The greatest number; `None` when there is none.
    pub fn max(&self) -> Option<f64> {
        self.inner.max_value()
    }

    /// About the number below which a share `q` lies, interpolated; `None` when there is none or `q` is not in `0..=1`.
    ///
    /// Copies the digest, to merge what is unmerged: ask [`quantiles`](Self::quantiles) for several.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        self.inner.clone().quantile(q).ok()?
    }

    /// [`quantile`](Self::quantile) of each, for the price of about one.
    pub fn quantiles(&self, qs: &[f64]) -> Option<Vec<f64>> {
        self.inner.clone().quantiles(qs).ok()?
    }

    /// About the share of numbers below this one, and half of those equal to it; `None` when there is none or it is
    /// NaN.
    pub fn rank(&self, number: f64) -> Option<f64> {
        self.inner.clone().rank(number).ok()?
    }

    /// The rank error to expect at rank `q`, as a share of the count: that of half a centroid, and of half a number.
    pub fn rank_error(&self, q: f64) -> f64 {
        let (n, compression) = (self.count().max(1) as f64, 2.0 * f64::from(K));
        let centroid = q * (1.0 - q) * (4.0 * (n / compression).ln() + 24.0) / compression;
        (centroid.max(0.0) + 1.0 / n) / 2.0
    }

    /// A digest from Apache's bytes of floats (`tdigest<float>` in C++, `tdigest_float` in Python), which do not say
    /// that they are such.
    ///
    /// # Errors
    /// As [`Codec::from_bytes`].
    pub fn from_float_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        check_preamble::<K>(bytes, &FLOATS)?;
        Self::read(bytes, TDigestMut::deserialize_f32(bytes))
    }

    fn read(bytes: &[u8], read: Result<TDigestMut, datasketches::error::Error>) -> Result<Self, DecodeError> {
        match read {
            Ok(inner) => Ok(Self { inner }),
            Err(error) => Err(Input::new(bytes).corrupt(format!("not a t-digest: {error}"))),
        }
    }
}

impl<const K: u16> Default for TDigest<K> {
    fn default() -> Self {
        Self::new()
    }
}

/// Equal bytes.
impl<const K: u16> PartialEq for TDigest<K> {
    fn eq(&self, other: &Self) -> bool {
        self.count() == other.count() && self.to_bytes() == other.to_bytes()
    }
}

/// Both lists of centroids together, merged where they are small enough.
impl<const K: u16> Semigroup for TDigest<K> {
    fn plus(&mut self, right: Self) {
        let fits = self.count().checked_add(right.count()).is_some();
        if self.is_zero() || (!fits && self.count() < right.count()) {
            *self = right;
        } else if fits {
            self.inner.merge(&right.inner);
        }
    }
}

impl<const K: u16> Monoid for TDigest<K> {
    fn zero() -> Self {
        Self::new()
    }

    fn is_zero(&self) -> bool {
        self.inner.is_empty()
    }
}

impl<const K: u16> Commutative for TDigest<K> {}

impl<const K: u16> Sketch<f64> for TDigest<K> {
    #[inline]
    fn add(&mut self, number: &f64) {
        if self.count() < u64::MAX {
            // Adding 0.0 makes 0.0 of -0.0 and changes nothing else.
            self.inner.update(*number + 0.0);
        }
    }
}

/// As a whole Apache's bytes; inside another value a length and those.
impl<const K: u16> Codec for TDigest<K> {
    fn encode(&self, out: &mut Vec<u8>) {
        let bytes = self.to_bytes();
        put_length(out, bytes.len());
        out.extend_from_slice(&bytes);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let length = input.length(1)?;
        Self::from_bytes(input.take(length)?)
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.inner.clone().serialize()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        check_preamble::<K>(bytes, &DOUBLES)?;
        Self::read(bytes, TDigestMut::deserialize(bytes))
    }
}

/// How many bytes a form takes for each part.
struct Widths {
    number: usize,
    centroid: usize,
}

const DOUBLES: Widths = Widths {
    number: 8,
    centroid: 16,
};
const FLOATS: Widths = Widths {
    number: 4,
    centroid: 8,
};

/// Family, version and `K`, so that each is refused for its own reason, and the length: the crate takes bytes that are
/// too many, and from the form of the reference implementation (family 0) it takes a length on trust.
fn check_preamble<const K: u16>(bytes: &[u8], widths: &Widths) -> Result<(), DecodeError> {
    const FAMILY: u8 = 20;
    const EMPTY: u8 = 1;
    const SINGLE: u8 = 2;
    let mut input = Input::new(bytes);
    let [_, version, family] = input.array()?;
    if family != FAMILY {
        return Err(input.corrupt(format!(
            "another family of sketch: expected={FAMILY} found={family}"
        )));
    }
    if version != 1 {
        return Err(input.error(
            DecodeErrorKind::Version,
            format!(
                "another version of the form, take the release that wrote it: expected=1 found={version}"
            ),
        ));
    }
    let k = u16::from_le_bytes(input.array()?);
    if k != K {
        return Err(input.error(
            DecodeErrorKind::Shape,
            format!("made with another parameter, read it as the type that has it: parameter=K expected={K} found={k}"),
        ));
    }
    let [flags, _, _] = input.array()?;
    let content = if flags & EMPTY != 0 {
        0
    } else if flags & SINGLE != 0 {
        widths.number
    } else {
        let centroids = input.length(widths.centroid)?;
        let unmerged = u32::from_le_bytes(input.array()?) as usize;
        (centroids * widths.centroid).saturating_add((unmerged.saturating_add(2)) * widths.number)
    };
    if input.remaining() != content {
        return Err(input.corrupt(format!(
            "bytes are too few or too many: needed={content} left={}",
            input.remaining()
        )));
    }
    Ok(())
}

through_bytes!([const K: u16] TDigest<K>);

#[cfg(test)]
mod tests;
