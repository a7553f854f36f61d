//! When a batch is closed: the rule, the state it needs, and what comes out.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::IDLENESS;
use crate::{BatchId, Batcher, Hopping, Key, Timestamp};

/// What names a run of event time in a key, by a number: the second half of the keys that
/// [`batched`](crate::Producer::batched) and [`windowed`](crate::Producer::windowed) make.
///
/// Law: `W::numbered(window.number()) == window`.
pub trait Window: Key + Copy {
    /// Its number.
    fn number(self) -> i64;
    /// The window of a number.
    fn numbered(number: i64) -> Self;
}

impl Window for BatchId {
    fn number(self) -> i64 {
        self.0
    }
    fn numbered(number: i64) -> Self {
        Self(number)
    }
}

/// A window by its start.
impl Window for Timestamp {
    fn number(self) -> i64 {
        self.0
    }
    fn numbered(number: i64) -> Self {
        Self(number)
    }
}

/// When sums by key and batch, or by key and window, are final.
///
/// The *watermark* is the time before which no more elements are expected. A batch is **closed** when the watermark has
/// reached its end plus the allowed [`lateness`](Self::lateness); elements that come for it afterwards are **late**.
///
/// * A part of a source stands at the largest event time that it has given, less the
///   [`out_of_orderness`](Self::out_of_orderness).
/// * The watermark is where the least part stands, of all parts of all sources that the sum reads from, and it never goes
///   back. A source that has given nothing yet stands before all time. A new part counts from when the job's progress
///   names it: if it brings earlier times than the watermark, they are late where their batches are closed.
/// * A part that is behind the furthest one by more than [`idleness`](Self::idleness), in event time, is *idle*: it holds
///   the watermark back by no more than that, until it has caught up. So no clock is read. A source that has ended before the
///   others becomes idle in the same way. Where all parts may fall silent at once, merge [`Ticks`](crate::Ticks) into the
///   source.
/// * When all sources have ended, all batches that are open close. What another run finds at the end of the same sources
///   is late for these batches, and on time for later ones.
/// * A closing whose sum reads from another closing waits as long as that one does, and its own lateness more. Give
///   both the same out-of-orderness and idleness.
/// * A job that was stopped, or has ended, may go on with other times: what is closed stays closed. After a crash it needs
///   the times that it had, as it needs its functions, or what the crash has cut short may be handed on twice.
///
/// All of that goes by epochs: an element is late if its batch was closed at the end of an earlier epoch, so what comes in
/// one epoch is on time together, and [`Memory`](crate::Memory), which is one epoch, knows no late elements. Which elements
/// are late therefore depends on how parts and epochs fall; it is committed with the progress, so that it is the same in
/// all tails and all attempts of a run, whatever crashes.
///
/// Not here: sessions (they are values, `algebra::Sessions`); sums before the end (the sum itself hands on each change);
/// a guard against times that are far ahead, which move the watermark for all, so cut them off in the source;
/// [`Hybrid`](crate::Hybrid), which refuses a closing.
///
/// ```
/// use std::time::Duration;
/// use flow::{Batcher, Closing};
///
/// let hours = Batcher::every(Duration::from_secs(3600))?;
/// let closing = Closing::batches(hours).out_of_orderness(Duration::from_secs(5)).lateness(Duration::from_secs(600));
/// # Ok::<(), flow::Error>(())
/// ```
#[derive(Clone)]
pub struct Closing<W> {
    end_of: Arc<dyn Fn(W) -> Timestamp + Send + Sync>,
    pub(crate) times: Times,
    pub(crate) name: Option<String>,
}

/// The times of a [`Closing`], in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Times {
    pub(crate) out_of_orderness: i64,
    pub(crate) lateness: i64,
    pub(crate) idleness: i64,
}

impl Closing<BatchId> {
    /// Of the batches of `batcher`.
    pub fn batches(batcher: Batcher) -> Self {
        Self::new(move |batch: BatchId| batcher.interval_of(batch).end)
    }
}

impl Closing<Timestamp> {
    /// Of hopping windows, each at its own end.
    pub fn windows(windows: Hopping) -> Self {
        Self::new(move |start| windows.end_of(start))
    }
}

impl<W: Window> Closing<W> {
    /// Of windows that end then; the end is not in them.
    pub fn new(end_of: impl Fn(W) -> Timestamp + Send + Sync + 'static) -> Self {
        Self {
            end_of: Arc::new(end_of),
            times: Times {
                out_of_orderness: 0,
                lateness: 0,
                idleness: millis(IDLENESS),
            },
            name: None,
        }
    }

    /// How far behind the largest time of its part an element may be that is not late. Default zero. All times here are
    /// taken in milliseconds, rounded up.
    pub fn out_of_orderness(mut self, time: Duration) -> Self {
        self.times.out_of_orderness = millis(time);
        self
    }

    /// How long after its end a batch stays open, in event time. Default zero.
    pub fn lateness(mut self, time: Duration) -> Self {
        self.times.lateness = millis(time);
        self
    }

