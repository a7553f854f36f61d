//! A model of how rows go from hot to cold and on: every interleaving of appends, a flush, compactions, a deletion, a
//! vacuum, a query that holds a version, lost answers and crashes, for a few rows.
//!
//! The steps are those of `table.rs`, `log.rs`, `maintenance.rs`, `delete.rs` and `vacuum.rs`, one for each point where
//! another task may run or the process may end. Variants with a fault that one could make are found to be wrong.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

const ROWS: usize = 3;
/// The row that is to be erased.
const ERASED: usize = 0;
const CRASHES_MAX: u8 = 1;
const LOST_MAX: u8 = 1;
const COMPACTIONS_MAX: u8 = 1;

/// How often each row is there.
type Rows = [u8; ROWS];
type Files = BTreeMap<u8, Rows>;

/// A fault that is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    /// Files come into the version first, and rows leave the hot tail in a second step.
    FilesThenHot,
    /// The other way round.
    HotThenFiles,
    /// The progress is committed before the files.
    ProgressFirst,
    /// After a lost answer the commit is made again without a look into the log.
    RetryBlindly,
    /// Files are deleted that a query reads.
    VacuumHeld,
    /// Files are deleted that no commit names yet.
    VacuumUploads,
    /// Two tasks replace files at a time.
    ReplaceTogether,
    /// Rows in the hot tail are not looked at.
    DeleteColdOnly,
    /// A restart goes on from where the hot tail was.
    ResumeFromHot,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Version {
    files: Files,
    hot: Rows,
    progress: u8,
}

/// A commit on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Change {
    adds: Files,
    removes: BTreeSet<u8>,
    progress: Option<u8>,
    erases: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
enum Phase {
    #[default]
    Idle,
    /// Its files are in storage.
    Uploaded(Change),
    /// The commit was sent, and nobody knows what came of it.
    Unknown(Change),
    /// It is in the log, and not yet in the version.
    Landed(Change),
    /// Half of it is in the version; no phase of the right variant.
    Half(Change),
}

impl Phase {
    /// Whether it has the lock of the log.
    fn commits(&self) -> bool {
        !matches!(self, Self::Idle | Self::Uploaded(_))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    // On the disk.
    storage: BTreeSet<u8>,
    log: Files,
    log_progress: u8,
    files_made: u8,
    // In memory.
    version: Version,
    frozen: Rows,
    flush: Phase,
    replacing: [Phase; 2],
    query: Option<Version>,
    /// The progress when the deletion was asked for.
    asked: Option<u8>,
    // What has happened.
    erased: bool,
    crashes: u8,
    lost: u8,
    compactions: u8,
}

fn add(to: &mut Rows, rows: &Rows) {
    to.iter_mut().zip(rows).for_each(|(to, rows)| *to += rows);
}

fn sum<'a>(rows: impl IntoIterator<Item = &'a Rows>) -> Rows {
    rows.into_iter().fold([0; ROWS], |mut sum, rows| {
        add(&mut sum, rows);
        sum
    })
}

impl State {
    /// What is wrong with it.
    fn check(&self) -> Result<(), String> {
        let mut seen = sum(self.version.files.values());
        add(&mut seen, &self.version.hot);
        self.check_rows("a query sees", &seen, self.version.progress)?;
        self.check_rows("the log has", &sum(self.log.values()), self.log_progress)?;
        let query = self.query.iter().flat_map(|query| query.files.keys());
        for file in self.log.keys().chain(self.version.files.keys()).chain(query) {
            if !self.storage.contains(file) {
                return Err(format!("file {file} is named and gone"));
            }
        }
        Ok(())
    }

    fn check_rows(&self, who: &str, rows: &Rows, progress: u8) -> Result<(), String> {
        for (row, count) in rows.iter().enumerate() {
            let told = row < usize::from(progress);
            let fits = match (told, row == ERASED) {
                (false, _) => *count == 0,
                (true, false) => *count == 1,
                // Before the deletion is answered it may be in the log, or not.
                (true, true) if self.erased => *count == 0,
                (true, true) => *count == 1 || *count == 0 && self.asked.is_some(),
            };
            if !fits {
                return Err(format!("{who} row {row} {count} times at progress {progress}"));
            }
        }
        Ok(())
    }

