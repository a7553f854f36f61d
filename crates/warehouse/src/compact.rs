//! Merging small files of an hour into larger ones, tier by tier.
//!
//! The tier of a file is the logarithm of its bytes to the base `F` = `compact_files`. A file of half of
//! `compact_bytes` or more is *full* and stays as it is. When a file ends a run of at least `F` neighbours of its own
//! tier or lower ones, the run becomes one file, in its place: rows keep their order. It is the merge of the hot tail
//! (and of a binary counter), after the size-tiered compaction of LSM trees (O'Neil et al. 1996).
//!
//! With `T` tiers between the smallest file and a full one, as far as the sizes of merged files add up:
//! * an hour without work left has at most `(F − 1) · T` files before, between and after full ones;
//! * a row is rewritten at most `F · T` times, and `T` times where flushes are about equal.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::limits::COMPACT_SOURCES_MAX;
use crate::log::What;
use crate::{DataFile, Error, ErrorKind, MaintenanceOptions, Result, Table};

/// The next files to merge: neighbours in `files` (by path), two at least, of the hour where it takes most files away.
pub(crate) fn next(
    files: &[DataFile],
    options: &MaintenanceOptions,
    broken: &BTreeSet<String>,
) -> Option<Range<usize>> {
    if options.compact_files < 2 {
        return None;
    }
    let mut start = 0;
    let mut best: Option<Range<usize>> = None;
    for hour in files.chunk_by(|a, b| a.hour == b.hour) {
        let sizes: Vec<u64> = hour.iter().map(|file| file.bytes).collect();
        if !broken.contains(&hour[0].hour)
            && let Some(run) = run(&sizes, options.compact_files, options.compact_bytes)
            && best.as_ref().is_none_or(|best| best.len() < run.len())
        {
            best = Some(start + run.start..start + run.end);
        }
        start += hour.len();
    }
    best
}

/// The files of one hour to merge, by their sizes.
fn run(sizes: &[u64], fan_in: usize, bytes_max: u64) -> Option<Range<usize>> {
    let small = |bytes: u64| bytes < bytes_max.div_ceil(2);
    let fits = |top: u32| move |bytes: &&u64| small(**bytes) && tier(**bytes, fan_in) <= top;
    let (start, last) = sizes.iter().enumerate().find_map(|(last, bytes)| {
        let top = tier(*bytes, fan_in);
        let before = sizes[..=last].iter().rev().take_while(fits(top)).count();
        // Where many files wait they are merged at once.
        let after = sizes[last + 1..].iter().take_while(fits(top)).count();
        (before >= fan_in).then_some((last + 1 - before, last + after))
    })?;
    let mut bytes = 0u64;
    let fitting = sizes[start..=last].iter().take(COMPACT_SOURCES_MAX);
    let count = fitting
        .take_while(|size| {
            bytes = bytes.saturating_add(**size);
            bytes <= bytes_max
        })
        .count();
    (count > 1).then_some(start..start + count)
}

fn tier(bytes: u64, fan_in: usize) -> u32 {
    bytes.max(1).ilog(fan_in as u64)
}

impl Table {
    /// Merges small files until there are none left to merge; gives the number of compactions. The loop does it by
    /// itself, see [`MaintenanceOptions::compact_files`].
    ///
    /// Appends, flushes and queries go on. Each compaction is one commit without progress, whose rows are the same in
    /// the same order. Memory: the largest row group of the sources as stored, two of the new file, a batch of rows
    /// and two parts of an upload (see [`crate::limits`]). Errors: `Retry` if storage does not answer, `Corrupt` if a file is not
    /// what was written, `Conflict` if another process has written to this table.
    pub async fn compact(&self) -> Result<u64> {
        let mut compactions = 0;
        while self.compact_once().await? {
            compactions += 1;
        }
        Ok(compactions)
    }

    pub(crate) async fn compact_once(&self) -> Result<bool> {
        let _one_at_a_time = self.replacing.lock().await;
        let files = self.begin_replacing().await?;
        let sources = {
            let upkeep = &mut self.state().upkeep;
            match next(&files, &upkeep.options, &upkeep.broken) {
                Some(run) => files[run].to_vec(),
                None => {
                    // Until the table has other files.
                    upkeep.nothing_to_merge();
                    return Ok(false);
                }
            }
        };
        let hour = sources[0].hour.clone();
        let merged = self.merged(sources).await;
        if let Err(error) = &merged
            && !matches!(error.kind(), ErrorKind::Retry | ErrorKind::Conflict)
        {
            // Other hours are merged all the same.
            self.state().upkeep.broken.insert(hour);
        }
        merged.map(|()| true)
    }