    /// How far a part may hold the watermark behind the furthest part, in event time. Default one hour. It should be more
    /// than parts are apart while a backlog is read, as what a part brings that is only slow may be late.
    pub fn idleness(mut self, time: Duration) -> Self {
        self.times.idleness = millis(time);
        self
    }

    /// Names the closing, for graphs, errors and status.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The rule for keys that end in a window.
    pub(crate) fn rule<K: Key>(&self, late: LatePolicy) -> CloseRule<(K, W)> {
        let end_of = self.end_of.clone();
        CloseRule {
            number_of: |(_, window)| window.number(),
            end_of: Arc::new(move |number| end_of(W::numbered(number))),
            times: self.times,
            late,
        }
    }
}

impl<W> fmt::Debug for Closing<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Closing");
        shown.field("times", &self.times).field("name", &self.name);
        shown.finish_non_exhaustive()
    }
}

/// What becomes of elements that come after their batch was closed. They are counted, whatever else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LatePolicy {
    /// Nothing is handed on.
    Count,
    /// Handed on as they came.
    Aside,
    /// The sum is handed on again.
    Correct,
}

/// A [`Closing`] of keys, as platforms use it.
pub struct CloseRule<K> {
    number_of: fn(&K) -> i64,
    end_of: Arc<dyn Fn(i64) -> Timestamp + Send + Sync>,
    pub(crate) times: Times,
    pub(crate) late: LatePolicy,
}

impl<K> Clone for CloseRule<K> {
    fn clone(&self) -> Self {
        Self {
            end_of: self.end_of.clone(),
            ..*self
        }
    }
}

impl<K> CloseRule<K> {
    /// The number of a key's window.
    pub(crate) fn number_of(&self, key: &K) -> i64 {
        (self.number_of)(key)
    }

    /// When the window of a number ends.
    pub(crate) fn end_of_number(&self, number: i64) -> Timestamp {
        (self.end_of)(number)
    }

    /// When a key's window ends.
    pub(crate) fn end_of(&self, key: &K) -> Timestamp {
        self.end_of_number(self.number_of(key))
    }
}

/// The event time of what a closed window hands on: the last in it.
pub(crate) fn last_before(end: Timestamp) -> Timestamp {
    Timestamp(end.0.saturating_sub(1))
}

/// What a closing hands on; [`SumByKey::close`](crate::SumByKey::close) and its siblings take it apart.
#[derive(Clone, Debug, PartialEq)]
pub enum Closed<K, V> {
    /// A key's sum when its batch was closed.
    Final(K, V),
    /// An element that came later.
    Late(K, V),
    /// What was handed on for the key before, if something was, and its sum with what came later.
    Corrected(K, Option<V>, V),
}

/// A key whose batch is open, in the store of a closing; in the order of the ends of their batches.
///
/// Its serde form is a pair of the end and the key; the end is text of 16 hexadecimal digits that rise with it, so the
/// order is the same where a store keeps keys as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Open<K> {
    /// When the key's batch ends.
    pub end: Timestamp,
    /// The key.
    pub key: K,
}

impl<K: Serialize> Serialize for Open<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (format!("{:016x}", rising(self.end)), &self.key).serialize(serializer)
    }
}

impl<'de, K: Deserialize<'de>> Deserialize<'de> for Open<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (end, key) = <(String, K)>::deserialize(deserializer)?;
        let end = u64::from_str_radix(&end, 16).map_err(D::Error::custom)?;
        Ok(Self { end: risen(end), key })
    }
}

/// A time as a number without a sign that rises with it.
pub(crate) fn rising(time: Timestamp) -> u64 {
    time.0.cast_unsigned() ^ (1 << 63)
}

/// The time of a [`rising`] number.
pub(crate) fn risen(number: u64) -> Timestamp {
    Timestamp((number ^ (1 << 63)).cast_signed())
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use store::codec::{decode_key, encode_key};

    use super::*;

    proptest! {
        /// As bytes of JSON too, open keys are in the order of their ends.
        #[test]
        fn open_keys_keep_their_order(a: i64, b: i64, key: u32, other: String) {
            let (a, b) = (Open { end: Timestamp(a), key }, Open { end: Timestamp(b), key });
            let (left, right) = (encode_key("s", &a).unwrap(), encode_key("s", &b).unwrap());
            prop_assert_eq!(left.cmp(&right), a.cmp(&b));
            prop_assert_eq!(decode_key::<Open<u32>>("s", &left).unwrap(), a.clone());
            let text = Open { end: a.end, key: (other, BatchId(3)) };
            let bytes = encode_key("s", &text).unwrap();
            prop_assert_eq!(decode_key::<Open<(String, BatchId)>>("s", &bytes).unwrap(), text);
        }
    }

    #[test]
    fn times_are_rounded_up_to_milliseconds() {
        assert_eq!(millis(Duration::from_micros(1)), 1);
        assert_eq!(millis(Duration::from_millis(7)), 7);
        assert_eq!(millis(Duration::MAX), i64::MAX);
    }
}
