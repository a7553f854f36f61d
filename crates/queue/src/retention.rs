//! What is kept how long, who has yet to take it, and the pure choice of what to delete.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use event::DatasetName;
use jiff::Timestamp;

use crate::limits::{CONSUMER_NAME_CHARS_MAX, CONSUMERS_MAX};
use crate::{Error, ErrorKind, Offset, Result};

/// What of a dataset may be deleted: what is older than the one or beyond the other limit. Keeps all by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// A batch is kept for so long after it was received. What is deleted is whole segments, so a batch may stay
    /// until the newest one of its segment is as old; never less.
    pub age_max: Option<Duration>,
    /// Bytes of a dataset's segments, over all partitions. The segment that is being written counts and stays,
    /// so the least that can be kept is one segment a partition.
    pub bytes_max: Option<u64>,
    /// What to do with batches that a registered consumer has not taken.
    pub untaken: Untaken,
}

/// What to do with batches that are due, but that a registered consumer has not taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Untaken {
    /// They stay, and [`Deleted::held`] says for whom.
    #[default]
    Keep,
    /// They go, and [`Deleted::untaken`] and [`Consumer::missed`] count them.
    Delete,
}

/// What a call of [`crate::Retain::retain`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deleted {
    /// Batches that were deleted.
    pub batches: u64,
    /// Bytes that came free: of segments on disk, of payloads in memory.
    pub bytes: u64,
    /// Of the deleted batches, how many each consumer had not taken.
    pub untaken: BTreeMap<ConsumerName, u64>,
    /// Batches that were due and stay, by the consumer that has not taken them.
    pub held: BTreeMap<ConsumerName, u64>,
}

/// A consumer's name: 1 to 200 ASCII letters, digits and `_ - . : / $`, such as `table/clicks`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerName(String);

impl ConsumerName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConsumerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ConsumerName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:/$".contains(&byte);
        if (1..=CONSUMER_NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::new(
            ErrorKind::Invalid,
            format_args!(
                "a consumer's name has 1 to {CONSUMER_NAME_CHARS_MAX} letters, digits and _ - . : / $ name={text:?}"
            ),
        ))
    }
}

/// Who reads a dataset, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Consumer {
    /// Its name.
    pub name: ConsumerName,
    /// For each partition: it has taken all before.
    pub progress: Vec<Offset>,
    /// Batches that were deleted before it had taken them, since it registered.
    pub missed: u64,
}

/// The consumers of one dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Consumers {
    by_name: BTreeMap<ConsumerName, Taken>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Taken {
    progress: Vec<Offset>,
    missed: u64,
}

impl Consumers {
    pub(crate) fn contains(&self, name: &ConsumerName) -> bool {
        self.by_name.contains_key(name)
    }

    /// A consumer has taken all before these offsets; it is made if it is not known.
    pub(crate) fn advance(
        &mut self,
        name: &ConsumerName,
        progress: &[Offset],
        partitions: usize,
    ) -> Result<()> {
        if progress.len() != partitions {
            return Err(Error::new(
                ErrorKind::Invalid,
                format_args!(
                    "progress has one offset for each partition consumer={name} offsets={} partitions={partitions}",
                    progress.len()
                ),
            ));
        }
        if !self.contains(name) && self.by_name.len() >= CONSUMERS_MAX {
            return Err(Error::new(
                ErrorKind::Invalid,
                format_args!("too many consumers, forget some first consumers_max={CONSUMERS_MAX}"),
            ));
        }
        let taken = self.by_name.entry(name.clone()).or_insert_with(|| Taken {
            progress: vec![Offset(0); partitions],
            missed: 0,
        });
        for (before, now) in taken.progress.iter_mut().zip(progress) {
            *before = (*before).max(*now);
        }
        Ok(())
    }

    pub(crate) fn forget(&mut self, name: &ConsumerName) -> bool {
        self.by_name.remove(name).is_some()
    }

