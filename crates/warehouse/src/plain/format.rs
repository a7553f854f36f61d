//! The formats of plain files.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::json::LineDelimitedWriter;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::encode::write_parquet;
use crate::{Error, ErrorKind, Result};

/// What a plain file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlainFormat {
    /// Parquet with zstd.
    #[default]
    Parquet,
    /// A JSON object a line, in gzip. Fields that are null are left out.
    NdjsonGzip,
    /// The same, in zstd.
    NdjsonZstd,
}

impl PlainFormat {
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::NdjsonGzip => "ndjson.gz",
            Self::NdjsonZstd => "ndjson.zst",
        }
    }

    /// The batches of one hour; where columns have come meanwhile, all have those of the last.
    pub(super) fn encode(self, batches: &[RecordBatch]) -> Result<Bytes> {
        let failed = |error: std::io::Error| {
            Error::new(
                ErrorKind::Invalid,
                format_args!("rows cannot be written: {error}"),
            )
            .with_source(error)
        };
        match self {
            Self::Parquet => {
                let schema = batches.last().map(RecordBatch::schema).expect("an hour has rows");
                let conformed: Result<Vec<_>> = batches
                    .iter()
                    .map(|batch| Ok(event::conform(batch, &schema)?))
                    .collect();
                write_parquet(&conformed?, &schema)
            }
            Self::NdjsonGzip => {
                let mut file = GzEncoder::new(Vec::new(), Compression::default());
                lines(batches, &mut file)?;
                Ok(file.finish().map_err(failed)?.into())
            }
            Self::NdjsonZstd => {
                let mut file = zstd::Encoder::new(Vec::new(), 3).map_err(failed)?;
                lines(batches, &mut file)?;
                Ok(file.finish().map_err(failed)?.into())
            }
        }
    }
}

fn lines(batches: &[RecordBatch], file: impl Write) -> Result<()> {
    let mut writer = LineDelimitedWriter::new(file);
    let written = batches.iter().try_for_each(|batch| writer.write(batch));
    written.and_then(|()| writer.finish()).map_err(|error| {
        Error::new(
            ErrorKind::Invalid,
            format_args!("rows cannot be written as JSON: {error}"),
        )
        .with_source(error)
    })
}
