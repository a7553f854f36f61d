//! The laws of buffers, as plain functions over what is added, for property tests.

use std::collections::BTreeMap;
use std::fmt::Debug;

use super::Buffer;
use crate::Semigroup;
use crate::laws::{Result, agree};

/// What is summed in comes out: for each key, the sum of what came out, in order, is the sum of what was added, in
/// order; `len` is how many keys are held, never more than `keys_max`; after a flush nothing is held, and another flush
/// gives nothing.
///
/// # Errors
/// When it is not so.
pub fn passes_sums<K, V>(buffer: &mut dyn Buffer<K, V>, adds: &[(K, V)], keys_max: usize) -> Result
where
    K: Ord + Clone + Debug,
    V: Semigroup + Clone + PartialEq + Debug,
{
    let mut came = BTreeMap::new();
    for (key, value) in adds {
        let mut out = Vec::new();
        buffer.add(key.clone(), value.clone(), &mut |key, sum| out.push((key, sum)));
        out.into_iter().for_each(|(key, sum)| sum_in(&mut came, key, sum));
        agree("len ≤ keys_max", &buffer.len(), &keys_max, |len, max| {
            len <= max
        })?;
    }
    let held = buffer.len();
    let mut flushed = Vec::new();
    buffer.flush(&mut |key, sum| flushed.push((key, sum)));
    let different: BTreeMap<&K, ()> = flushed.iter().map(|(key, _)| (key, ())).collect();
    agree(
        "flush gives each key once",
        &different.len(),
        &flushed.len(),
        usize::eq,
    )?;
    agree("len = how many keys are held", &held, &flushed.len(), usize::eq)?;
    agree("after flush, len = 0", &buffer.len(), &0, usize::eq)?;
    let mut again = 0;
    buffer.flush(&mut |_, _| again += 1);
    agree("after flush, flush gives nothing", &again, &0, usize::eq)?;

    flushed
        .into_iter()
        .for_each(|(key, sum)| sum_in(&mut came, key, sum));
    let mut went = BTreeMap::new();
    adds.iter()
        .for_each(|(key, value)| sum_in(&mut went, key.clone(), value.clone()));
    agree("what came out = what was summed in", &came, &went, BTreeMap::eq)
}

fn sum_in<K: Ord, V: Semigroup>(sums: &mut BTreeMap<K, V>, key: K, value: V) {
    match sums.get_mut(&key) {
        Some(sum) => sum.plus(value),
        None => {
            sums.insert(key, value);
        }
    }
}
