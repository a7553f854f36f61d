//! Checking the files of a log without opening it: every segment, every record, and whether they agree.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use event::DatasetName;
use jiff::Timestamp;

use super::dataset::{self, DatasetFolder, META, Settings};
use super::disk::{Disk, RealDisk};
use super::recovery::bases;
use super::segment::Segment;
use crate::dedup::Dedup;
use crate::limits::{DAMAGES_MAX, EMITTERS_MAX};
use crate::{Error, ErrorKind, Offset, Partition, Result};

/// What is in a folder of a log: a line for each segment, and what is wrong. Its text is for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Every segment, by dataset, partition and offset.
    pub segments: Vec<SegmentReport>,
    /// What is wrong, up to 1,000 of it; empty for a log that is whole.
    pub findings: Vec<Finding>,
}

/// What one segment file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentReport {
    /// The dataset.
    pub dataset: DatasetName,
    /// The partition.
    pub partition: Partition,
    /// The file.
    pub path: PathBuf,
    /// Length of the file, room made ahead included.
    pub bytes: u64,
    /// Its offsets, up to those of the next segment.
    pub offsets: Range<Offset>,
    /// Batches that can be read.
    pub batches: u64,
    /// When the earliest and the latest of them were received.
    pub received: Option<(Timestamp, Timestamp)>,
}

/// Something wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What it is.
    pub problem: Problem,
    /// The file or folder.
    pub path: PathBuf,
    /// Where in it, in bytes from its start.
    pub at: u64,
    /// What it means, and what to do.
    pub text: String,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// Records are not what was written.
    Damage,
    /// Bytes behind the last record, as a crash leaves them, or a writer that is at work.
    TornTail,
    /// Batches between two segments are in no file.
    Gap,
    /// The head of a segment is damaged, or does not say what the records before it do.
    Head,
    /// A small file is damaged or missing.
    Settings,
    /// A file that the log does not know.
    Unknown,
}

/// Checks every byte of a log's folder that is in use and explains it. Never writes and takes no lock: beside a
/// running queue the last segment of a partition may seem torn. Costs a read of all there is.
///
/// # Errors
/// `Retry` when a file or folder cannot be read; `Corrupt` for files of a later version. Damage is no error, it
/// is in the report.
///
/// ```
/// # let path = tempfile::tempdir().unwrap();
/// let report = queue::verify(path.path()).unwrap();
/// assert!(report.is_whole());
/// assert_eq!(report.to_string(), "0 segments, 0 batches, 0 bytes: all is well\n");
/// ```
pub fn verify(path: impl AsRef<Path>) -> Result<Report> {
    verify_on(path.as_ref(), Arc::new(RealDisk))
}

