//! Sessions: events in time, cut where nothing happened for long.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::codec::{Codec, DecodeError, Input, kind, put_header, put_length, put_shape};
use crate::sketch::Sketch;
use crate::{Commutative, Idempotent, Monoid, Semigroup};

/// The sessions of one key, by time: `[(start, end, value)]`, where no two are within `GAP` of each other.
///
/// Time is the caller's clock; `GAP` is in its unit. Two events are of one session when the step between them is at
/// most `GAP`, directly or over events between; `⊕` joins what comes within `GAP` and sums its values. The sessions
/// are the connected parts of all events, so order and grouping do not matter, nor does an event that comes late and
/// joins two: associative and commutative exactly, where `V` is; the zero is no sessions. `V` must be commutative,
/// for two sessions may interleave.
///
/// Events in time order cost O(1) each, one that comes late O(sessions after it). It grows by a session, not by an
/// event; [`forget_before`](Self::forget_before) bounds it.
///
/// ```
/// use algebra::{Semigroup, Sessions};
///
/// let visit = |at| Sessions::<u32, 30>::event(at, 1);
/// let visits = Sessions::sum([visit(0), visit(50), visit(25), visit(100)]).unwrap();
/// let found: Vec<_> = visits.iter().map(|visit| (visit.start, visit.end, visit.value)).collect();
/// assert_eq!(found, [(0, 50, 3), (100, 100, 1)]);
/// ```
///
/// Bytes: header, `GAP`, then a length and for each session start, end (`i64`) and value. JSON has the sessions alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sessions<V, const GAP: u64>(
    #[serde(
        bound(deserialize = "V: Deserialize<'de>"),
        deserialize_with = "sessions_apart::<_, _, GAP>"
    )]
    Vec<Session<V>>,
);

/// Events that are close in time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Session<V> {
    /// The time of its first event.
    pub start: i64,
    /// The time of its last event.
    pub end: i64,
    /// The sum of its events' values.
    pub value: V,
}

impl<V, const GAP: u64> Sessions<V, GAP> {
    /// No sessions.
    pub fn new() -> Self {
        Self::default()
    }

    /// One event.
    pub fn event(time: i64, value: V) -> Self {
        Self(vec![Session {
            start: time,
            end: time,
            value,
        }])
    }

    /// The sessions, by time.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Session<V>> + ExactSizeIterator {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes out the sessions that no event at `time` or later can join, the oldest first.
    ///
    /// An event that comes later still, from before `time`, begins a session anew.
    pub fn forget_before(&mut self, time: i64) -> Vec<Session<V>> {
        let closed = self.0.partition_point(|session| apart::<GAP>(session.end, time));
        self.0.drain(..closed).collect()
    }
}

impl<V: Commutative, const GAP: u64> Sessions<V, GAP> {
    /// Adds an event.
    pub fn add_at(&mut self, time: i64, value: V) {
        self.plus(Self::event(time, value));
    }
}

/// Whether `later` begins another session than one that ends at `end`.
fn apart<const GAP: u64>(end: i64, later: i64) -> bool {
    later > end && later.abs_diff(end) > GAP
}

impl<V, const GAP: u64> Default for Sessions<V, GAP> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// One event: its time and its value.
impl<V, const GAP: u64> From<(i64, V)> for Sessions<V, GAP> {
    fn from((time, value): (i64, V)) -> Self {
        Self::event(time, value)
    }
}

/// Takes a time and a value.
impl<V: Commutative + Clone, const GAP: u64> Sketch<(i64, V)> for Sessions<V, GAP> {
    fn add(&mut self, (time, value): &(i64, V)) {
        self.add_at(*time, value.clone());
    }
}

/// Joins the sessions within `GAP` of each other.
impl<V: Commutative, const GAP: u64> Semigroup for Sessions<V, GAP> {
    fn plus(&mut self, right: Self) {
        let Some(first) = right.0.first() else { return };
        let before = self
            .0
            .partition_point(|session| apart::<GAP>(session.end, first.start));
        let mut left = self.0.split_off(before).into_iter().peekable();
        let mut right = right.0.into_iter().peekable();
        loop {
            let next = match (left.peek(), right.peek()) {
                (Some(a), Some(b)) if b.start < a.start => right.next(),
                (Some(_), _) => left.next(),
                (None, _) => right.next(),
            };
            let Some(next) = next else { return };
            match self.0.last_mut() {
                Some(last) if !apart::<GAP>(last.end, next.start) => {
                    last.end = last.end.max(next.end);
                    last.value.plus(next.value);
                }
                _ => self.0.push(next),
            }
        }
    }
}

impl<V: Commutative, const GAP: u64> Monoid for Sessions<V, GAP> {
    fn zero() -> Self {
        Self::default()
    }

    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }
}

impl<V: Commutative, const GAP: u64> Commutative for Sessions<V, GAP> {}
impl<V: Commutative + Idempotent, const GAP: u64> Idempotent for Sessions<V, GAP> {}

