//! How fast files are read, beside plain loops over the same bytes: `read [MB]`, made NDJSON, default 200 MB.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use files::FileSource;
use flate2::bufread::MultiGzDecoder;
use flow::{Element, Source, Timestamp};
use serde::Deserialize;
use store::Progress;

/// What a job's epoch asks for.
const BYTES_MAX: usize = 8 << 20;

#[derive(Clone, Deserialize)]
#[expect(dead_code, reason = "only read")]
struct View {
    time: i64,
    user: String,
    page: String,
    bytes: u64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mb: usize = std::env::args().nth(1).map_or(Ok(200), |text| text.parse())?;
    let folder = tempfile::tempdir()?;
    let (plain, packed) = (
        folder.path().join("views.json"),
        folder.path().join("views.json.gz"),
    );
    let bytes = write(&plain, mb << 20)?;
    std::io::copy(
        &mut File::open(&plain)?,
        &mut flate2::write::GzEncoder::new(File::create(&packed)?, flate2::Compression::fast()),
    )?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    for _ in 0..3 {
        let report = |name: &str, elements: usize, time: Duration| {
            println!(
                "{name:<22} {:>6.0} MB/s  elements={elements}",
                bytes as f64 / 1e6 / time.as_secs_f64()
            );
        };
        let (elements, time) = timed(|| lines(BufReader::new(File::open(&plain)?)))?;
        report("text, plain loop", elements, time);
        let source = || FileSource::text([&plain], |_| Timestamp(0));
        let (elements, time) = timed(|| runtime.block_on(read(&source()?)))?;
        report("text", elements, time);

        let (elements, time) = timed(|| json(BufReader::new(File::open(&plain)?)))?;
        report("NDJSON, plain loop", elements, time);
        let source = || FileSource::ndjson([&plain], |view: &View| Timestamp(view.time));
        let (elements, time) = timed(|| runtime.block_on(read(&source()?)))?;
        report("NDJSON", elements, time);

        let gz = || {
            BufReader::new(MultiGzDecoder::new(BufReader::new(
                File::open(&packed).expect("it was written"),
            )))
        };
        let (elements, time) = timed(|| json(gz()))?;
        report("NDJSON gz, plain loop", elements, time);
        let source = || FileSource::ndjson([&packed], |view: &View| Timestamp(view.time));
        let (elements, time) = timed(|| runtime.block_on(read(&source()?)))?;
        report("NDJSON gz", elements, time);
    }
    Ok(())
}

type Counted = Result<usize, Box<dyn std::error::Error>>;

fn timed(run: impl FnOnce() -> Counted) -> Result<(usize, Duration), Box<dyn std::error::Error>> {
    let began = Instant::now();
    let elements = run()?;
    Ok((elements, began.elapsed()))
}

async fn read<T: Element>(source: &impl Source<T>) -> Counted {
    let (mut at, mut elements) = (Progress::default(), 0);
    while let Some(slices) = source.read(&at, None, BYTES_MAX).await? {
        for slice in slices {
            at.advance(&slice.part, slice.next);
            elements += std::hint::black_box(slice.items).len();
        }
    }
    Ok(elements)
}

/// Each line as a `String` of its own, gathered as a source's slices are.
fn lines(file: impl BufRead) -> Counted {
    let (mut items, mut bytes, mut elements) = (Vec::new(), 0, 0);
    for line in file.lines() {
        let line = line?;
        bytes += line.len();
        items.push((Timestamp(0), line));
        if bytes > BYTES_MAX {
            elements += std::hint::black_box(std::mem::take(&mut items)).len();
            bytes = 0;
        }
    }
    Ok(elements + items.len())
}

fn json(mut file: impl BufRead) -> Counted {
    let (mut items, mut bytes, mut elements, mut line) = (Vec::new(), 0, 0, Vec::new());
    while file.read_until(b'\n', &mut line)? > 0 {
        let view: View = serde_json::from_slice(&line)?;
        bytes += line.len();
        items.push((Timestamp(view.time), view));
        if bytes > BYTES_MAX {
            elements += std::hint::black_box(std::mem::take(&mut items)).len();
            bytes = 0;
        }
        line.clear();
    }
    Ok(elements + items.len())
}

fn write(path: &Path, bytes_max: usize) -> std::io::Result<usize> {
    let mut file = BufWriter::new(File::create(path)?);
    let (mut bytes, mut state) = (0, 1u64);
    while bytes < bytes_max {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (user, page) = ((state >> 40) % 10_000, (state >> 30) % 1_000);
        let line = format!(
            "{{\"time\":{bytes},\"user\":\"user-{user}\",\"page\":\"/pages/about-the-shore/{page}.html\",\"agent\":\
             \"Mozilla/5.0 (X11; Linux x86_64)\",\"bytes\":{},\"referrer\":null}}\n",
            state >> 44
        );
        file.write_all(line.as_bytes())?;
        bytes += line.len();
    }
    file.flush()?;
    Ok(bytes)
}
