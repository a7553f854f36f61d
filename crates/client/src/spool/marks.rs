//! Which batch key a record of the spool has.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use event::{EmitterId, Epoch, Sequence};
use serde::{Deserialize, Serialize};

use crate::limits::SPOOL_RECORDS_MAX;

/// The file `marks`: the spool's emitter, and from which record on which epoch counts. Written whole, synced and
/// renamed into place, so it is the old one or the new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marks {
    version: u32,
    pub(super) emitter: EmitterId,
    /// Record and epoch, both rising; the record has sequence 0 in the epoch, those after it count on.
    marks: Vec<(u64, Epoch)>,
    /// The server that has on its own disk what it acked last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bound_to: Option<String>,
}

const VERSION: u32 = 1;
const NAME: &str = "marks";

impl Marks {
    pub(super) fn new(emitter: EmitterId) -> Self {
        Self {
            version: VERSION,
            emitter,
            marks: vec![(0, Epoch(0))],
            bound_to: None,
        }
    }

    /// `None` when there are none yet.
    ///
    /// # Errors
    /// `InvalidData` when the file is not what was written.
    pub(super) fn read(folder: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read(folder.join(NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let marks: Self = serde_json::from_slice(&text)?;
        let rises = marks
            .marks
            .windows(2)
            .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
        let goes_on = marks
            .marks
            .last()
            .is_some_and(|(record, epoch)| *record <= SPOOL_RECORDS_MAX && epoch.0 < u32::MAX);
        if marks.version != VERSION || !goes_on || !rises {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "marks of the spool are damaged",
            ));
        }
        Ok(Some(marks))
    }

    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let new = folder.join("marks.new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(new, folder.join(NAME))?;
        File::open(folder)?.sync_all()
    }

    /// Epoch and sequence of a record, which is none of before [`Marks::first`].
    pub(super) fn key(&self, record: u64) -> (Epoch, Sequence) {
        let at = self.marks.iter().rposition(|(first, _)| *first <= record);
        let (first, epoch) = self.marks[at.unwrap_or(0)];
        (epoch, Sequence(record.saturating_sub(first)))
    }

    /// The first record that may not be finished.
    pub(super) fn first(&self) -> u64 {
        self.marks[0].0
    }

    /// From this record on, a new epoch counts.
    pub(super) fn begin(&mut self, record: u64) -> Epoch {
        let last = self.marks.last().map_or(0, |(_, epoch)| epoch.0);
        self.marks.retain(|(first, _)| *first < record);
        self.marks.push((record, Epoch(last + 1)));
        Epoch(last + 1)
    }

    /// Whether there are marks that only records before this one needed.
    pub(super) fn is_over(&self, record: u64) -> bool {
        self.marks.get(1).is_some_and(|(first, _)| *first <= record)
    }

    /// All records before this one are finished: marks that only they needed go.
    pub(super) fn finished(&mut self, record: u64) {
        let done = self
            .marks
            .iter()
            .rposition(|(first, _)| *first <= record)
            .unwrap_or(0);
        self.marks.drain(..done);
    }
}
