//! Files of comma-separated values (RFC 4180): records are found by `csv-core`, and become elements by `csv`.

use std::sync::Arc;

use csv::ByteRecord;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use flow::{Error, ErrorKind, Result, Timestamp};
use serde::de::DeserializeOwned;

use crate::EventTime;
use crate::cursor::{Cursor, Format, Frame, Records, TextCursor, too_long};
use crate::malformed::Reason;
use crate::paths::DataFile;
use crate::text::Text;
use crate::time::timed;

/// How CSV is read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CsvOptions {
    /// Where the columns' names come from.
    pub columns: Columns,
    /// What stands between fields. Default `,`.
    pub delimiter: u8,
}

/// Where the names of columns come from; they are the names of the element's fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Columns {
    /// The first record of each file.
    #[default]
    Header,
    /// These, in each file; its first record is an element.
    Given(Vec<String>),
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            columns: Columns::default(),
            delimiter: b',',
        }
    }
}

type Decoded<T> = std::result::Result<(Timestamp, T), Reason>;
type DecodeRecord<T> = dyn Fn(&ByteRecord, &ByteRecord) -> Decoded<T> + Send + Sync;

/// Files of CSV.
pub(crate) struct Csv<T> {
    options: CsvOptions,
    /// From the fields, and the columns' names.
    decode: Arc<DecodeRecord<T>>,
}

impl<T: DeserializeOwned> Csv<T> {
    pub(crate) fn new<R: EventTime>(
        options: CsvOptions,
        time: impl Fn(&T) -> R + Send + Sync + 'static,
    ) -> Self {
        let decode = move |fields: &ByteRecord, columns: &ByteRecord| record(fields, columns, &time);
        Self {
            options,
            decode: Arc::new(decode),
        }
    }
}

impl<T: 'static> Format<T> for Csv<T> {
    fn open(&self, file: &Arc<DataFile>, offset: u64, record_bytes_max: usize) -> Result<Box<dyn Cursor<T>>> {
        let mut text = Text::open(file)?;
        let mut records = CsvRecords {
            parser: ReaderBuilder::new().delimiter(self.options.delimiter).build(),
            columns: ByteRecord::new(),
            output: vec![0; 1 << 10],
            ends: vec![0; 1 << 6],
            fields: ByteRecord::new(),
            decode: self.decode.clone(),
        };
        match &self.options.columns {
            Columns::Given(names) => records.columns = ByteRecord::from(names.as_slice()),
            Columns::Header => records.read_header(&mut text, record_bytes_max)?,
        }
        text.skip_to(offset)?;
        Ok(Box::new(TextCursor {
            text,
            records,
            record_bytes_max,
        }))
    }
}

struct CsvRecords<T> {
    parser: Reader,
    columns: ByteRecord,
    /// The fields without quotes, one after the other, and where each ends.
    output: Vec<u8>,
    ends: Vec<usize>,
    fields: ByteRecord,
    decode: Arc<DecodeRecord<T>>,
}

impl<T> CsvRecords<T> {
    fn read_header(&mut self, text: &mut Text, bytes_max: usize) -> Result<()> {
        match self.cut(text, bytes_max)? {
            None => Ok(()),
            Some(Frame::Whole(bytes)) => {
                text.consume(bytes);
                std::mem::swap(&mut self.columns, &mut self.fields);
                Ok(())
            }
            Some(Frame::Broken(reason)) => {
                let text = format!(
                    "the header cannot be read: {} file={}",
                    reason.text,
                    text.file.path.display()
                );
                Err(Error::new(ErrorKind::Invalid, text))
            }
        }
    }

    /// Finds the next record and its fields. Blank lines before it are passed.
    fn cut(&mut self, text: &mut Text, bytes_max: usize) -> Result<Option<Frame>> {
        while matches!(text.held().first(), Some(b'\n' | b'\r')) || text.held().is_empty() {
            if text.held().is_empty() {
                if !text.fill()? {
                    return Ok(None);
                }
            } else {
                text.consume(1);
            }
        }
        self.parser.reset();
        let (mut read, mut written, mut count) = (0, 0, 0);
        let mut ended = false;
        loop {
            // A last line without its end is given one: what ends no record then is in quotes.
            let input = if ended { b"\n" } else { &text.held()[read..] };
            let (output, ends) = (&mut self.output[written..], &mut self.ends[count..]);
            let (result, bytes_in, bytes_out, fields) = self.parser.read_record(input, output, ends);
            (written, count) = (written + bytes_out, count + fields);
            if !ended {
                read += bytes_in;
            }
            match result {
                ReadRecordResult::Record | ReadRecordResult::End => break,
                ReadRecordResult::OutputFull => self.output.resize(self.output.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::InputEmpty if read > bytes_max => break,
                ReadRecordResult::InputEmpty if ended => {
                    return Ok(Some(Frame::Broken(Reason::new(
                        "a quote opens in it that is never closed",
                    ))));
                }
                ReadRecordResult::InputEmpty => ended = !text.fill()?,
            }
        }
        if read > bytes_max {
            return Ok(Some(Frame::Broken(too_long(bytes_max))));
        }
        // The parser ends a record at the carriage return; the line feed after it is of the same end.
        let more = read < text.held().len() || text.fill()?;
        if more && text.held()[read - 1..].starts_with(b"\r\n") {
            read += 1;
        }
        self.fields.clear();
        let mut begin = 0;
        for end in &self.ends[..count] {
            self.fields.push_field(&self.output[begin..*end]);
            begin = *end;
        }
        Ok(Some(Frame::Whole(read)))
    }
}

impl<T> Records<T> for CsvRecords<T> {
    fn frame(&mut self, text: &mut Text, bytes_max: usize) -> Result<Option<Frame>> {
        self.cut(text, bytes_max)
    }

    fn decode(&mut self, _raw: &[u8]) -> Option<Decoded<T>> {
        Some((self.decode)(&self.fields, &self.columns))
    }
}

/// A record as an element.
fn record<T: DeserializeOwned, R: EventTime>(
    fields: &ByteRecord,
    columns: &ByteRecord,
    time: &impl Fn(&T) -> R,
) -> Decoded<T> {
    if fields.len() != columns.len() {
        return Err(Reason::new(format_args!(
            "it has another number of fields than there are columns fields={} columns={}",
            fields.len(),
            columns.len()
        )));
    }
    match fields.deserialize(Some(columns)) {
        Ok(element) => timed(element, time),
        Err(error) => Err(reason(&error, columns)),
    }
}

fn reason(error: &csv::Error, columns: &ByteRecord) -> Reason {
    let csv::ErrorKind::Deserialize { err, .. } = error.kind() else {
        return Reason::new(error);
    };
    let column = err.field().and_then(|field| columns.get(field as usize));
    match column {
        Some(name) => Reason::new(format_args!(
            "{} column={:?}",
            err.kind(),
            String::from_utf8_lossy(name)
        )),
        None => Reason::new(err.kind()),
    }
}
