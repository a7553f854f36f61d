//! What the flags come to for the ports that a job has, or why they cannot be.

use std::collections::BTreeMap;
use std::time::Duration;

use flow::{Batcher, JobOptions, Timestamp};

use super::arguments::{Flags, MalformedFlag, PlatformFlag};
use super::declared::Declared;
use super::error::Failure;
use super::place::{SourceFlag, SourcePlace, StorePlace};

/// All that a run needs to know.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) job: &'static str,
    pub(super) platform: PlatformFlag,
    /// By port.
    pub(super) sources: BTreeMap<&'static str, SourcePlace>,
    /// By port; on batch and hybrid.
    pub(super) histories: BTreeMap<&'static str, SourcePlace>,
    pub(super) stores: Vec<&'static str>,
    pub(super) store: StorePlace,
    pub(super) reading: Reading,
    pub(super) malformed: MalformedFlag,
    pub(super) batcher: Batcher,
    pub(super) from: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
    pub(super) options: JobOptions,
}

/// How far a dataset is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reading {
    /// To where it ends now.
    Once,
    /// On and on.
    Following,
}

impl Plan {
    /// # Errors
    /// `Arguments` when flags do not fit the job or each other.
    pub(super) fn new(job: &'static str, declared: &Declared, flags: &Flags) -> Result<Self, Failure> {
        let refused = |text: &str| Err(Failure::arguments(text));
        let cuts = flags.platform.cuts();
        let of_cuts = [
            ("--batch", flags.batch.is_some()),
            ("--from", flags.from.is_some()),
            ("--until", flags.until.is_some()),
            ("--history", !flags.history.is_empty()),
        ];
        if let Some((flag, _)) = of_cuts.iter().find(|(_, given)| *given && !cuts) {
            return refused(&format!(
                "only batch and hybrid cut history: leave {flag} out, or choose --platform batch or hybrid"
            ));
        }
        if flags.at.is_some() && flags.platform != PlatformFlag::Hybrid {
            return refused("only hybrid answers up to a time: leave --at out, or choose --platform hybrid");
        }
        if flags.platform == PlatformFlag::Memory && flags.store != StorePlace::Memory {
            return refused("memory keeps sums in memory: leave --store out, or choose another --platform");
        }
        if flags.get.is_some() && flags.store == StorePlace::Memory {
            return refused(
                "--get reads a store that has been filled before, and one in memory never has: give --store, or use --print",
            );
        }
        if let (Some(from), Some(until)) = (flags.from, flags.until)
            && from >= until
        {
            return refused(
                "history ends where it begins or before: give an --until that is later than --from",
            );
        }
        // What only reads the store needs no source.
        let sources = match (&flags.get, flags.source.is_empty(), flags.history.is_empty()) {
            (Some(_), true, _) => BTreeMap::new(),
            (_, true, false) if flags.platform == PlatformFlag::Batch => {
                by_port("--history", &declared.sources, &flags.history)?
            }
            _ => by_port("--source", &declared.sources, &flags.source)?,
        };
        let histories = match flags.history.is_empty() {
            true => sources.clone(),
            false => by_port("--history", &declared.sources, &flags.history)?,
        };
        Ok(Self {
            job,
            platform: flags.platform,
            sources,
            histories,
            stores: declared.stores.clone(),
            store: flags.store.clone(),
            reading: if flags.once {
                Reading::Once
            } else {
                Reading::Following
            },
            malformed: flags.malformed,
            batcher: match &flags.batch {
                Some(batch) => batch.batcher.clone(),
                None => Batcher::every(Duration::from_secs(3_600))?,
            },
            from: flags.from,
            until: flags.until,
            options: options(&flags.option)?,
        })
    }

    /// The name that a store has in its place: that of the port in a folder; on a server that of the flag, with the
    /// port's behind it when there are several.
    pub(super) fn store_name(&self, port: &str) -> String {
        match &self.store {
            StorePlace::Server { name, .. } if self.stores.len() > 1 => format!("{name}_{port}"),
            StorePlace::Server { name, .. } => name.clone(),
            StorePlace::Memory | StorePlace::File(_) => port.to_owned(),
        }
    }

    /// The name of a store's snapshots.
    pub(super) fn batch_name(&self, port: &str) -> String {
        format!("{}_batch", self.store_name(port))
    }

    /// The name of a store's live sums by batch.
    pub(super) fn live_name(&self, port: &str) -> String {
        format!("{}_live", self.store_name(port))
    }

    /// The name of what holds all, or the history, of a store's sums.
    pub(super) fn main_name(&self, port: &str) -> String {
        match self.platform.cuts() {
            true => self.batch_name(port),
            false => self.store_name(port),
        }
    }
}

