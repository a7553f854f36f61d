//! The chains that a dataset has had, each with the first batch of it.

use std::sync::{Arc, PoisonError, RwLock};

use arrow::datatypes::SchemaRef;
use event::protobuf::MessageType;
use event::{DatasetSchema, DatasetSettings, Decoder, ERROR_COLUMN, ROW_COLUMN, move_to_extra};
use queue::{Offset, Partition, Record};

use super::rows::{InChain, Part};
use super::step::Step;
use super::{CallThreads, Chain, ChainStatus};
use crate::limits::CHAIN_VERSIONS_MAX;
use crate::tap::{TapPoint, Taps};
use crate::{Error, ErrorKind, Result};

/// Which chain each batch of a dataset goes through, while the process runs: what has gone through one goes through it
/// again, whatever job or stream reads it.
#[derive(Debug)]
pub(crate) struct Chains {
    versions: RwLock<Vec<Arc<ChainVersion>>>,
    table: Arc<DatasetSchema>,
    threads: Arc<CallThreads>,
    taps: Arc<Taps>,
}

/// A chain, and the batches that go through it.
#[derive(Debug)]
pub(crate) struct ChainVersion {
    number: u64,
    /// The first offset of each partition; 0 of those that are not there.
    from: Vec<Offset>,
    pub(super) steps: Vec<Step>,
    /// Of the declared schema; 0 where there is none.
    pub(super) schema_version: u32,
    /// The columns of events that go into the steps. They are inferred by themselves, as those of the table are what comes
    /// out.
    input: Arc<DatasetSchema>,
    /// Makes rows of what was sent.
    pub(super) decoder: Decoder,
    /// Brings rows to the table's columns; none where the decoder does.
    pub(super) fit: Option<Decoder>,
}

impl Chains {
    /// A dataset whose batches all go through this chain.
    ///
    /// # Errors
    /// `Invalid` when the table cannot have the columns that are declared, or the type of Protobuf messages is not there.
    pub(crate) fn new(
        table: Arc<DatasetSchema>,
        settings: &DatasetSettings,
        chain: &Chain,
        threads: Arc<CallThreads>,
    ) -> Result<Self> {
        let chains = Self {
            versions: RwLock::default(),
            table,
            threads,
            taps: Arc::default(),
        };
        chains.set(settings, chain, Vec::new)?;
        Ok(chains)
    }

    /// From here on these settings and this chain; `ends` tells what the queue has. Returns the number of the version.
    ///
    /// # Errors
    /// As [`Chains::new`]; then all goes on as before.
    pub(crate) fn set(
        &self,
        settings: &DatasetSettings,
        chain: &Chain,
        ends: impl FnOnce() -> Vec<Offset>,
    ) -> Result<u64> {
        let mut versions = self.versions.write().unwrap_or_else(PoisonError::into_inner);
        let last = versions.last();
        let (input, decoder, fit) = match chain.is_empty() {
            true => (
                Arc::new(DatasetSchema::empty()),
                decoder(&self.table, settings)?,
                None,
            ),
            false => {
                let (input, decoder) = self.input(last, settings)?;
                // What is declared is of the events that go in.
                let fit = DatasetSettings {
                    schema: None,
                    protobuf: None,
                    ..settings.clone()
                };
                (input, decoder, Some(self::decoder(&self.table, &fit)?))
            }
        };
        let number = last.map_or(1, |last| last.number + 1);
        versions.push(Arc::new(ChainVersion {
            number,
            // Within the lock: whoever has asked for the chain of a batch before has read a batch that was there.
            from: ends(),
            steps: Step::all(chain, &self.threads),
            schema_version: settings.schema.as_ref().map_or(0, |schema| schema.version),
            input,
            decoder,
            fit,
        }));
        if versions.len() > CHAIN_VERSIONS_MAX {
            versions.remove(0);
        }
        Ok(number)
    }

