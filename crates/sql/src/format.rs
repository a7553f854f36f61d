//! Answers as bytes: JSON, NDJSON, CSV, Arrow IPC.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;

use crate::text;

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// An array of an object a row: `[{"clientName":"web","c":3},…]`.
    #[default]
    Json,
    /// An object a line.
    #[serde(alias = "jsonl")]
    Ndjson,
    /// A line of names, then a line a row; structs and lists as JSON text.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
}

impl Format {
    /// The media type of the bytes.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// The format that an `Accept` header asks for first.
    pub fn accepted(header: &str) -> Option<Self> {
        header
            .split(',')
            .find_map(|part| match part.split(';').next().unwrap_or_default().trim() {
                "application/json" => Some(Self::Json),
                "application/x-ndjson" | "application/jsonl" | "application/ndjson" => Some(Self::Ndjson),
                "text/csv" => Some(Self::Csv),
                "application/vnd.apache.arrow.stream" => Some(Self::Arrow),
                _ => None,
            })
    }
}

/// Writes one answer, batch by batch.
pub(crate) struct Encoder {
    format: Format,
    schema: SchemaRef,
    rows: usize,
    arrow: Option<StreamWriter<Vec<u8>>>,
}

impl Encoder {
    /// An encoder, and the bytes that come before the first batch.
    pub(crate) fn begin(format: Format, schema: SchemaRef) -> Result<(Self, Bytes), ArrowError> {
        let mut encoder = Self {
            format,
            schema,
            rows: 0,
            arrow: None,
        };
        let head = match format {
            Format::Json => b"[".to_vec(),
            Format::Ndjson => Vec::new(),
            Format::Csv => csv(&RecordBatch::new_empty(encoder.schema.clone()), true)?,
            Format::Arrow => {
                let writer = encoder
                    .arrow
                    .insert(StreamWriter::try_new(Vec::new(), &encoder.schema)?);
                std::mem::take(writer.get_mut())
            }
        };
        Ok((encoder, head.into()))
    }

    /// The bytes of a batch.
    pub(crate) fn batch(&mut self, batch: &RecordBatch) -> Result<Bytes, ArrowError> {
        let bytes = match (self.format, &mut self.arrow) {
            (Format::Arrow, Some(writer)) => {
                writer.write(batch)?;
                std::mem::take(writer.get_mut())
            }
            (Format::Csv, _) => csv(batch, false)?,
            (Format::Json, _) => self.array(lines(batch)?),
            (Format::Ndjson | Format::Arrow, _) => lines(batch)?,
        };
        self.rows += batch.num_rows();
        Ok(bytes.into())
    }

    /// The bytes after the last batch.
    pub(crate) fn end(mut self) -> Result<Bytes, ArrowError> {
        Ok(match (self.format, self.arrow.take()) {
            (Format::Arrow, Some(writer)) => writer.into_inner()?.into(),
            (Format::Json, _) => Bytes::from_static(b"]\n"),
            _ => Bytes::new(),
        })
    }

    /// Lines as elements of an array: a line feed in JSON text always stands between lines.
    fn array(&self, lines: Vec<u8>) -> Vec<u8> {
        let mut out = Vec::with_capacity(lines.len() + 2);
        if self.rows > 0 && !lines.is_empty() {
            out.extend_from_slice(b",\n");
        }
        let lines = lines.strip_suffix(b"\n").unwrap_or(&lines);
        for byte in lines {
            if *byte == b'\n' {
                out.push(b',');
            }
            out.push(*byte);
        }
        out
    }
}

fn lines(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::LineDelimited>(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    Ok(writer.into_inner())
}

fn csv(batch: &RecordBatch, header: bool) -> Result<Vec<u8>, ArrowError> {
    let flat = text::batch(batch, DataType::is_nested)?;
    let mut writer = arrow::csv::WriterBuilder::new()
        .with_header(header)
        .build(Vec::new());
    writer.write(&flat)?;
    Ok(writer.into_inner())
}
