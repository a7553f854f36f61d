//! Batchers against what a calendar on the wall says, and their laws.

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn time(text: &str) -> Timestamp {
    Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

fn shown(interval: Range<Timestamp>) -> String {
    let show = |at: Timestamp| jiff::Timestamp::from_millisecond(at.0).unwrap().to_string();
    format!("{}..{}", show(interval.start), show(interval.end))
}

fn check(batcher: &Batcher, at: &str, expected: &str) {
    assert_eq!(
        shown(batcher.interval_of(batcher.batch_of(time(at)))),
        expected,
        "at={at}"
    );
}

fn batchers() -> impl Strategy<Value = Batcher> {
    let units = [
        CalendarUnit::Hour,
        CalendarUnit::Day,
        CalendarUnit::Month,
        CalendarUnit::Year,
    ];
    let zones = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Asia/Kolkata",
        "Australia/Lord_Howe",
        "Pacific/Apia",
    ];
    let simple = prop_oneof![
        Just(Batcher::unit()),
        (1..10_000_000_000_u64).prop_map(|millis| Batcher::every(Duration::from_millis(millis)).unwrap()),
        (
            prop::sample::select(units.to_vec()),
            prop::sample::select(zones.to_vec())
        )
            .prop_map(|(unit, name)| Batcher::calendar(unit, zone(name))),
    ];
    prop_oneof![
        simple.clone(),
        (simple.clone(), times(), simple).prop_map(|(before, at, after)| before.then(at, after)),
    ]
}

/// 1874 to 2128.
fn days() -> impl Strategy<Value = Timestamp> {
    (-3_000_000_000_000..5_000_000_000_000_i64).prop_map(Timestamp)
}

/// Mostly of our days, sometimes of any.
fn times() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        4 => days(),
        1 => any::<i64>().prop_map(Timestamp),
        1 => prop::sample::select(vec![i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1]).prop_map(Timestamp),
    ]
}

proptest! {
    #[test]
    fn every_time_has_one_batch(batcher in batchers(), at in times()) {
        prop_assume!(at.0 < i64::MAX);
        let batch = batcher.batch_of(at);
        let interval = batcher.interval_of(batch);
        // Saturated at the ends of time: there the last whole batch reaches further than its interval says.
        if interval.end.0 < i64::MAX && interval.start.0 > i64::MIN {
            prop_assert!(interval.contains(&at), "{batch} {interval:?}");
            prop_assert_eq!(batcher.batch_of(interval.start), batch);
            prop_assert_eq!(batcher.batch_of(Timestamp(interval.end.0 - 1)), batch);
            prop_assert!(batcher.is_edge(interval.start));
            prop_assert!(batcher.batch_of(interval.end) > batch);
        }
    }

    #[test]
    fn later_is_not_earlier(batcher in batchers(), a in times(), b in times()) {
        let (early, late) = (a.min(b), a.max(b));
        prop_assert!(batcher.batch_of(early) <= batcher.batch_of(late));
    }

    #[test]
    fn cover_and_contained(batcher in batchers(), a in days(), b in 0..2_000_000_000_i64) {
        let interval = a..Timestamp(a.0 + b);
        let cover = batcher.cover(&interval);
        let contained = batcher.contained(&interval);
        if b == 0 {
            prop_assert!(cover.is_empty() && contained.is_empty());
            return Ok(());
        }
        let covered = batcher.interval_of_all(&cover);
        prop_assert!(covered.start <= interval.start && interval.end <= covered.end);
        prop_assert!(batcher.start_of(cover.start.next()) > interval.start, "no smaller at the start");
        prop_assert!(batcher.start_of(cover.end.previous()) < interval.end, "no smaller at the end");
        if !contained.is_empty() {
            let whole = batcher.interval_of_all(&contained);
            prop_assert!(interval.start <= whole.start && whole.end <= interval.end);
            prop_assert!(batcher.start_of(contained.end.next()) > interval.end, "no larger at the end");
            prop_assert!(
                batcher.start_of(contained.start.previous()) < interval.start
                    || batcher.start_of(contained.start.previous()) == whole.start,
                "no larger at the start"
            );
        }
    }
}

