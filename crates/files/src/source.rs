//! Files as a source: which parts are read, by how many tasks, and what of it is kept between reads.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use flow::{Element, Error, ErrorKind, Result, Slice, Source, Timestamp};
use serde::de::DeserializeOwned;
use store::Progress;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::csv::{Csv, CsvOptions};
use crate::cursor::{Bounds, Chunk, Cursor, Format, Record, panicked};
use crate::limits::{FILES_AT_ONCE, RECORD_BYTES_MAX};
use crate::lines::Lines;
use crate::malformed::Malformed;
use crate::parquet::Parquet;
use crate::paths::{DataFile, expand};
use crate::{EventTime, lines};

/// How files are read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileOptions {
    /// The longest record, in bytes; a longer one is malformed. Default 16 MiB.
    pub record_bytes_max: usize,
    /// Files that one `read` takes elements from, each on a thread of its own. Default 8.
    pub files_at_once: usize,
    /// What becomes of a job that has read a file which is no longer there.
    pub gone: Gone,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            record_bytes_max: RECORD_BYTES_MAX,
            files_at_once: FILES_AT_ONCE,
            gone: Gone::default(),
        }
    }
}

/// What becomes of a job whose progress names a file that is not among the source's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gone {
    /// It fails: the file may have been renamed, and would count twice.
    #[default]
    Fail,
    /// It goes on without the file, which was read and then deleted. A renamed file counts again.
    Passed,
}

/// A bounded source of `E`, read from files whose records are `T`: text, NDJSON, CSV or Parquet. `E` is `T`, or
/// after [`results`](FileSource::results) `Result<T, Malformed>`.
///
/// *Files.* Paths and patterns (`*`, `?`, `[…]`, `**`; hidden files only when named) are expanded once, when the
/// source is made. Text that is compressed with gzip or zstd is known by its first bytes, whatever its name.
///
/// *Parts and offsets.* Each file is a part, named by its path from the folder before the pattern's first wildcard
/// (`/data/2015/*/edits.json` gives `09-12/edits.json`; a path gives the file's name). So the folder may move. An offset
/// counts bytes of the decompressed text, and rows in Parquet. To go on, plain text and Parquet are opened at the offset;
/// compressed text is decompressed up to it.
///
/// *Between runs* files may be added (they are read), and grow by whole records (the new ones are read). A file that
/// became shorter, or in which no record begins at the offset, is `Corrupt`; one that is gone is `NotFound`, see [`Gone`].
/// Other changes before the offset are not noticed. A renamed file is another one.
///
/// *Order* is kept within a file. Several are read at once, the first `files_at_once` of those that are not done, by name.
///
/// *Malformed* records fail the reading, with an `Invalid` error that names file, line and column, unless they are
/// asked for as `results`.
///
/// *Cost.* A read holds about `bytes_max` bytes of records, and for each file a buffer of up to four times its longest
/// record, which is `record_bytes_max` at most. A read that is dropped goes on, and is what the next one takes.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let folder = tempfile::tempdir().unwrap();
/// # std::fs::write(folder.path().join("a.json"), "{\"page\":\"Wales\",\"time\":\"2015-09-12T00:46:58.771Z\"}\n").unwrap();
/// use std::sync::Arc;
/// use files::FileSource;
/// use flow::{Local, Producer, Source};
///
/// #[derive(Clone, Debug, serde::Deserialize)]
/// struct Edit { page: String, time: jiff::Timestamp }
///
/// let edits = FileSource::<Edit>::ndjson([folder.path().join("*.json")], |edit| edit.time)?;
/// let pages = Producer::<Local, Edit>::source(Arc::new(edits) as Arc<dyn Source<_>>).map(|edit| edit.page);
/// # let sink = flow::VecSink::default();
/// # let job = pages.write(Arc::new(sink.clone()) as Arc<dyn flow::Sink<_>>);
/// # Local::run("pages", &job, Default::default())?.join().await?;
/// # assert_eq!(sink.items()[0].1, "Wales");
/// # Ok::<_, flow::Error>(()) }).unwrap();
/// ```
pub struct FileSource<T, E = T> {
    files: Vec<Arc<DataFile>>,
    format: Arc<dyn Format<T>>,
    place: Arc<Place<T, E>>,
    options: FileOptions,
    state: Mutex<State<T, E>>,
}

/// What becomes of a record.
type Place<T, E> = dyn Fn(Record<T>) -> Result<(Timestamp, E)> + Send + Sync;

impl FileSource<String> {
    /// The lines of text files, without their ends (line feed, or carriage return and line feed). A line that is not
    /// UTF-8 is malformed.
    ///
    /// # Errors
    /// `NotFound` when there is no such file, `Invalid` when a path cannot be a source; the text says which.
    pub fn text<R: EventTime>(
        paths: impl IntoIterator<Item = impl AsRef<Path>>,
        time: impl Fn(&str) -> R + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::new(paths, Lines::new(move |line| Some(lines::text(line, &time))))
    }
}