    fn upload(&mut self, rows: Rows) -> Files {
        if rows == [0; ROWS] {
            return Files::new();
        }
        let file = self.files_made;
        self.files_made += 1;
        self.storage.insert(file);
        Files::from([(file, rows)])
    }

    fn commit(&mut self, change: &Change) {
        self.log.retain(|file, _| !change.removes.contains(file));
        self.log.extend(change.adds.clone());
        self.log_progress = change.progress.unwrap_or(self.log_progress);
    }

    fn swap_files(&mut self, change: &Change) {
        self.version
            .files
            .retain(|file, _| !change.removes.contains(file));
        self.version.files.extend(change.adds.clone());
    }

    fn swap_hot(&mut self, change: &Change) {
        if change.progress.is_some() {
            let frozen = std::mem::take(&mut self.frozen);
            self.version
                .hot
                .iter_mut()
                .zip(frozen)
                .for_each(|(hot, frozen)| *hot -= frozen);
        }
        self.erased |= change.erases;
    }

    /// All that can happen next.
    fn next(&self, bug: Bug) -> Vec<(&'static str, Self)> {
        let mut next = Vec::new();
        let mut step = |name, change: &dyn Fn(&mut Self)| {
            let mut state = self.clone();
            change(&mut state);
            next.push((name, state));
        };
        if usize::from(self.version.progress) < ROWS {
            step("append", &|state| {
                state.version.hot[usize::from(state.version.progress)] += 1;
                state.version.progress += 1;
            });
        }
        match &self.query {
            None => step("query begins", &|state| state.query = Some(state.version.clone())),
            Some(_) => step("query ends", &|state| state.query = None),
        }
        if self.asked.is_none() && usize::from(self.version.progress) > ERASED && !self.erased {
            step("deletion is asked for", &|state| {
                state.asked = Some(state.version.progress)
            });
        }
        if self.crashes < CRASHES_MAX {
            step("crash", &|state| state.crash(bug));
        }
        for file in self.storage.iter().filter(|file| !self.needed(**file, bug)) {
            step("vacuum", &|state| {
                state.storage.remove(file);
            });
        }
        self.next_flush(bug, &mut next);
        self.next_replacing(bug, &mut next);
        next
    }

    fn needed(&self, file: u8, bug: Bug) -> bool {
        let phases = || self.replacing.iter().chain([&self.flush]);
        let held = self
            .query
            .as_ref()
            .is_some_and(|query| query.files.contains_key(&file));
        // A vacuum waits for whoever replaces files, and for the lock of the log.
        let busy = phases().any(|phase| *phase != Phase::Idle);
        self.version.files.contains_key(&file)
            || self.log.contains_key(&file)
            || held && bug != Bug::VacuumHeld
            || busy && bug != Bug::VacuumUploads
    }

    fn crash(&mut self, bug: Bug) {
        let progress = match bug {
            Bug::ResumeFromHot => self.version.progress,
            _ => self.log_progress,
        };
        *self = Self {
            version: Version {
                files: self.log.clone(),
                hot: [0; ROWS],
                progress,
            },
            storage: std::mem::take(&mut self.storage),
            log: std::mem::take(&mut self.log),
            crashes: self.crashes + 1,
            // Who had asked is not answered; it may have been done.
            asked: self.asked.filter(|_| !self.erased),
            ..self.clone()
        };
        (self.frozen, self.query) = ([0; ROWS], None);
        (self.flush, self.replacing) = (Phase::Idle, Default::default());
    }

