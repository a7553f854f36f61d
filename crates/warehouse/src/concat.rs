//! Files one after the other in a new one, row group by row group, as they are encoded: merging without decoding.

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use bytes::{Buf, Bytes};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{
    PageIndexPolicy, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader,
};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::writer::SerializedFileWriter;

use crate::encode;
use crate::limits::COPIED_GROUP_BYTES_MIN;
use crate::upload::Upload;

/// A file with what its footer tells.
pub(crate) struct Source<R> {
    reader: R,
    metadata: ParquetMetaData,
}

impl<R: AsyncFileReader> Source<R> {
    /// Reads the footer of a file of so many bytes.
    pub(crate) async fn open(mut reader: R, bytes: u64) -> Result<Self> {
        let metadata = ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Optional)
            .with_metadata_options(Some(
                ParquetMetaDataOptions::new().with_encoding_stats_as_mask(false),
            ));
        let metadata = metadata.load_and_finish(&mut reader, bytes).await?;
        Ok(Self { reader, metadata })
    }
}

/// Whether the row groups of files can be those of a file with these columns: they have the columns, as they are
/// encoded, and are large enough on average that rows decoded and encoded again would be in hardly fewer groups.
pub(crate) fn fit<R>(sources: &[Source<R>], schema: &SchemaRef) -> Result<bool> {
    let groups = || sources.iter().flat_map(|source| source.metadata.row_groups());
    let bytes = groups().map(|group| u64::try_from(group.compressed_size()).unwrap_or(0));
    let count = groups().count() as u64;
    if count == 0 || bytes.sum::<u64>() < count * COPIED_GROUP_BYTES_MIN {
        return Ok(false);
    }
    let columns = ArrowSchemaConverter::new().convert(schema)?;
    let same = |source: &Source<R>| {
        // With an index in one file and none in another the writer would panic.
        source.metadata.offset_index().is_some()
            && source.metadata.file_metadata().schema_descr().root_schema() == columns.root_schema()
    };
    Ok(sources.iter().all(same))
}

/// Why no file was written: an error of the source at an index, or of the upload.
pub(crate) struct Failed {
    pub(crate) of: Option<usize>,
    pub(crate) error: ParquetError,
}

impl From<ParquetError> for Failed {
    fn from(error: ParquetError) -> Self {
        Self { of: None, error }
    }
}

/// Writes the row groups of files that [`fit`]; gives the rows. `go_on` is asked before each group.
pub(crate) async fn write<R: AsyncFileReader>(
    sources: Vec<Source<R>>,
    schema: &SchemaRef,
    upload: &mut Upload,
    mut go_on: impl FnMut() -> bool,
) -> Result<u64, Failed> {
    let mut properties = encode::properties(schema).build();
    add_encoded_arrow_schema_to_metadata(schema, &mut properties);
    let columns = ArrowSchemaConverter::new().convert(schema)?;
    let mut writer = SerializedFileWriter::new(Vec::new(), columns.root_schema_ptr(), Arc::new(properties))?;
    let mut rows = 0;
    for (index, mut source) in sources.into_iter().enumerate() {
        let of_source = |error| Failed {
            of: Some(index),
            error,
        };
        for group in 0..source.metadata.num_row_groups() {
            if !go_on() {
                return Err(ParquetError::General("nobody waits for it".to_owned()).into());
            }
            let range = place(&source.metadata, group);
            let bytes = source.reader.get_bytes(range.clone()).await.map_err(of_source)?;
            writer.inner_mut().reserve(bytes.len());
            let encoded = EncodedGroup {
                start: range.start,
                bytes,
            };
            rows += append(&mut writer, &source.metadata, group, &encoded).map_err(of_source)?;
            drop(encoded);
            writer.flush().map_err(ParquetError::from)?;
            upload.put(std::mem::take(writer.inner_mut()).into()).await?;
        }
    }
    upload.put(writer.into_inner()?.into()).await?;
    upload.finish().await?;
    Ok(rows)
}

/// Where the column chunks of a row group are.
fn place(metadata: &ParquetMetaData, group: usize) -> Range<u64> {
    let chunks = metadata.row_group(group).columns().iter();
    let chunks = chunks.map(|column| column.byte_range());
    let ranges = chunks.map(|(start, length)| start..start + length);
    let both = |all: Range<u64>, one: Range<u64>| all.start.min(one.start)..all.end.max(one.end);
    ranges.reduce(both).unwrap_or_default()
}

fn append(
    writer: &mut SerializedFileWriter<Vec<u8>>,
    metadata: &ParquetMetaData,
    group: usize,
    encoded: &EncodedGroup,
) -> Result<u64> {
    let rows = metadata.row_group(group).num_rows() as u64;
    let mut written = writer.next_row_group()?;
    for (place, column) in metadata.row_group(group).columns().iter().enumerate() {
        let column_index = metadata.column_index().map(|index| index[group][place].clone());
        let offset_index = metadata.offset_index().map(|index| index[group][place].clone());
        let chunk = ColumnCloseResult {
            bytes_written: column.compressed_size() as u64,
            rows_written: rows,
            metadata: column.clone(),
            bloom_filter: None,
            column_index,
            offset_index,
        };
        written.append_column(encoded, chunk)?;
    }
    written.close()?;
    Ok(rows)
}

/// The bytes of a row group, found by their places in its file.
struct EncodedGroup {
    start: u64,
    bytes: Bytes,
}

impl EncodedGroup {
    fn from(&self, at: u64) -> Result<Bytes> {
        let skipped = at.checked_sub(self.start).map(|skipped| skipped as usize);
        skipped
            .filter(|skipped| *skipped <= self.bytes.len())
            .map(|skipped| self.bytes.slice(skipped..))
            .ok_or_else(|| ParquetError::EOF(format!("no byte {at} in the row group")))
    }
}

impl Length for EncodedGroup {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for EncodedGroup {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let mut bytes = vec![0; length];
        self.get_read(start)?.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}
