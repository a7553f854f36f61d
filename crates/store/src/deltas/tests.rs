//! Deltas beside a map of what was added.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

type Twin = BTreeMap<u32, String>;

fn add(deltas: &mut Deltas<u32, String>, twin: &mut Twin, key: u32, delta: &str) {
    deltas.add(key, delta.to_owned());
    twin.entry(key).or_default().push_str(delta);
}

fn pairs(deltas: Deltas<u32, String>) -> Twin {
    let (pairs, mut map) = (deltas.into_pairs(), Twin::new());
    for (key, value) in pairs {
        assert_eq!(map.insert(key, value), None, "a key comes once key={key}");
    }
    map
}

proptest! {
    #[test]
    fn gathered_by_several_they_are_as_added_by_one(
        parts in prop::collection::vec((0usize..6_000, 1u32..9_000, any::<u32>()), 1..5),
        more in 0u32..200,
    ) {
        let (mut all, mut twin) = (Deltas::default(), Twin::new());
        for (count, keys, seed) in parts {
            let mut part = Deltas::default();
            for n in 0..count as u32 {
                let key = n.wrapping_mul(2_654_435_761).wrapping_add(seed) % keys;
                add(&mut part, &mut twin, key, ["a", "b", "c"][n as usize % 3]);
            }
            all.append(part);
        }
        for n in 0..more {
            add(&mut all, &mut twin, n % 150, "z");
        }
        prop_assert!(all.len() >= twin.len());
        prop_assert_eq!(all.is_empty(), twin.is_empty());
        prop_assert_eq!(pairs(all), twin);
    }
}

#[test]
fn a_key_that_returns_costs_no_more_room() {
    let mut deltas = Deltas::default();
    (0..100_000u64).for_each(|n| deltas.add(n % 8, 1u64));
    assert!(deltas.len() <= 64, "len={}", deltas.len());
}

#[test]
fn there_are_at_most_twice_as_many_as_keys_or_the_limit() {
    // Far more keys than are remembered, in turn: without joining, each add would stand apart.
    let (keys, rounds) = (4 * RECENT_KEYS_MAX as u64, 12);
    let mut deltas = Deltas::default();
    for n in 0..rounds * keys {
        deltas.add(n % keys, 1u64);
        if n % 10_000 == 0 {
            assert!(deltas.len() <= DELTAS_UNMERGED_MAX.max(2 * keys as usize));
        }
    }
    let pairs = deltas.into_pairs();
    assert_eq!(pairs.len() as u64, keys);
    assert!(pairs.iter().all(|(_, sum)| *sum == rounds));
}