pub(crate) fn verify_on(root: &Path, disk: Arc<dyn Disk>) -> Result<Report> {
    let failed = |error: io::Error| {
        Error::new(
            ErrorKind::Retry,
            format_args!("log cannot be read: {error} path={}", root.display()),
        )
    };
    let mut report = Report::default();
    let mut entries = disk.list(root).map_err(failed)?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    for entry in entries {
        let path = root.join(&entry.name);
        match entry.name.parse::<DatasetName>() {
            Ok(name) if entry.is_folder => {
                let partitions = report.settings(&*disk, &path)?;
                let folder = DatasetFolder::new(root, name, partitions, disk.clone());
                report.dataset(&folder).map_err(failed)?;
            }
            _ if entry.name == "lock" => {}
            _ => report.unknown(path),
        }
    }
    Ok(report)
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, problem: Problem, path: &Path, at: u64, text: impl fmt::Display) {
        if self.findings.len() < DAMAGES_MAX {
            self.findings.push(Finding {
                problem,
                path: path.to_owned(),
                at,
                text: text.to_string(),
            });
        }
    }

    fn unknown(&mut self, path: PathBuf) {
        self.find(
            Problem::Unknown,
            &path,
            0,
            "the log does not know this file, it is not used",
        );
    }

    fn settings(&mut self, disk: &dyn Disk, path: &Path) -> Result<u32> {
        let meta = path.join(META);
        Ok(match dataset::settings(disk, path)? {
            Settings::Partitions(partitions) => partitions,
            Settings::Rebuilt(partitions) => {
                let text = format!(
                    "settings are damaged or missing: opening makes them again, partitions={partitions}"
                );
                self.find(Problem::Settings, &meta, 0, text);
                partitions
            }
            Settings::Unfinished => {
                self.find(
                    Problem::Settings,
                    &meta,
                    0,
                    "the making of the dataset was cut short: it is empty",
                );
                0
            }
        })
    }

    fn dataset(&mut self, folder: &DatasetFolder) -> io::Result<()> {
        if folder.consumers()?.is_none() {
            let text = "consumers are damaged: opening puts them aside, and nothing is deleted until that is removed";
            self.find(Problem::Settings, &folder.path.join(dataset::CONSUMERS), 0, text);
        }
        if folder.consumers_are_damaged()? {
            let text = "consumers were damaged: nothing is deleted until this is removed";
            self.find(
                Problem::Settings,
                &folder.path.join(dataset::CONSUMERS_DAMAGED),
                0,
                text,
            );
        }
        for partition in (0..folder.partitions).map(Partition) {
            match self.partition(folder, partition) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let path = folder.partition(partition);
                    self.find(
                        Problem::Settings,
                        &path,
                        0,
                        "the partition's folder is missing: opening makes it",
                    );
                }
                done => done?,
            }
        }
        Ok(())
    }

    fn partition(&mut self, folder: &DatasetFolder, partition: Partition) -> io::Result<()> {
        let path = folder.partition(partition);
        for entry in folder.disk.list(&path)? {
            if Segment::base_of(&entry.name).is_none() {
                self.unknown(path.join(entry.name));
            }
        }
        let bases = bases(&*folder.disk, &path)?;
        // What the records so far say about the emitters, as long as none of them is damaged.
        let mut told = bases
            .first()
            .is_some_and(|base| *base == 0)
            .then(|| Dedup::new(EMITTERS_MAX));
        for (i, base) in bases.iter().enumerate() {
            let segment = Segment::new(&folder.disk, &path, *base, None);
            let next = bases.get(i + 1).copied();
            self.head(&segment, &mut told)?;
            self.segment((&folder.name, partition), &segment, next, &mut told)?;
        }
        Ok(())
    }

    /// Compares the snapshot of a segment with the records before it.
    fn head(&mut self, segment: &Segment, told: &mut Option<Dedup>) -> io::Result<()> {
        let at = super::record::SEGMENT_HEADER.len() as u64;
        let head = segment.head()?;
        let Some(dedup) = head
            .as_ref()
            .and_then(|(_, snapshot)| Dedup::restore(snapshot, EMITTERS_MAX))
        else {
            let text = "the head is damaged: the records before it say the same, as long as they are there";
            self.find(Problem::Head, &segment.path, at, text);
            return Ok(());
        };
        if let Some(told) = told
            && !dedup.is_full()
            && told.snapshot() != dedup.snapshot()
        {
            let text =
                "the snapshot of the emitters is not what the records before it say: please report this";
            self.find(Problem::Head, &segment.path, at, text);
        }
        *told = Some(dedup);
        Ok(())
    }

    fn segment(
        &mut self,
        (dataset, partition): (&DatasetName, Partition),
        segment: &Segment,
        next: Option<u64>,
        told: &mut Option<Dedup>,
    ) -> io::Result<()> {
        let mut received: Option<(Timestamp, Timestamp)> = None;
        let (mut batches, mut last) = (0, None);
        let found = segment.scan(next, |stored| {
            if let Some(header) = stored.header() {
                let at = header.received_at;
                received = Some(received.map_or((at, at), |(from, to)| (from.min(at), to.max(at))));
                batches += 1;
                last = Some(stored.offset);
                if let Some(told) = told {
                    told.keep(&header.key);
                }
            }
        })?;
        let end = next.unwrap_or(found.end);
        let path = &segment.path;
        for damaged in &found.damage {
            let Range { start, end: to } = damaged.offsets;
            let behind = last.map_or(segment.base, |last: u64| last + 1);
            if start == to {
                // Only the head, which has been told of.
            } else if Some(to) == next && start >= behind && damaged.position >= segment.bytes()? {
                let text = format!(
                    "batches {start} to {} are in no file: a segment or its end was lost",
                    to - 1
                );
                self.find(Problem::Gap, path, damaged.position, text);
            } else {
                let text = format!(
                    "batches {start} to {} are damaged: restore the file, or read past them",
                    to - 1
                );
                self.find(Problem::Damage, path, damaged.position, text);
            }
            *told = None;
        }
        if next.is_none() && found.torn > 0 {
            let text = format!(
                "{} bytes behind the last record: opening cuts them off, none was acked",
                found.torn
            );
            self.find(Problem::TornTail, path, found.position, text);
        }
        self.segments.push(SegmentReport {
            dataset: dataset.clone(),
            partition,
            path: path.clone(),
            bytes: segment.bytes()?,
            offsets: Offset(segment.base)..Offset(end),
            batches,
            received,
        });
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            let Range { start, end } = segment.offsets;
            write!(
                f,
                "{}: offsets {} to {}, {} batches, {} bytes",
                segment.path.display(),
                start.0,
                end.0,
                segment.batches,
                segment.bytes
            )?;
            match segment.received {
                Some((from, to)) => writeln!(f, ", received {from} to {to}")?,
                None => writeln!(f)?,
            }
        }
        for finding in &self.findings {
            let (path, at) = (finding.path.display(), finding.at);
            writeln!(f, "{path} at {at}: {}", finding.text)?;
        }
        let batches: u64 = self.segments.iter().map(|segment| segment.batches).sum();
        let bytes: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        write!(
            f,
            "{} segments, {batches} batches, {bytes} bytes: ",
            self.segments.len()
        )?;
        match self.findings.len() {
            0 => writeln!(f, "all is well"),
            count => writeln!(f, "{count} findings"),
        }
    }
}
