//! The steps of generated jobs that have one input: every operator of the crate that neither sums nor writes.

use std::time::Duration;

use flow::{Batcher, Platform, Producer};
use proptest::prelude::*;

use crate::kit::{Add, Pair};

/// An operator and its number, which says what its function does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operator {
    Map(i64),
    Filter(i64),
    FilterMap(i64),
    FlatMap(u8),
    FlatMapWith(u8),
    MapKeys(u8),
    FlatMapKeys(u8),
    MapValues(i64),
    FlatMapValues(i64),
    FilterKeys(i64),
    FilterValues(i64),
    KeyBy(u8),
    KeysAndValues,
    Swap,
    WithTime,
    Batched(u8),
    Lookup,
    LeftJoin,
}

pub(crate) fn operators() -> impl Strategy<Value = Operator> {
    let factor = || -3i64..4;
    let divisor = || 2i64..5;
    prop_oneof![
        2 => factor().prop_map(Operator::Map),
        1 => divisor().prop_map(Operator::Filter),
        1 => divisor().prop_map(Operator::FilterMap),
        2 => (0u8..4).prop_map(Operator::FlatMap),
        1 => (0u8..4).prop_map(Operator::FlatMapWith),
        1 => (0u8..16).prop_map(Operator::MapKeys),
        1 => (0u8..4).prop_map(Operator::FlatMapKeys),
        1 => factor().prop_map(Operator::MapValues),
        1 => (0i64..4).prop_map(Operator::FlatMapValues),
        1 => divisor().prop_map(Operator::FilterKeys),
        1 => divisor().prop_map(Operator::FilterValues),
        1 => (0u8..16).prop_map(Operator::KeyBy),
        1 => Just(Operator::KeysAndValues),
        1 => Just(Operator::Swap),
        1 => Just(Operator::WithTime),
        1 => (1u8..9).prop_map(Operator::Batched),
        1 => Just(Operator::Lookup),
        1 => Just(Operator::LeftJoin),
    ]
}

/// Which relation the sums by key of the output must have to those of the input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Relation {
    /// Any: the elements of the input are known one by one.
    Any,
    /// Linear, and without a look at times: only the sums by key of the input are known.
    Linear,
}

fn key(key: i64) -> u8 {
    key.rem_euclid(16) as u8
}

fn times(value: Add, factor: i64) -> Add {
    Add(value.0.wrapping_mul(factor))
}

/// `input` with `operator` applied to it.
pub(crate) fn apply<P: Platform>(
    operator: Operator,
    input: &Producer<P, Pair>,
    relation: Relation,
    service: P::Service<u8, Add>,
) -> Producer<P, Pair> {
    let linear = relation == Relation::Linear;
    // What a function may see of a value: nothing when the number of elements is the platform's choice.
    let seen = move |value: Add| if linear { 0 } else { value.0 };
    match operator {
        Operator::Map(x) => input.map(move |(k, v)| (key(i64::from(k) + x), times(v, x + seen(v)))),
        Operator::Filter(x) => input.filter(move |(k, v)| (i64::from(*k) + seen(*v)).rem_euclid(x) != 0),
        Operator::FilterMap(x) => input.filter_map(move |(k, v)| {
            ((i64::from(k) + seen(v)).rem_euclid(x) != 0).then_some((k, times(v, x)))
        }),
        Operator::FlatMap(x) => {
            input.flat_map(move |(k, v)| (0..x).map(move |i| (k.wrapping_mul(i) % 16, v)))
        }
        Operator::FlatMapWith(x) => input.flat_map_with(move |(k, v), emit| {
            (0..x).for_each(|i| emit(((k ^ i) % 16, times(v, i64::from(i) - 1))));
        }),
        Operator::MapKeys(x) => input.map_keys(move |k| k ^ x),
        Operator::FlatMapKeys(x) => input.flat_map_keys(move |k| (0..x).map(move |i| (k + i) % 16)),
        Operator::MapValues(x) => input.map_values(move |v| times(v, x + seen(v))),
        Operator::FlatMapValues(x) => {
            input.flat_map_values(move |v| (0..(x + seen(v)).rem_euclid(4)).map(move |i| times(v, i + 1)))
        }
        Operator::FilterKeys(x) => input.filter_keys(move |k| i64::from(*k) % x != 0),
        Operator::FilterValues(x) => input.filter_values(move |v| linear || v.0.rem_euclid(x) != 0),
        Operator::KeyBy(x) => input
            .key_by(move |(k, v)| key(i64::from(*k ^ x) + seen(*v)))
            .map(|(k, (_, v))| (k, v)),
        Operator::KeysAndValues if linear => input.key_by(|_| ()).values(),
        Operator::KeysAndValues => {
            let keys = input.keys().map(|k| (k, Add(i64::from(k))));
            keys.merge(&input.values().map(|v| (key(v.0), v)))
        }
        Operator::Swap if linear => input.swap().swap(),
        Operator::Swap => input.swap().map(|(v, k)| (key(v.0), Add(i64::from(k)))),
        Operator::WithTime if linear => input.with_time().values(),
        Operator::WithTime => input.with_time().map(|(time, (k, v))| (k, times(v, time.0 % 3))),
        Operator::Batched(x) => {
            let length = Duration::from_millis(x.into());
            let batcher = if linear {
                Batcher::unit()
            } else {
                Batcher::every(length).unwrap()
            };
            input
                .batched(batcher)
                .map_keys(|(k, batch)| key(i64::from(k) + batch.0))
        }
        Operator::Lookup => input.lookup_by(|(k, _)| *k, service).map(move |((k, v), found)| {
            let found = found.unwrap_or_default().0;
            (
                k ^ (found as u8 & 1),
                if linear { v } else { Add(v.0.wrapping_add(found)) },
            )
        }),
        Operator::LeftJoin => input
            .left_join(service)
            .map_values(move |(v, joined)| match joined {
                Some(joined) if linear => times(v, joined.0),
                Some(joined) => Add(v.0.wrapping_add(joined.0)),
                None => v,
            }),
    }
}

/// Whether the output's order is the platform's choice though the input's is not.
pub(crate) fn merges(operator: Operator) -> bool {
    matches!(operator, Operator::KeysAndValues)
}