    pub(crate) fn list(&self) -> Vec<Consumer> {
        let consumer = |(name, taken): (&ConsumerName, &Taken)| Consumer {
            name: name.clone(),
            progress: taken.progress.clone(),
            missed: taken.missed,
        };
        self.by_name.iter().map(consumer).collect()
    }

    /// The offset before which every consumer has taken all.
    pub(crate) fn taken(&self, partition: usize) -> Offset {
        let progress = self.by_name.values().map(|taken| taken.progress[partition]);
        progress.min().unwrap_or(Offset(u64::MAX))
    }

    /// Batches `from..to` of a partition stay though they are due.
    pub(crate) fn hold(&self, partition: usize, from: u64, to: u64, deleted: &mut Deleted) {
        for (name, taken) in &self.by_name {
            let held = to.saturating_sub(from.max(taken.progress[partition].0));
            if held > 0 {
                *deleted.held.entry(name.clone()).or_default() += held;
            }
        }
    }

    /// Batches `from..to` of a partition are deleted: counts those that a consumer had not taken.
    pub(crate) fn miss(&mut self, partition: usize, from: u64, to: u64, deleted: &mut Deleted) {
        for (name, taken) in &mut self.by_name {
            let missed = to.saturating_sub(from.max(taken.progress[partition].0));
            if missed > 0 {
                taken.missed += missed;
                *deleted.untaken.entry(name.clone()).or_default() += missed;
            }
        }
    }

    /// Takes over the counts of another version of the same table; progress may have gone on meanwhile.
    pub(crate) fn take_missed(&mut self, counted: &Self) {
        for (name, taken) in &mut self.by_name {
            if let Some(counted) = counted.by_name.get(name) {
                taken.missed = counted.missed;
            }
        }
    }

    /// As text: a line for each consumer, and a checksum.
    pub(crate) fn encode(&self) -> String {
        let mut text = String::from("version=1\n");
        for (name, taken) in &self.by_name {
            let progress: Vec<_> = taken.progress.iter().map(|offset| offset.0.to_string()).collect();
            text += &format!("{name} missed={} progress={}\n", taken.missed, progress.join(","));
        }
        let checksum = crc32fast::hash(text.as_bytes());
        text + &format!("checksum={checksum:08x}\n")
    }

    /// Reads what [`Consumers::encode`] wrote; `None` when it is not that.
    pub(crate) fn decode(text: &str, partitions: usize) -> Option<Self> {
        let (content, checksum) = text.strip_suffix('\n')?.rsplit_once("checksum=")?;
        if checksum != format!("{:08x}", crc32fast::hash(content.as_bytes())) {
            return None;
        }
        let mut by_name = BTreeMap::new();
        for line in content.strip_prefix("version=1\n")?.lines() {
            let (name, rest) = line.split_once(" missed=")?;
            let (missed, progress) = rest.split_once(" progress=")?;
            let offsets = progress.split(',').map(|offset| offset.parse().map(Offset));
            let progress: Vec<_> = offsets.collect::<Result<_, _>>().ok()?;
            let missed = missed.parse().ok()?;
            if progress.len() != partitions {
                return None;
            }
            by_name.insert(name.parse().ok()?, Taken { progress, missed });
        }
        Some(Self { by_name })
    }
}

pub(crate) fn no_dataset(dataset: &DatasetName) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format_args!("no such dataset, make it first dataset={dataset}"),
    )
}

/// A piece of a partition that is deleted as a whole, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) bytes: u64,
    /// When its newest batch was received, in microseconds since 1970.
    pub(crate) latest: i64,
}