impl<V: Codec, const GAP: u64> Codec for Sessions<V, GAP> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::SESSIONS, 1);
        put_shape(out, GAP);
        put_length(out, self.0.len());
        for session in &self.0 {
            session.start.encode(out);
            session.end.encode(out);
            session.value.encode(out);
        }
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::SESSIONS, 1)?;
        input.shape("gap", GAP)?;
        let mut sessions: Vec<Session<V>> = Vec::new();
        for _ in 0..input.length(16)? {
            let (start, end, value) = Codec::decode(input)?;
            let session = Session { start, end, value };
            if let Some(flaw) = flaw::<V, GAP>(sessions.last(), &session) {
                return Err(input.corrupt(flaw));
            }
            sessions.push(session);
        }
        Ok(Self(sessions))
    }
}

/// Why this cannot be the session that follows.
fn flaw<V, const GAP: u64>(last: Option<&Session<V>>, next: &Session<V>) -> Option<String> {
    let follows = last.is_none_or(|last| apart::<GAP>(last.end, next.start));
    (next.end < next.start || !follows).then(|| {
        format!(
            "a session ends before it starts, or is within the gap of the one before: start={} end={}",
            next.start, next.end
        )
    })
}

fn sessions_apart<'de, V: Deserialize<'de>, D: Deserializer<'de>, const GAP: u64>(
    deserializer: D,
) -> Result<Vec<Session<V>>, D::Error> {
    let sessions = Vec::deserialize(deserializer)?;
    let mut last = None;
    for next in &sessions {
        if let Some(flaw) = flaw::<V, GAP>(last, next) {
            return Err(D::Error::custom(flaw));
        }
        last = Some(next);
    }
    Ok(sessions)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::codec::DecodeErrorKind;
    use crate::laws;

    type Visits = Sessions<u64, 10>;

    fn of(times: &[i64]) -> Visits {
        Visits::sum(times.iter().map(|time| Visits::event(*time, 1))).unwrap_or_default()
    }

    /// Sorts, and cuts where the step is more than the gap.
    fn naive(times: &[i64]) -> Visits {
        let mut times = times.to_vec();
        times.sort_unstable();
        let runs = times.chunk_by(|a, b| b.abs_diff(*a) <= 10);
        Sessions(
            runs.map(|run| Session {
                start: run[0],
                end: run[run.len() - 1],
                value: run.len() as u64,
            })
            .collect(),
        )
    }

    fn times() -> impl Strategy<Value = Vec<i64>> {
        let extreme = prop::sample::select(vec![i64::MIN, i64::MIN + 5, i64::MAX - 5, i64::MAX]);
        vec(prop_oneof![9 => -200..200_i64, 1 => extreme], 0..30)
    }

    proptest! {
        #[test]
        fn laws_hold(a in times(), b in times(), c in times()) {
            let whole = naive(&[&a[..], &b[..], &c[..]].concat());
            let [a, b, c] = [a, b, c].map(|times| of(&times));
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
            laws::commutative(&a, &b)?;
            laws::round_trip(&a)?;
            laws::adds(&a, &(7, 2), Visits::eq)?;
            let text = serde_json::to_string(&a).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Visits>(&text).unwrap(), &a);
            laws::bulk_equals_repeated(&[a.clone(), b.clone(), c.clone()])?;
            prop_assert_eq!(laws::sum([a, b, c]), whole);
        }

        #[test]
        fn parts_are_the_whole(items in times(), cuts in vec(any::<usize>(), 0..5)) {
            laws::merge_equals_whole_within(&items, &cuts, of, Visits::eq)?;
            prop_assert_eq!(of(&items), naive(&items));
        }

        #[test]
        fn what_is_forgotten_is_closed(items in times(), at in -200..200_i64, later in 0..100_i64) {
            let whole = of(&[&items[..], &[at + later]].concat());
            let mut rest = of(&items);
            let mut all = rest.forget_before(at);
            rest.plus(Visits::event(at + later, 1));
            all.extend(rest.0);
            prop_assert_eq!(Sessions(all), whole);
        }

        #[test]
        fn bytes_survive(items in times(), changes in vec(any::<(usize, u8)>(), 0..4), noise: Vec<u8>) {
            laws::survives::<Visits>(&of(&items).to_bytes(), &changes)?;
            laws::survives::<Visits>(&noise, &[])?;
        }
    }

    #[test]
    fn impossible_json_is_refused() {
        let read = |times: [(i64, i64); 2]| {
            let sessions = times.map(|(start, end)| Session { start, end, value: 1 });
            serde_json::from_str::<Visits>(&serde_json::to_string(&sessions).unwrap())
        };
        assert_eq!(read([(0, 3), (100, 100)]).unwrap(), {
            let mut visits = Visits::event(100, 1);
            visits.0.insert(
                0,
                Session {
                    start: 0,
                    end: 3,
                    value: 1,
                },
            );
            visits
        });
        for impossible in [[(100, 100), (0, 3)], [(0, 3), (4, 4)], [(3, 0), (100, 100)]] {
            assert!(read(impossible).is_err(), "{impossible:?}");
        }
    }

    #[test]
    fn another_gap_is_refused() {
        laws::refuses::<Sessions<u64, 11>>(&of(&[1]).to_bytes(), DecodeErrorKind::Shape).unwrap();
    }
}