    async fn merged(&self, sources: Vec<DataFile>) -> Result<()> {
        let rows: u64 = sources.iter().map(|file| file.rows).sum();
        let written = self.rewrite(&sources, None).await?;
        let found = written.as_ref().map_or(0, |(file, _)| file.rows);
        if found != rows {
            let message = format_args!(
                "files do not have the rows that the log tells, they are left as they are table={} hour={} rows={rows} found={found}",
                self.name(),
                sources[0].hour
            );
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        self.replace(What::Compact, sources, written.into_iter().collect())
            .await
    }
}

#[cfg(test)]
mod tests {
    use object_store::path::Path;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn runs_to_merge() {
        let check = |sizes: &[u64], expected: Option<Range<usize>>| {
            assert_eq!(run(sizes, 4, 1_000), expected, "{sizes:?}");
        };
        check(&[], None);
        check(&[5, 5, 5], None);
        check(&[5, 5, 5, 5], Some(0..4));
        check(&[5, 5, 5, 5, 5, 5], Some(0..6));
        // A larger file is left alone until it has three more of its size or smaller ones beside it.
        check(&[20, 5, 5, 5], None);
        check(&[20, 5, 5, 5, 5], Some(1..5));
        check(&[5, 5, 5, 20], Some(0..4));
        check(&[5, 5, 500, 5, 20], None);
        // Full ones stay, and a merged one is not larger than it may be.
        check(&[500, 499, 500, 600, 499], None);
        check(&[499, 499, 499, 499, 499], Some(0..2));
        check(&[0, 0, 0, 0], Some(0..4));
    }

    #[test]
    fn the_hour_with_most_files_is_first_and_broken_ones_are_left_out() {
        let file = |hour: &str, n: usize| DataFile {
            path: Path::from(format!("t/_hour={hour}/{n}")),
            bytes: 10,
            rows: 1,
            hour: hour.to_owned(),
            event_time: (0, 0),
            received_time: (0, 0),
        };
        let hours = [("a", 3), ("b", 4), ("c", 5)];
        let files: Vec<DataFile> = hours
            .iter()
            .flat_map(|(hour, count)| (0..*count).map(|n| file(hour, n)))
            .collect();
        let options = MaintenanceOptions {
            compact_files: 4,
            ..MaintenanceOptions::default()
        };
        let mut broken = BTreeSet::new();
        assert_eq!(next(&files, &options, &broken), Some(7..12));
        broken.insert("c".to_owned());
        assert_eq!(next(&files, &options, &broken), Some(3..7));
        broken.insert("b".to_owned());
        assert_eq!(next(&files, &options, &broken), None);
        let never = MaintenanceOptions {
            compact_files: 1,
            ..options
        };
        assert_eq!(next(&files, &never, &BTreeSet::new()), None);
    }

    /// A file: its size, and how often its rows have been rewritten at most.
    type Sized = (u64, u32);

    /// Appends files and merges what is due after each. Gives the files and the bytes written by merges.
    fn simulate(sizes: &[u64], fan_in: usize, bytes_max: u64) -> (Vec<Sized>, u64) {
        let (mut files, mut rewritten): (Vec<Sized>, u64) = (Vec::new(), 0);
        for size in sizes {
            files.push((*size, 0));
            loop {
                let sizes: Vec<u64> = files.iter().map(|file| file.0).collect();
                let Some(run) = run(&sizes, fan_in, bytes_max) else {
                    break;
                };
                assert!(run.len() > 1);
                let merged = files.splice(run.clone(), [(0, 0)]).collect::<Vec<_>>();
                let bytes = merged.iter().map(|file| file.0).sum();
                assert!(bytes <= bytes_max);
                files[run.start] = (bytes, merged.iter().map(|file| file.1).max().unwrap_or(0) + 1);
                rewritten += bytes;
            }
        }
        (files, rewritten)
    }

    proptest! {
        #[test]
        fn files_are_few_and_rows_are_seldom_rewritten(
            sizes in prop::collection::vec(prop_oneof![4 => 4u64..64, 1 => 4u64..5_000], 1..600),
            fan_in in 2usize..10,
        ) {
            const BYTES_MAX: u64 = 8_000;
            let (files, _) = simulate(&sizes, fan_in, BYTES_MAX);
            prop_assert_eq!(files.iter().map(|file| file.0).sum::<u64>(), sizes.iter().sum::<u64>());
            let least = sizes.iter().min().copied().unwrap_or(1);
            let tiers = (tier(BYTES_MAX / 2 - 1, fan_in) - tier(least, fan_in) + 1) as usize;
            for gap in files.split(|file| file.0 >= BYTES_MAX / 2) {
                prop_assert!(gap.len() <= (fan_in - 1) * tiers, "{:?}", files);
            }
            let most = files.iter().map(|file| file.1).max().unwrap_or(0) as usize;
            prop_assert!(most <= fan_in * tiers, "{most} > {fan_in} * {tiers}");
        }

        #[test]
        fn equal_files_are_rewritten_once_a_tier(count in 1usize..3_000, size in 4u64..50, fan_in in 2usize..10) {
            const BYTES_MAX: u64 = 1 << 20;
            let (files, rewritten) = simulate(&vec![size; count], fan_in, BYTES_MAX);
            let tiers = u64::from(tier(BYTES_MAX / 2, fan_in) - tier(size, fan_in) + 1);
            prop_assert!(files.iter().all(|file| u64::from(file.1) <= tiers));
            prop_assert!(rewritten <= tiers * size * count as u64);
        }
    }
}