#[test]
fn fixed_lengths_floor() {
    let hours = Batcher::every(Duration::from_secs(3600)).unwrap();
    assert_eq!(hours.batch_of(Timestamp(-1)), BatchId(-1));
    assert_eq!(hours.batch_of(Timestamp(0)), BatchId(0));
    assert_eq!(hours.batch_of(Timestamp(3_599_999)), BatchId(0));
    assert_eq!(
        hours.interval_of(BatchId(-1)),
        Timestamp(-3_600_000)..Timestamp(0)
    );
    assert!(Batcher::every(Duration::ZERO).is_err());
    assert!(Batcher::every(Duration::from_micros(1_500)).is_err());
}

#[test]
fn days_of_a_zone_follow_its_clock() {
    let days = Batcher::calendar(CalendarUnit::Day, zone("America/New_York"));
    check(
        &days,
        "2024-03-10T12:00:00Z",
        "2024-03-10T05:00:00Z..2024-03-11T04:00:00Z",
    );
    check(
        &days,
        "2024-11-03T12:00:00Z",
        "2024-11-03T04:00:00Z..2024-11-04T05:00:00Z",
    );
    let months = Batcher::calendar(CalendarUnit::Month, zone("Europe/Berlin"));
    check(
        &months,
        "2024-03-31T21:59:59Z",
        "2024-02-29T23:00:00Z..2024-03-31T22:00:00Z",
    );
    let years = Batcher::calendar(CalendarUnit::Year, TimeZone::UTC);
    check(
        &years,
        "1969-12-31T23:59:59Z",
        "1969-01-01T00:00:00Z..1970-01-01T00:00:00Z",
    );
    assert_eq!(years.batch_of(time("2015-09-12T00:00:00Z")), BatchId(45));
}

#[test]
fn hours_of_a_zone_are_hours() {
    let hours = Batcher::calendar(CalendarUnit::Hour, zone("Asia/Kolkata"));
    check(
        &hours,
        "2024-06-01T12:00:00Z",
        "2024-06-01T11:30:00Z..2024-06-01T12:30:00Z",
    );
    let berlin = Batcher::calendar(CalendarUnit::Hour, zone("Europe/Berlin"));
    let day = Batcher::calendar(CalendarUnit::Day, zone("Europe/Berlin"));
    let hours_of = |at: &str| {
        let hours = berlin.cover(&day.interval_of(day.batch_of(time(at))));
        hours.end.0 - hours.start.0
    };
    assert_eq!(hours_of("2024-03-31T12:00:00Z"), 23);
    assert_eq!(hours_of("2024-10-27T12:00:00Z"), 25);
    assert_eq!(hours_of("2024-06-01T12:00:00Z"), 24);
}

#[test]
fn one_batcher_and_then_another() {
    let hours = Batcher::every(Duration::from_secs(3600)).unwrap();
    let days = Batcher::every(Duration::from_secs(86_400)).unwrap();
    let switched = days.then(time("1970-01-03T00:00:00Z"), hours);
    check(
        &switched,
        "1970-01-02T23:59:59Z",
        "1970-01-02T00:00:00Z..1970-01-03T00:00:00Z",
    );
    check(
        &switched,
        "1970-01-03T00:00:00Z",
        "1970-01-03T00:00:00Z..1970-01-03T01:00:00Z",
    );
    assert_eq!(switched.batch_of(time("1970-01-02T00:00:00Z")), BatchId(1));
    assert_eq!(switched.batch_of(time("1970-01-03T05:00:00Z")), BatchId(7));
}

#[test]
fn unit_is_all_of_time() {
    let unit = Batcher::unit();
    assert_eq!(
        unit.interval_of(BatchId(0)),
        Timestamp(i64::MIN)..Timestamp(i64::MAX)
    );
    assert_eq!(unit.batch_of(Timestamp(i64::MIN)), BatchId(0));
}

/// Stores remember these texts: they never change.
#[test]
fn each_has_its_text() {
    let hours = Batcher::every(Duration::from_secs(3600)).unwrap();
    let days = |zone| Batcher::calendar(CalendarUnit::Day, zone);
    let offset = TimeZone::fixed(jiff::tz::offset(-3));
    let switched = days(zone("Europe/Berlin")).then(Timestamp(7_200_000), hours.clone());
    for (batcher, text) in [
        (Batcher::unit(), "all time"),
        (hours, "3600000 ms"),
        (days(TimeZone::UTC), "days of UTC"),
        (days(offset), "days of -03"),
        (
            Batcher::calendar(CalendarUnit::Hour, zone("Asia/Tokyo")),
            "hours of Asia/Tokyo",
        ),
        (switched, "(days of Europe/Berlin until 7200000 then 3600000 ms)"),
    ] {
        assert_eq!(batcher.to_string(), text);
    }
}