    /// The columns that events have had so far, unless what is declared now says otherwise; and their decoder.
    fn input(
        &self,
        last: Option<&Arc<ChainVersion>>,
        settings: &DatasetSettings,
    ) -> Result<(Arc<DatasetSchema>, Decoder)> {
        let known = match last {
            // What events without a chain have is what the table has.
            Some(last) if last.steps.is_empty() => Arc::new(DatasetSchema::from_table(self.table.table())),
            Some(last) => last.input.clone(),
            None => Arc::new(DatasetSchema::empty()),
        };
        match decoder(&known, settings) {
            Ok(decoder) => Ok((known, decoder)),
            Err(_) => {
                let new = Arc::new(DatasetSchema::empty());
                let decoder = decoder(&new, settings)?;
                Ok((new, decoder))
            }
        }
    }

    /// The chain of a batch that was read from the queue.
    fn of(&self, partition: Partition, offset: Offset) -> Arc<ChainVersion> {
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        let begun = |version: &&Arc<ChainVersion>| {
            let from = version.from.get(partition.0 as usize);
            from.is_none_or(|from| *from <= offset)
        };
        let found = versions.iter().rev().find(begun).or(versions.first());
        found.expect("there is a chain from the beginning").clone()
    }

    /// The chain of new batches.
    pub(crate) fn newest(&self) -> Arc<ChainVersion> {
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        versions
            .last()
            .expect("there is a chain from the beginning")
            .clone()
    }

    /// Decodes a batch, for the chain that it is to go through.
    pub(crate) fn begin(&self, record: Record) -> InChain {
        let version = self.of(record.partition, record.offset);
        version.begin(record)
    }

    /// The same for the dataset's job, with its taps.
    pub(crate) fn begin_tapped(&self, record: Record) -> InChain {
        let mut batch = self.begin(record);
        batch.taps = Some(self.taps.clone());
        batch.show(|| TapPoint::Decoded);
        batch
    }

    pub(crate) fn taps(&self) -> &Arc<Taps> {
        &self.taps
    }
}

impl ChainVersion {
    fn begin(self: Arc<Self>, record: Record) -> InChain {
        let decoded = self.decoder.decode(&record.batch);
        let rows = if self.steps.is_empty() {
            decoded.rows
        } else {
            let taken =
                |name: &str| name.eq_ignore_ascii_case(ROW_COLUMN) || name.eq_ignore_ascii_case(ERROR_COLUMN);
            move_to_extra(&decoded.rows, taken)
        };
        InChain {
            record: Arc::new(record),
            version: self,
            parts: vec![Part {
                rows,
                lines: decoded.lines,
            }],
            rejects: decoded.rejects,
            steps_done: 0,
            taps: None,
        }
    }

    /// The names of its steps.
    pub(crate) fn names(&self) -> Vec<String> {
        self.steps.iter().map(|step| step.name().to_string()).collect()
    }

    pub(crate) fn status(&self) -> ChainStatus {
        ChainStatus {
            version: self.number,
            steps: self.steps.iter().map(Step::status).collect(),
        }
    }
}

/// Whether a dataset's job could begin with these settings: the schema goes with the columns of its table (of its own where
/// there are steps, or no table yet), and the type of its Protobuf messages is there.
///
/// # Errors
/// `Invalid` with what is wrong.
pub fn check_settings(settings: &DatasetSettings, table: Option<SchemaRef>) -> Result<()> {
    let schema = table.map_or_else(DatasetSchema::empty, DatasetSchema::from_table);
    decoder(&Arc::new(schema), settings).map(drop)
}

fn decoder(schema: &Arc<DatasetSchema>, settings: &DatasetSettings) -> Result<Decoder> {
    let invalid = |error: &dyn std::fmt::Display| Error::new(ErrorKind::Invalid, error);
    let decoder = Decoder::new(schema.clone(), settings).map_err(|error| invalid(&error))?;
    let Some(protobuf) = &settings.protobuf else {
        return Ok(decoder);
    };
    let is_file = std::fs::metadata(&protobuf.descriptors).is_ok_and(|meta| meta.is_file());
    let descriptors = match is_file {
        true => std::fs::read(&protobuf.descriptors),
        false => Err(std::io::Error::other("there is no such file")),
    };
    let of_type = match descriptors {
        Ok(descriptors) => {
            MessageType::new(&descriptors, &protobuf.message).map_err(|error| error.to_string())
        }
        Err(error) => Err(format!("descriptors cannot be read: {error}")),
    };
    let of_type =
        of_type.map_err(|error| invalid(&format_args!("{error} file={}", protobuf.descriptors.display())))?;
    Ok(decoder.with_protobuf(of_type))
}
