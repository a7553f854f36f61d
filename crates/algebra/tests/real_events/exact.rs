//! Aggregators whose answers are exact.

use std::collections::BTreeMap;

use algebra::aggregate::{AggregatorExt, count, count_if, distinct, sum};
use algebra::{ExactSum, Semigroup, Sessions};
use serde::Deserialize;

use crate::{digest, events, over_machines, reference};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Edit {
    pub(crate) time: String,
    pub(crate) channel: String,
    pub(crate) page: String,
    pub(crate) user: String,
    pub(crate) added: i64,
    deleted: i64,
    delta: i64,
    is_robot: bool,
    is_anonymous: bool,
}

pub(crate) fn edits() -> Vec<Edit> {
    events("wikiticker-2015-09-12-sampled.json.gz")
}

/// The columns of the reference's `by_channel` and `by_hour`, in one pass, and how one is computed over machines.
fn grouped(edits: &[Edit], key: impl Fn(&Edit) -> String) -> BTreeMap<String, Vec<String>> {
    let columns = (
        count(),
        sum().of(|edit: &Edit| &edit.added),
        sum().of(|edit: &Edit| &edit.deleted),
        sum().of(|edit: &Edit| &edit.delta),
        distinct::<str>().of(|edit: &Edit| edit.user.as_str()),
        distinct::<str>().of(|edit: &Edit| edit.page.as_str()),
        count_if(|edit: &Edit| edit.is_robot),
        count_if(|edit: &Edit| edit.is_anonymous),
    );
    let row = columns.after(|(edits, added, deleted, delta, users, pages, robot, anonymous)| {
        vec![
            edits.to_string(),
            added.to_string(),
            deleted.to_string(),
            delta.to_string(),
            users.to_string(),
            pages.to_string(),
            robot.to_string(),
            anonymous.to_string(),
        ]
    });
    over_machines(&row.by_key(key), edits)
}

#[test]
fn wikiticker_by_channel_and_by_hour() {
    let (edits, reference) = (edits(), reference("wikiticker"));
    let by_channel = grouped(&edits, |edit| edit.channel.clone());
    assert_eq!(digest(&by_channel), reference["maps"]["by_channel"]["sha256"]);
    let by_hour = grouped(&edits, |edit| edit.time[..13].to_owned());
    assert_eq!(digest(&by_hour), reference["maps"]["by_hour"]["sha256"]);
}

/// Milliseconds of the day from `2015-09-12T00:46:58.771Z`: the file is of one day.
fn millis(time: &str) -> i64 {
    let part = |range: std::ops::Range<usize>| time[range].parse::<i64>().unwrap();
    ((part(11..13) * 60 + part(14..16)) * 60 + part(17..19)) * 1000 + part(20..23)
}

#[test]
fn wikiticker_sessions() {
    const HALF_AN_HOUR: u64 = 30 * 60 * 1000;
    let (edits, reference) = (edits(), reference("wikiticker"));
    let mut by_user = BTreeMap::<&str, Sessions<u64, HALF_AN_HOUR>>::new();
    // Backwards: late events join sessions as early ones do.
    for edit in edits.iter().rev() {
        let event = Sessions::event(millis(&edit.time), 1);
        by_user.entry(&edit.user).or_default().plus(event);
    }
    let sessions: usize = by_user.values().map(Sessions::len).sum();
    assert_eq!(sessions, reference["scalars"]["sessions_user_gap_30min"]);
    let longest = by_user
        .values()
        .flat_map(Sessions::iter)
        .map(|session| session.value)
        .max();
    assert_eq!(longest, reference["scalars"]["sessions_longest_events"].as_u64());
}

#[derive(Deserialize)]
struct Impression {
    campaign: String,
    policy: String,
    click: u8,
    propensity_score: f64,
}

#[test]
fn openbandit_sums_of_floats_are_the_same_bits_in_any_order() {
    let reference = reference("openbandit");
    let impressions: Vec<Impression> = events("openbandit-impressions-2019-11-24_30.ndjson.gz");
    let mut forward = BTreeMap::<(&str, &str), ExactSum>::new();
    let mut backward = forward.clone();
    let term = |it: &Impression| ExactSum::from(f64::from(it.click) / it.propensity_score);
    for it in &impressions {
        forward
            .entry((&it.campaign, &it.policy))
            .or_default()
            .plus(term(it));
    }
    for it in impressions.iter().rev() {
        backward
            .entry((&it.campaign, &it.policy))
            .or_default()
            .plus(term(it));
    }
    assert_eq!(forward, backward);
    for ((campaign, policy), sum) in forward {
        let name = format!("sum_click_over_propensity_{campaign}_{policy}");
        let Some(expected) = reference["scalars"][&name].as_f64() else {
            continue;
        };
        assert!(
            (sum.value() - expected).abs() <= 1e-9 * expected,
            "{name}: {} {expected}",
            sum.value()
        );
    }
}
