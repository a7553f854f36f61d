//! Sketches: their answers lie within their stated bounds of the exact ones, and are the same over machines.
//!
//! The data are fixed and the hashes are, so nothing here is left to chance but Kll's coins: its bound is that of a
//! failure in a million.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use algebra::Semigroup;
use algebra::aggregate::{AggregatorExt, sketched};
use algebra::codec::Codec;
use algebra::sketch::{
    Bloom, CountMin, DdSketch, FrequentItems, HeavyHitters, HyperLogLog, Kll, Largest, Sketch, TDigest, Theta,
};

use crate::exact::{Edit, edits};
use crate::{lines, over_machines, reference};

fn distinct(dataset: &serde_json::Value, name: &str) -> f64 {
    dataset["scalars"][name].as_f64().unwrap()
}

/// The sketch of a text of every edit, over machines and in one go: the same for the families that are exact.
fn of<S: Sketch<str> + Codec + PartialEq + std::fmt::Debug>(
    edits: &[Edit],
    text: impl Fn(&Edit) -> &str,
) -> S {
    let sketch = sketched::<S, str>().of(|edit: &Edit| text(edit));
    let whole = sketch.total(edits);
    assert_eq!(over_machines(&sketch, edits), whole);
    whole
}

#[test]
fn distinct_users_and_pages() {
    let (edits, reference) = (edits(), reference("wikiticker"));
    let close = |name: &str, estimate: f64, relative: f64| {
        let exact = distinct(&reference, name);
        assert!(
            (estimate - exact).abs() <= relative * exact,
            "{name}: estimate={estimate} exact={exact}"
        );
    };
    // Three standard errors.
    let users: HyperLogLog<12> = of(&edits, |edit| &edit.user);
    let pages: HyperLogLog<14> = of(&edits, |edit| &edit.page);
    close("distinct_user", users.estimate(), 3.0 * 1.04 / 64.0);
    close("distinct_page", pages.estimate(), 3.0 * 1.04 / 128.0);
    let users: Theta<12> = of(&edits, |edit| &edit.user);
    close("distinct_user", users.estimate(), 3.0 / 64.0);
    let channels: HyperLogLog<12> = of(&edits, |edit| &edit.channel);
    assert_eq!(
        channels.estimate().round(),
        distinct(&reference, "distinct_channel")
    );
}

#[test]
fn users_of_one_wiki_and_of_another() {
    let edits = edits();
    let users = |channel: &str| -> BTreeSet<&str> {
        let of_channel = edits.iter().filter(|edit| edit.channel == channel);
        of_channel.map(|edit| edit.user.as_str()).collect()
    };
    let sketch = |users: &BTreeSet<&str>| {
        let mut sketch = Theta::<12>::new();
        users.iter().for_each(|user| sketch.add(*user));
        sketch
    };
    let (english, german) = (users("#en.wikipedia"), users("#de.wikipedia"));
    let both = english.intersection(&german).count() as f64;
    let estimate = sketch(&english).intersect(&sketch(&german)).estimate();
    // The error of an intersection is relative to the union.
    let union = english.union(&german).count() as f64;
    assert!(
        (estimate - both).abs() <= 3.0 / 64.0 * union,
        "estimate={estimate} exact={both}"
    );
}

#[test]
fn a_bloom_filter_forgets_no_page() {
    let edits = edits();
    let pages: Bloom<{ 1 << 19 }, 7> = of(&edits, |edit| &edit.page);
    assert!(edits.iter().all(|edit| pages.contains(edit.page.as_str())));
    // 15 bits a page and 7 hashes: one in a thousand.
    let wrong = (0..10_000)
        .filter(|n| pages.contains(format!("no such page {n}").as_str()))
        .count();
    assert!(wrong <= 40, "wrong={wrong}");
}

fn words() -> Vec<String> {
    let words = |line: String| -> Vec<String> {
        let words = line.split(|c: char| !c.is_ascii_alphanumeric());
        words
            .filter(|word| !word.is_empty())
            .map(str::to_ascii_lowercase)
            .collect()
    };
    lines("moby-dick.txt.gz").flat_map(words).collect()
}

