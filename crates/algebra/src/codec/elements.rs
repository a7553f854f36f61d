//! The plain elements: numbers, strings, options, tuples, collections.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, Hash};

use super::{Codec, DecodeError, Input, put_length};

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Codec for $number {
            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            #[inline]
            fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
                Ok(Self::from_le_bytes(input.array()?))
            }
        }
    )*};
}

numbers!(u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 f32 f64);

/// A byte: 0 or 1.
impl Codec for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        match u8::decode(input)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(input.corrupt(format!("neither false (0) nor true (1): found={other}"))),
        }
    }
}

/// A length and UTF-8.
impl Codec for String {
    fn encode(&self, out: &mut Vec<u8>) {
        put_length(out, self.len());
        out.extend_from_slice(self.as_bytes());
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let length = input.length(1)?;
        let bytes = input.take(length)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(input.corrupt(format!("text is not UTF-8: {error}"))),
        }
    }
}

/// A byte, 0 or 1, and after 1 the value.
impl<T: Codec> Codec for Option<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.is_some().encode(out);
        if let Some(value) = self {
            value.encode(out);
        }
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Ok(if bool::decode(input)? {
            Some(T::decode(input)?)
        } else {
            None
        })
    }
}

/// A length and the elements.
impl<T: Codec> Codec for Vec<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_length(out, self.len());
        self.iter().for_each(|element| element.encode(out));
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let length = input.length(1)?;
        let mut elements = Self::new();
        for _ in 0..length {
            elements.push(T::decode(input)?);
        }
        Ok(elements)
    }
}

/// A length and the elements, rising.
impl<T: Codec + Ord> Codec for BTreeSet<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_length(out, self.len());
        self.iter().for_each(|element| element.encode(out));
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let length = input.length(1)?;
        let mut elements = Self::new();
        for _ in 0..length {
            let element = T::decode(input)?;
            if elements.last().is_some_and(|last| *last >= element) {
                return Err(input.corrupt("the elements of a set do not rise"));
            }
            elements.insert(element);
        }
        Ok(elements)
    }
}

/// A length and the entries, keys rising.
impl<K: Codec + Ord, V: Codec> Codec for BTreeMap<K, V> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_length(out, self.len());
        for (key, value) in self {
            key.encode(out);
            value.encode(out);
        }
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let length = input.length(1)?;
        let mut entries = Self::new();
        for _ in 0..length {
            let key = K::decode(input)?;
            if entries.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(input.corrupt("the keys of a map do not rise"));
            }
            let value = V::decode(input)?;
            entries.insert(key, value);
        }
        Ok(entries)
    }
}

/// As the ordered set of the same elements.
impl<T: Codec + Ord + Hash, S: BuildHasher + Default> Codec for HashSet<T, S> {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut elements: Vec<&T> = self.iter().collect();
        elements.sort_unstable();
        put_length(out, elements.len());
        elements.iter().for_each(|element| element.encode(out));
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Ok(BTreeSet::decode(input)?.into_iter().collect())
    }
}

/// As the ordered map of the same entries.
impl<K: Codec + Ord + Hash, V: Codec, S: BuildHasher + Default> Codec for HashMap<K, V, S> {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut entries: Vec<(&K, &V)> = self.iter().collect();
        entries.sort_unstable_by(|left, right| left.0.cmp(right.0));
        put_length(out, entries.len());
        for (key, value) in entries {
            key.encode(out);
            value.encode(out);
        }
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Ok(BTreeMap::decode(input)?.into_iter().collect())
    }
}

/// The elements, without a length.
impl<T: Codec, const N: usize> Codec for [T; N] {
    fn encode(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|element| element.encode(out));
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let mut elements = Vec::new();
        for _ in 0..N {
            elements.push(T::decode(input)?);
        }
        Ok(elements
            .try_into()
            .unwrap_or_else(|_| unreachable!("the loop makes N elements")))
    }
}

macro_rules! tuples {
    ($($part:ident $place:tt),*) => {
        /// The parts, one after another.
        impl<$($part: Codec),*> Codec for ($($part,)*) {
            fn encode(&self, out: &mut Vec<u8>) {
                $(self.$place.encode(out);)*
            }

            fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
                Ok(($($part::decode(input)?,)*))
            }
        }
    };
}

tuples!(A 0);
tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);
tuples!(A 0, B 1, C 2, D 3, E 4);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11);
