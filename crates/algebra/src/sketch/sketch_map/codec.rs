//! The bytes: the header, `PARTS`, `WIDTH`, `DEPTH`, the total, how many cells (`u32`, 0 or `WIDTH·DEPTH`), the cells
//! row by row, and the set of the keys that look heavy.

use std::collections::BTreeSet;

use super::SketchMap;
use crate::codec::{Codec, DecodeError, Input, kind, put_header, put_length, put_shape};
use crate::{Commutative, Item, Monoid};

impl<K, V, const PARTS: u32, const WIDTH: u32, const DEPTH: u8> Codec for SketchMap<K, V, PARTS, WIDTH, DEPTH>
where
    K: Item + Ord + Clone + Codec,
    V: Monoid + Commutative + Ord + Clone + Codec,
{
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::SKETCH_MAP, 1);
        put_shape(out, PARTS.into());
        put_shape(out, WIDTH.into());
        put_shape(out, DEPTH.into());
        self.total.encode(out);
        put_length(out, self.cells.len());
        self.cells.iter().for_each(|cell| cell.encode(out));
        let keys: BTreeSet<&K> = self.ranked().into_iter().map(|(key, _)| key).collect();
        put_length(out, keys.len());
        keys.iter().for_each(|key| key.encode(out));
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::SKETCH_MAP, 1)?;
        input.shape("PARTS", PARTS.into())?;
        input.shape("WIDTH", WIDTH.into())?;
        input.shape("DEPTH", DEPTH.into())?;
        let mut sketch = Self::new();
        sketch.total = V::decode(input)?;
        let length = input.length(1)?;
        let length_expected = if sketch.total.is_zero() { 0 } else { Self::CELLS };
        if length != length_expected {
            let text = format!("another number of cells: expected={length_expected} found={length}");
            return Err(input.corrupt(text));
        }
        for _ in 0..length {
            sketch.cells.push(V::decode(input)?);
        }
        sketch.keys = BTreeSet::decode(input)?;
        if sketch.keys.len() > 4 * PARTS as usize || !sketch.keys.iter().all(|key| sketch.is_heavy(key)) {
            return Err(input.corrupt("keys are too many, or too light"));
        }
        Ok(sketch)
    }
}