fn top50() -> Vec<(String, u64)> {
    serde_json::from_value(reference("moby-dick")["maps"]["words_ascii"]["top50"].clone()).unwrap()
}

#[test]
fn the_words_of_moby_dick() {
    let (words, top) = (words(), top50());
    let mut exact = BTreeMap::<&str, u64>::new();
    words.iter().for_each(|word| *exact.entry(word).or_default() += 1);

    let table = over_machines(
        &sketched::<CountMin<4096, 5>, str>().of(|word: &String| word.as_str()),
        &words,
    );
    let error = std::f64::consts::E / 4096.0 * words.len() as f64;
    for (word, count) in &top {
        let estimate = table.estimate(word.as_str());
        assert!(
            estimate >= *count && (estimate - count) as f64 <= error,
            "{word}: {estimate} {count}"
        );
    }

    let frequent = over_machines(
        &sketched::<FrequentItems<String, 10>, str>().of(|word: &String| word.as_str()),
        &words,
    );
    let ranked = frequent.top(10);
    for (row, (word, count)) in ranked.iter().zip(&top) {
        assert_eq!(&row.item, word);
        assert!((row.lower_bound..=row.upper_bound).contains(count), "{word}");
    }
    for (word, count) in &exact {
        assert!(frequent.bounds(*word).contains(count), "{word}");
    }

    // One word in a hundred: those and no others, for in this text there is a gap.
    let heavy = sketched::<HeavyHitters<String, 10_000, 8192, 5>, str>().of(|word: &String| word.as_str());
    let found: Vec<(String, u64)> = over_machines(&heavy, &words).heavy();
    let expected: Vec<_> = top
        .iter()
        .filter(|(_, count)| *count * 100 >= words.len() as u64)
        .collect();
    let names = |words: Vec<&String>| words.into_iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(
        names(found.iter().map(|(word, _)| word).collect()),
        names(expected.iter().map(|(word, _)| word).collect())
    );

    let top_by_sum = Largest::<(u64, Reverse<&str>), 50>::sum(exact.iter().map(|(word, count)| {
        let mut one = Largest::new();
        one.insert((*count, Reverse(*word)));
        one
    }));
    let top_by_sum: Vec<_> = top_by_sum
        .unwrap()
        .into_items()
        .into_iter()
        .map(|(count, Reverse(word))| (word.to_owned(), count))
        .collect();
    assert_eq!(top_by_sum, top);
}

#[test]
fn how_much_an_edit_adds() {
    let edits = edits();
    let mut exact: Vec<f64> = edits.iter().map(|edit| edit.added as f64).collect();
    exact.sort_unstable_by(f64::total_cmp);
    let added = |edit: &Edit| edit.added as f64;
    let relative = over_machines(&sketched::<DdSketch<100>, f64>().before(added), &edits);
    let ranks = over_machines(&sketched::<Kll<f64, 200>, f64>().before(added), &edits);
    let digest = over_machines(&sketched::<TDigest<200>, f64>().before(added), &edits);
    let rank_of = |value: f64| {
        let below = exact.partition_point(|other| *other < value) as f64;
        let upto = exact.partition_point(|other| *other <= value) as f64;
        (below / exact.len() as f64, upto / exact.len() as f64)
    };
    for q in [0.01, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999] {
        let value = exact[((exact.len() - 1) as f64 * q).round() as usize];
        let estimate = relative.quantile(q).unwrap();
        assert!(
            (estimate - value).abs() <= 0.011 * value.abs() + 1e-9,
            "q={q}: {estimate} {value}"
        );
        for (name, estimate) in [("kll", ranks.quantile(q)), ("t-digest", digest.quantile(q))] {
            let (below, upto) = rank_of(estimate.unwrap());
            assert!(
                below - 0.03 <= q && q <= upto + 0.03,
                "{name} q={q}: rank {below}..{upto}"
            );
        }
    }
}