impl<T: Element + DeserializeOwned> FileSource<T> {
    /// The values of files with one JSON value a line; blank lines are passed over.
    ///
    /// # Errors
    /// As [`text`](FileSource::text).
    pub fn ndjson<R: EventTime>(
        paths: impl IntoIterator<Item = impl AsRef<Path>>,
        time: impl Fn(&T) -> R + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::new(paths, Lines::new(move |line| lines::json(line, &time)))
    }

    /// The records of CSV files with a header: fields go to `T`'s fields by name, an empty one is `None`. A record with
    /// another number of fields is malformed, and so is a line that opens a quote which is never closed.
    ///
    /// # Errors
    /// As [`text`](FileSource::text).
    pub fn csv<R: EventTime>(
        paths: impl IntoIterator<Item = impl AsRef<Path>>,
        time: impl Fn(&T) -> R + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::csv_with(paths, CsvOptions::default(), time)
    }

    /// The records of CSV files with other columns or delimiters.
    ///
    /// # Errors
    /// As [`text`](FileSource::text).
    pub fn csv_with<R: EventTime>(
        paths: impl IntoIterator<Item = impl AsRef<Path>>,
        options: CsvOptions,
        time: impl Fn(&T) -> R + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::new(paths, Csv::new(options, time))
    }

    /// The rows of Parquet files: columns go to `T`'s fields by name, and only those that `T` has are read. Column
    /// types are those of `serde_arrow`; a time stamp in UTC is read as `jiff::Timestamp`, or a number in its own unit.
    ///
    /// # Errors
    /// As [`text`](FileSource::text).
    pub fn parquet<R: EventTime>(
        paths: impl IntoIterator<Item = impl AsRef<Path>>,
        time: impl Fn(&T) -> R + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::new(paths, Parquet::new(time))
    }
}

impl<T: Element> FileSource<T> {
    fn new(
        paths: impl IntoIterator<Item = impl AsRef<Path>>,
        format: impl Format<T> + 'static,
    ) -> Result<Self> {
        Ok(Self {
            files: expand(paths)?,
            format: Arc::new(format),
            place: Arc::new(|record| record.map_err(Error::from)),
            options: FileOptions::default(),
            state: Mutex::default(),
        })
    }

    /// The same with malformed records as elements, for the job to count or keep: nothing fails, nothing is lost.
    /// A malformed record has no time of its own, so `time` gives one; it has to be the same at each reading.
    pub fn results<R: EventTime>(
        self,
        time: impl Fn(&Malformed) -> R + Send + Sync + 'static,
    ) -> FileSource<T, std::result::Result<T, Malformed>> {
        let place = move |record: Record<T>| match record {
            Ok((at, element)) => Ok((at, Ok(element))),
            Err(malformed) => match time(&malformed).event_time() {
                Ok(at) => Ok((at, Err(malformed))),
                Err(text) => {
                    let text =
                        format!("a malformed record was given no event time: {text} record={malformed}");
                    Err(Error::new(ErrorKind::Invalid, text))
                }
            },
        };
        FileSource {
            files: self.files,
            format: self.format,
            place: Arc::new(place),
            options: self.options,
            state: Mutex::default(),
        }
    }
}

impl<T, E> FileSource<T, E> {
    /// How it reads.
    pub fn with_options(mut self, options: FileOptions) -> Self {
        self.options = options;
        self
    }

    /// The names of the parts, one a file, in the order in which they are read.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = &str> {
        self.files.iter().map(|file| file.part.as_str())
    }
}

/// What is kept between reads; all of it can be made again from a progress.
struct State<T, E> {
    /// By file: where it ends, once somebody was there.
    ends: HashMap<usize, u64>,
    /// Readings that have been started and not taken. Those that nobody asked for again fall out at the front.
    readings: VecDeque<Reading<T, E>>,
    /// Places in files, the newest last.
    idle: VecDeque<(usize, Box<dyn Cursor<T>>)>,
}

impl<T, E> Default for State<T, E> {
    fn default() -> Self {
        Self {
            ends: HashMap::new(),
            readings: VecDeque::new(),
            idle: VecDeque::new(),
        }
    }
}

/// What is to be read of a file.
#[derive(Clone, Copy, PartialEq)]
struct Request {
    file: usize,
    from: u64,
    until: u64,
}

struct Reading<T, E> {
    request: Request,
    task: JoinHandle<Result<Read<T, E>>>,
    /// What the task gave, from then on.
    done: Option<Result<Read<T, E>>>,
}

struct Read<T, E> {
    cursor: Box<dyn Cursor<T>>,
    items: Vec<(Timestamp, E)>,
    chunk: Chunk,
}