/// `NODE.OPTION=VALUE` or `OPTION=VALUE`, each.
fn options(given: &[String]) -> Result<JobOptions, Failure> {
    given.iter().try_fold(JobOptions::default(), |options, text| {
        let form = || Failure::arguments(format!("use NODE.OPTION=VALUE or OPTION=VALUE: --option {text}"));
        let (option, value) = text.split_once('=').ok_or_else(form)?;
        options.set(option, value).map_err(Failure::arguments)
    })
}

/// A place for each port: the one with its name, else the one without a name.
fn by_port(
    flag: &str,
    ports: &[&'static str],
    given: &[SourceFlag],
) -> Result<BTreeMap<&'static str, SourcePlace>, Failure> {
    let known = ports.join(" ");
    for (i, place) in given.iter().enumerate() {
        if given[..i].iter().any(|other| other.name == place.name) {
            let text = format!("one place for a source, perhaps with a pattern: {flag} is given twice");
            return Err(Failure::arguments(text));
        }
        if let Some(name) = &place.name
            && !ports.contains(&name.as_str())
        {
            let text = format!("the job has no source of this name, it has {known}: {flag} name={name}");
            return Err(Failure::arguments(text));
        }
    }
    let place_of = |port: &&'static str| {
        let named = given.iter().find(|place| place.name.as_deref() == Some(port));
        let found = named.or_else(|| given.iter().find(|place| place.name.is_none()));
        found.map(|place| (*port, place.place.clone())).ok_or_else(|| {
            Failure::arguments(format!(
                "where do the elements come from? give {flag}, for instance --source ndjson:events-*.json.gz or \
                 --source {port}@http://127.0.0.1:8081 source={port}"
            ))
        })
    };
    ports.iter().map(place_of).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::job::NoFlags;
    use crate::job::arguments::Arguments;
    use flow::{Memory, Producer, Tail};

    fn plan(sources: &[&'static str], arguments: &[&str]) -> Result<Plan, String> {
        let graph = Producer::<Memory, u64>::source(Vec::new())
            .write(Default::default())
            .graph();
        let declared = Declared {
            sources: sources.to_vec(),
            stores: vec!["counts", "top"],
            graph,
        };
        let arguments = Arguments::<NoFlags>::try_parse_from([&["job"], arguments].concat());
        let flags = arguments.map_err(|error| error.to_string())?.flags;
        Plan::new("job", &declared, &flags).map_err(|failure| match failure {
            Failure::Arguments(text) => text,
            Failure::Other(error) => panic!("{error}"),
        })
    }

    #[test]
    fn a_place_without_a_name_is_that_of_every_source() {
        let found = plan(&["a", "b"], &["--source", "text:x", "--source", "b=text:y"]).unwrap();
        let places: Vec<String> = found.sources.values().map(ToString::to_string).collect();
        assert_eq!(places, ["text:x", "text:y"]);
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_to_do() {
        for (arguments, said) in [
            (&["--platform", "local"][..], "give --source"),
            (&["--source", "text:x", "--source", "text:y"], "given twice"),
            (&["--source", "c=text:x"], "it has a b"),
            (&["--source", "a=text:x"], "source=b"),
            (&["--source", "text:x", "--batch", "1h"], "leave --batch out"),
            (&["--source", "text:x", "--at", "2020-01-01"], "leave --at out"),
            (
                &["--platform", "memory", "--source", "text:x", "--store", "file:x"],
                "leave --store out",
            ),
            (&["--get", "x"], "give --store"),
            (
                &[
                    "--platform",
                    "batch",
                    "--source",
                    "text:x",
                    "--from",
                    "2020-01-02",
                    "--until",
                    "2020-01-01",
                ],
                "later than --from",
            ),
            (&["--store", "disk"], "file:FOLDER"),
            (&["--print", "few"], "a number or all"),
            (&["--source", "text:x", "--option", "parallelism"], "OPTION=VALUE"),
            (
                &["--source", "text:x", "--option", "a.paralelism=2"],
                "parallelism",
            ),
        ] {
            let text = plan(&["a", "b"], arguments).unwrap_err();
            assert!(text.contains(said), "{arguments:?}: {text}");
        }
    }

    #[test]
    fn reading_alone_needs_no_source() {
        assert!(
            plan(&["a"], &["--get", "x", "--store", "file:x"])
                .unwrap()
                .sources
                .is_empty()
        );
    }

    #[test]
    fn one_of_several_stores_has_its_own_name_on_a_server() {
        let found = plan(&["a"], &["--source", "text:x", "--store", "server:sums@http://x"]).unwrap();
        assert_eq!(found.store_name("top"), "sums_top");
    }
}