/// How many of the first pieces of each partition are due. The last piece of a partition is due by age alone:
/// it is the one that is being written.
pub(crate) fn due(partitions: &[Vec<Piece>], retention: &Retention, now: Timestamp) -> Vec<usize> {
    let mut due: Vec<_> = partitions
        .iter()
        .map(|pieces| match retention.age_max {
            Some(age_max) => aged(pieces, age_max, now),
            None => 0,
        })
        .collect();
    let Some(bytes_max) = retention.bytes_max else {
        return due;
    };
    let rest =
        |(pieces, due): (&Vec<Piece>, &usize)| pieces[*due..].iter().map(|piece| piece.bytes).sum::<u64>();
    let mut bytes: u64 = partitions.iter().zip(&due).map(rest).sum();
    while bytes > bytes_max {
        // The oldest first, wherever it is.
        let fronts = partitions.iter().zip(&due).enumerate();
        let fronts = fronts.filter(|(_, (pieces, due))| **due + 1 < pieces.len());
        let Some((oldest, _)) = fronts.min_by_key(|(_, (pieces, due))| pieces[**due].latest) else {
            break;
        };
        bytes -= partitions[oldest][due[oldest]].bytes;
        due[oldest] += 1;
    }
    due
}

/// How many of the first pieces are older than `age_max`.
///
/// Clocks jump, so a time counts only if it fits: it is not in the future, and not before that of an earlier
/// piece. A piece whose time does not fit is as old as the next one whose time does, or as `now`: rather too
/// young than too old.
fn aged(pieces: &[Piece], age_max: Duration, now: Timestamp) -> usize {
    let now = now.as_microsecond();
    let age_max = i64::try_from(age_max.as_micros()).unwrap_or(i64::MAX);
    let before = now.saturating_sub(age_max);
    let (mut due, mut newest) = (0, i64::MIN);
    for (i, piece) in pieces.iter().enumerate() {
        if piece.latest > now || piece.latest < newest {
            continue;
        }
        newest = piece.latest;
        if newest >= before {
            break;
        }
        due = i + 1;
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(latest: &[i64]) -> Vec<Piece> {
        latest
            .iter()
            .map(|latest| Piece {
                bytes: 10,
                latest: *latest,
            })
            .collect()
    }

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_microsecond(micros).unwrap()
    }

    #[test]
    fn what_is_older_is_due_and_a_jump_of_the_clock_makes_nothing_older() {
        let of = |latest: &[i64]| aged(&pieces(latest), Duration::from_micros(50), at(100));
        assert_eq!(of(&[]), 0);
        assert_eq!(of(&[10, 20, 49, 50, 60]), 3, "kept for the whole of its age");
        assert_eq!(of(&[10, 20]), 2);
        assert_eq!(of(&[10, 200, 30, 40]), 4, "ahead: as old as the next that fits");
        assert_eq!(of(&[10, 200, 60]), 1);
        assert_eq!(of(&[10, 200]), 1, "ahead at the end: as young as can be");
        assert_eq!(of(&[10, 1, 60]), 1, "back in time: as old as the next that fits");
        assert_eq!(of(&[10, 1, 11]), 3);
    }

    #[test]
    fn beyond_the_size_the_oldest_of_all_partitions_go_first() {
        let retention = |bytes_max| Retention {
            bytes_max: Some(bytes_max),
            ..Retention::default()
        };
        let partitions = [pieces(&[1, 4, 9]), pieces(&[2, 3, 5])];
        let of = |bytes_max| due(&partitions, &retention(bytes_max), at(100));
        assert_eq!(of(60), [0, 0]);
        assert_eq!(of(59), [1, 0]);
        assert_eq!(of(30), [1, 2]);
        assert_eq!(of(0), [2, 2], "the last of each stays");
    }

    proptest! {
        #[test]
        fn consumers_round_trip_and_a_flipped_bit_shows(
            consumers in prop::collection::btree_map("[a-zA-Z0-9_.:/$-]{1,20}", (any::<[u64; 2]>(), any::<u64>()), 0..5),
            flip: prop::sample::Index,
        ) {
            let mut given = Consumers::default();
            for (name, (progress, missed)) in consumers {
                let taken = Taken { progress: progress.map(Offset).into(), missed };
                given.by_name.insert(name.parse().unwrap(), taken);
            }
            let text = given.encode();
            prop_assert_eq!(Consumers::decode(&text, 2), Some(given));
            let mut bytes = text.into_bytes();
            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(text) = String::from_utf8(bytes) {
                prop_assert_eq!(Consumers::decode(&text, 2), None);
            }
        }
    }
}