impl<T: Element, E: Element> FileSource<T, E> {
    /// What is not yet read: at most `files_at_once` files, by name.
    fn requests(
        &self,
        from: &Progress,
        until: Option<&Progress>,
        ends: &HashMap<usize, u64>,
    ) -> Result<Vec<Request>> {
        let mut requests = Vec::new();
        for (i, file) in self.files.iter().enumerate() {
            let request = Request {
                file: i,
                from: from.of(&file.part),
                until: until.map_or(u64::MAX, |until| until.of(&file.part)),
            };
            let end = ends.get(&i).copied().unwrap_or(u64::MAX);
            if request.from > end || (request.until > end && request.until < u64::MAX) {
                return Err(file.changed("it is shorter than the job's progress says"));
            }
            if request.from < request.until.min(end) {
                requests.push(request);
            }
            if requests.len() == self.options.files_at_once.max(1) {
                break;
            }
        }
        Ok(requests)
    }

    /// Fails when there is something to be read of a file that is not there, or something was and that matters.
    fn check_gone(&self, from: &Progress, until: Option<&Progress>) -> Result<()> {
        let is_there = |part: &str| {
            self.files
                .binary_search_by(|file| file.part.as_str().cmp(part))
                .is_ok()
        };
        let asked = until.into_iter().flat_map(|until| &until.0);
        let lacking = asked.filter(|(part, offset)| **offset > from.of(part));
        let passed = from.0.iter().filter(|_| self.options.gone == Gone::Fail);
        for (part, offset) in lacking.chain(passed) {
            if *offset > 0 && !is_there(part) {
                let text = format!(
                    "the job has read a file that is not there: was it renamed? put it back, or allow it with \
                     `FileOptions::gone` part={part:?} offset={offset}"
                );
                return Err(Error::new(ErrorKind::NotFound, text));
            }
        }
        Ok(())
    }

    /// The reading of a request: the one that is under way, or a new one.
    fn reading(&self, state: &mut State<T, E>, request: Request, bytes_max: usize) -> Reading<T, E> {
        if let Some(found) = state
            .readings
            .iter()
            .position(|reading| reading.request == request)
            && let Some(reading) = state.readings.remove(found)
        {
            return reading;
        }
        let (format, place) = (self.format.clone(), self.place.clone());
        let file = self.files[request.file].clone();
        let record_bytes_max = self.options.record_bytes_max;
        let found = state
            .idle
            .iter()
            .position(|(file, cursor)| (*file, cursor.offset()) == (request.file, request.from));
        let cursor = found.and_then(|found| state.idle.remove(found));
        let bounds = Bounds {
            until: request.until,
            bytes_max,
        };
        let task = tokio::task::spawn_blocking(move || {
            let mut cursor = match cursor {
                Some((_, cursor)) => cursor,
                None => format.open(&file, request.from, record_bytes_max)?,
            };
            let mut items = Vec::new();
            let chunk = cursor.read(bounds, &mut |record| {
                items.push(place(record)?);
                Ok(())
            })?;
            Ok(Read { cursor, items, chunk })
        });
        Reading {
            request,
            task,
            done: None,
        }
    }

    /// Notes what a reading has left behind, and gives what it read.
    fn take(&self, state: &mut State<T, E>, request: Request, read: Read<T, E>) -> Result<Option<Slice<E>>> {
        let Read { cursor, items, chunk } = read;
        let next = cursor.offset();
        if chunk.ended {
            state.ends.insert(request.file, next);
            if request.until < u64::MAX && next < request.until {
                return Err(self.files[request.file].changed("it is shorter than the job's progress says"));
            }
        } else {
            state.idle.push_back((request.file, cursor));
            while state.idle.len() > 2 * self.options.files_at_once.max(1) {
                state.idle.pop_front();
            }
        }
        Ok((next > request.from).then(|| Slice {
            part: self.files[request.file].part.clone(),
            next,
            items,
            bytes: chunk.bytes,
        }))
    }
}

#[async_trait]
impl<T: Element, E: Element> Source<E> for FileSource<T, E> {
    async fn start(&self) -> Result<Progress> {
        Ok(Progress::default())
    }

    async fn read(
        &self,
        from: &Progress,
        until: Option<&Progress>,
        bytes_max: usize,
    ) -> Result<Option<Vec<Slice<E>>>> {
        self.check_gone(from, until)?;
        let mut state = self.state.lock().await;
        let state = &mut *state;
        loop {
            let requests = self.requests(from, until, &state.ends)?;
            if requests.is_empty() {
                return Ok(None);
            }
            let share = bytes_max / requests.len();
            // Those of this read go to the back, where they stay if it is dropped.
            for request in &requests {
                let reading = self.reading(state, *request, share);
                state.readings.push_back(reading);
            }
            while state.readings.len() > 2 * self.options.files_at_once.max(1) {
                state.readings.pop_front();
            }
            let begin = state.readings.len() - requests.len();
            for reading in state.readings.range_mut(begin..) {
                if reading.done.is_none() {
                    let done = (&mut reading.task).await;
                    let file = &self.files[reading.request.file];
                    reading.done = Some(done.unwrap_or_else(|error| Err(panicked(file, error))));
                }
            }
            let mut slices = Vec::new();
            for reading in state.readings.split_off(begin) {
                let read = reading.done.expect("each was waited for")?;
                slices.extend(self.take(state, reading.request, read)?);
            }
            if !slices.is_empty() {
                return Ok(Some(slices));
            }
        }
    }
}