    /// The steps of a flush; it has the lock of the log from the first to the last.
    fn next_flush(&self, bug: Bug, next: &mut Vec<(&'static str, Self)>) {
        if self.replacing.iter().any(Phase::commits) {
            return;
        }
        if self.flush != Phase::Idle {
            return self.next_commit(&self.flush, bug, next, &|state, phase| state.flush = phase);
        }
        if self.version.hot != [0; ROWS] {
            let mut state = self.clone();
            state.frozen = state.version.hot;
            let adds = state.upload(state.frozen);
            state.flush = Phase::Uploaded(Change {
                adds,
                progress: Some(state.version.progress),
                ..Change::default()
            });
            next.push(("flush uploads", state));
        }
    }

    fn next_replacing(&self, bug: Bug, next: &mut Vec<(&'static str, Self)>) {
        for (place, phase) in self.replacing.iter().enumerate() {
            let other = &self.replacing[1 - place];
            if *phase != Phase::Idle {
                // The lock of the log is free.
                if self.flush == Phase::Idle && !other.commits() {
                    self.next_commit(phase, bug, next, &|state, phase| state.replacing[place] = phase);
                }
                continue;
            }
            if *other != Phase::Idle && bug != Bug::ReplaceTogether || place == 1 && *other == Phase::Idle {
                continue;
            }
            let files = &self.version.files;
            if files.len() > 1 && self.compactions < COMPACTIONS_MAX {
                let mut state = self.clone();
                let adds = state.upload(sum(files.values()));
                state.compactions += 1;
                state.replacing[place] = Phase::Uploaded(Change {
                    adds,
                    removes: files.keys().copied().collect(),
                    ..Change::default()
                });
                next.push(("compaction uploads", state));
            }
            let flushed = self.asked.is_some_and(|asked| asked <= self.log_progress);
            let flushed =
                flushed && self.flush == Phase::Idle || bug == Bug::DeleteColdOnly && self.asked.is_some();
            if flushed && !self.erased {
                let mut state = self.clone();
                let with = files.iter().filter(|(_, rows)| rows[ERASED] > 0);
                let (removes, mut rows): (BTreeSet<u8>, Vec<Rows>) =
                    with.map(|(file, rows)| (*file, *rows)).unzip();
                rows.iter_mut().for_each(|rows| rows[ERASED] = 0);
                let adds = state.upload(sum(&rows));
                state.replacing[place] = Phase::Uploaded(Change {
                    adds,
                    removes,
                    erases: true,
                    ..Change::default()
                });
                next.push(("deletion uploads", state));
            }
        }
    }

    /// The steps from uploaded files to the version.
    fn next_commit(
        &self,
        phase: &Phase,
        bug: Bug,
        next: &mut Vec<(&'static str, Self)>,
        set: &dyn Fn(&mut Self, Phase),
    ) {
        let mut step = |name, into: Phase, change: &dyn Fn(&mut Self)| {
            let mut state = self.clone();
            change(&mut state);
            set(&mut state, into);
            next.push((name, state));
        };
        match phase {
            Phase::Idle => {}
            Phase::Uploaded(change)
                if bug == Bug::ProgressFirst && change.progress.is_some_and(|p| p != self.log_progress) =>
            {
                step("commit of progress", phase.clone(), &|state| {
                    state.log_progress = change.progress.unwrap_or(0);
                });
            }
            Phase::Uploaded(change) => {
                step("commit", Phase::Landed(change.clone()), &|state| {
                    state.commit(change)
                });
                if self.lost < LOST_MAX {
                    let unknown = Phase::Unknown(change.clone());
                    step("commit, answer lost", unknown.clone(), &|state| {
                        state.commit(change);
                        state.lost += 1;
                    });
                    step("commit refused, answer lost", unknown, &|state| state.lost += 1);
                }
            }
            Phase::Unknown(change) if bug == Bug::RetryBlindly => {
                // Written again it has new files.
                step("commit again", Phase::Idle, &|state| {
                    let adds = state.upload(sum(change.adds.values()));
                    let again = Change {
                        adds,
                        ..change.clone()
                    };
                    state.commit(&again);
                    state.version.files = state.log.clone();
                    state.swap_hot(&again);
                });
            }
            Phase::Unknown(change) => match self.has_landed(change) {
                true => step("found in the log", Phase::Landed(change.clone()), &|_| {}),
                // New rows are tried again, what replaces files is given up.
                false if change.progress.is_some() => {
                    step("not in the log", Phase::Uploaded(change.clone()), &|_| {});
                }
                false => step("given up", Phase::Idle, &|_| {}),
            },
            Phase::Landed(change) => match bug {
                Bug::FilesThenHot => step("swap files", Phase::Half(change.clone()), &|state| {
                    state.swap_files(change)
                }),
                Bug::HotThenFiles => step("swap hot", Phase::Half(change.clone()), &|state| {
                    state.swap_hot(change)
                }),
                _ => step("swap", Phase::Idle, &|state| {
                    state.swap_files(change);
                    state.swap_hot(change);
                }),
            },
            Phase::Half(change) => step("other half", Phase::Idle, &|state| match bug {
                Bug::FilesThenHot => state.swap_hot(change),
                _ => state.swap_files(change),
            }),
        }
    }

    fn has_landed(&self, change: &Change) -> bool {
        match change.adds.keys().next() {
            Some(file) => self.log.contains_key(file),
            None => !change.removes.iter().any(|file| self.log.contains_key(file)),
        }
    }
}

/// All states that can be reached, or what is wrong with the nearest one and how it came to it.
fn explore(bug: Bug) -> Result<Vec<State>, (String, Vec<&'static str>)> {
    let start = State::default();
    let mut from: HashMap<State, Option<(State, &'static str)>> = HashMap::from([(start.clone(), None)]);
    let mut queue = VecDeque::from([start]);
    while let Some(state) = queue.pop_front() {
        if let Err(wrong) = state.check() {
            let (mut path, mut at) = (Vec::new(), &state);
            while let Some(Some((before, name))) = from.get(at) {
                path.push(*name);
                at = before;
            }
            path.reverse();
            return Err((wrong, path));
        }
        for (name, next) in state.next(bug) {
            if !from.contains_key(&next) {
                from.insert(next.clone(), Some((state.clone(), name)));
                queue.push_back(next);
            }
        }
    }
    Ok(from.into_keys().collect())
}

#[test]
fn no_interleaving_loses_doubles_or_shows_half() {
    let states = explore(Bug::None).unwrap_or_else(|(wrong, path)| panic!("{wrong}: {path:?}"));
    // What it is about is reached.
    let reached = |what: fn(&State) -> bool| assert!(states.iter().any(what));
    let whole = |state: &State| state.log_progress == ROWS as u8;
    assert!(
        states
            .iter()
            .any(|state| whole(state) && state.erased && state.compactions == COMPACTIONS_MAX)
    );
    reached(|state| state.crashes > 0 && state.lost > 0 && state.erased && state.log_progress == ROWS as u8);
    reached(|state| {
        let query = state.query.as_ref();
        query.is_some_and(|query| query.files.keys().any(|file| !state.log.contains_key(file)))
    });
    assert!(states.len() > 10_000, "{} states", states.len());
}

#[test]
fn faults_that_are_built_in_are_found() {
    for (bug, expected) in [
        (Bug::FilesThenHot, "a query sees row 0 2 times"),
        (Bug::HotThenFiles, "a query sees row 0 0 times"),
        (Bug::ProgressFirst, "the log has row 0 0 times"),
        (Bug::RetryBlindly, "2 times"),
        (Bug::VacuumHeld, "is named and gone"),
        (Bug::VacuumUploads, "is named and gone"),
        (Bug::ReplaceTogether, "times"),
        (Bug::DeleteColdOnly, "a query sees row 0 1 times"),
        (Bug::ResumeFromHot, "a query sees row 0 0 times"),
    ] {
        match explore(bug) {
            Ok(states) => panic!("{bug:?} is not found in {} states", states.len()),
            Err((wrong, path)) => assert!(wrong.contains(expected), "{bug:?}: {wrong}: {path:?}"),
        }
    }
}
