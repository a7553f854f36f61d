//! How fast the log takes batches, beside a bare loop on the same disk: a file with room made ahead, the same
//! records, the same bytes in flight, one `fdatasync` a group. Then how long it takes to open logs of 1, 10 and
//! 100 segments, and to append to them.
//!
//! `cargo run --release -p queue --example append -- [folder] [MiB a row] [rounds]`. The two are measured in
//! turns; rates are medians over the rounds, since disks are shared and noisy.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use event::{Batch, DatasetName};
use futures::stream::{FuturesUnordered, StreamExt};
use queue::laws::batch;
use queue::{LogOptions, LogQueue, Offset, Partition, Queue};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Bytes of a batch, and of the batches that are on their way at a time.
const ROWS: [(usize, usize); 6] = [
    (64 << 10, 64 << 10),
    (64 << 10, 1 << 20),
    (64 << 10, 4 << 20),
    (64 << 10, 16 << 20),
    (4 << 10, 1 << 20),
    (1 << 10, 1 << 20),
];

/// One row of one round: MB/s and the times from append to durable.
struct Measured {
    rate: f64,
    times: Vec<Duration>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let folder: PathBuf = args
        .next()
        .map_or_else(|| std::env::temp_dir().join("queue-append"), Into::into);
    let mebibytes: usize = args.next().map_or(Ok(128), |text| text.parse())?;
    let rounds: usize = args.next().map_or(Ok(5), |text| text.parse())?;
    fs::create_dir_all(&folder)?;
    let mut out = std::io::stdout();
    for (size, in_flight) in ROWS {
        let count = ((mebibytes << 20) / size).min(200_000);
        let (mut allocated, mut zeroed, mut log) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds.max(1) {
            let path = folder.join("bare");
            allocated.push(bare(&path, Room::Allocated, size, in_flight, count)?);
            zeroed.push(bare(&path, Room::Zeroed, size, in_flight, count)?);
            log.push(appended(&folder.join("log"), size, in_flight, count).await?);
        }
        let rates = [&allocated, &zeroed, &log].map(|rounds| median(rounds));
        writeln!(
            out,
            "bytes={size} in_flight={in_flight}\n  bare, allocated {:.0} MB/s {}\n  bare, zeroed {:.0} MB/s {}\n  \
             log {:.0} MB/s {}: {:.2} and {:.2} of them",
            rates[0],
            quantiles(allocated),
            rates[1],
            quantiles(zeroed),
            rates[2],
            quantiles(log),
            rates[2] / rates[0],
            rates[2] / rates[1],
        )?;
    }
    for segments in [1, 10, 100] {
        opened(&folder.join("log"), segments, &mut out).await?;
    }
    fs::remove_dir_all(&folder)?;
    Ok(())
}

fn payload(size: usize) -> Bytes {
    (0..size).map(|i| ((i * 31) >> 3) as u8).collect()
}

/// How room is made ahead.
#[derive(Clone, Copy)]
enum Room {
    /// Blocks are reserved: the first write of each still changes what the file system knows of it.
    Allocated,
    /// Zeros are written: a sync writes nothing but data.
    Zeroed,
}

/// Groups of `in_flight` bytes, each written and synced.
fn bare(path: &Path, room: Room, size: usize, in_flight: usize, count: usize) -> Result<Measured> {
    let file = File::create(path)?;
    let length = (size * count) as u64;
    match room {
        Room::Allocated => rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, length)?,
        Room::Zeroed => {
            let zeros = vec![0; 1 << 20];
            for at in (0..length).step_by(zeros.len()) {
                file.write_all_at(&zeros[..zeros.len().min((length - at) as usize)], at)?;
            }
        }
    }
    file.sync_all()?;
    let group = (in_flight / size).max(1);
    let bytes = payload(size).repeat(group);
    let mut times = Vec::with_capacity(count);
    let start = Instant::now();
    for first in (0..count).step_by(group) {
        let begun = Instant::now();
        let records = group.min(count - first);
        file.write_all_at(&bytes[..records * size], (first * size) as u64)?;
        file.sync_data()?;
        times.extend(std::iter::repeat_n(begun.elapsed(), records));
    }
    let rate = rate(size * count, start.elapsed());
    drop(file);
    fs::remove_file(path)?;
    Ok(Measured { rate, times })
}

async fn appended(path: &Path, size: usize, in_flight: usize, count: usize) -> Result<Measured> {
    let (queue, _) = LogQueue::open(path, LogOptions::default())?;
    let dataset: DatasetName = "bench".parse()?;
    queue.create(&dataset, 1).await?;
    let payload = payload(size);
    let start = Instant::now();
    let mut times = Vec::with_capacity(count);
    let mut flying = FuturesUnordered::new();
    for sequence in 0..count as u64 {
        let next = filled(&dataset, sequence, &payload);
        let begun = Instant::now();
        let answer = queue.append(next);
        flying.push(async move { answer.await.map(|_| begun.elapsed()) });
        if flying.len() >= (in_flight / size).max(1)
            && let Some(time) = flying.next().await
        {
            times.push(time?);
        }
    }
    while let Some(time) = flying.next().await {
        times.push(time?);
    }
    let rate = rate(size * count, start.elapsed());
    drop(queue);
    fs::remove_dir_all(path)?;
    Ok(Measured { rate, times })
}

fn filled(dataset: &DatasetName, sequence: u64, payload: &Bytes) -> Batch {
    Batch {
        payload: payload.clone(),
        ..batch(dataset, 1, 0, sequence)
    }
}

/// Makes a log of so many segments of 1 MiB and measures opening it, one append and one read of its first batch.
async fn opened(path: &Path, segments: u64, out: &mut impl Write) -> Result<()> {
    let options = LogOptions {
        segment_bytes: 1 << 20,
        ..LogOptions::default()
    };
    let dataset: DatasetName = "bench".parse()?;
    let payload = payload(250 << 10);
    let count = segments * 4;
    {
        let (queue, _) = LogQueue::open(path, options.clone())?;
        queue.create(&dataset, 1).await?;
        for sequence in 0..count {
            queue.append(filled(&dataset, sequence, &payload)).await?;
        }
    }
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..9 {
        let start = Instant::now();
        let (queue, _) = LogQueue::open(path, options.clone())?;
        times[0].push(start.elapsed());
        let start = Instant::now();
        let small = payload.slice(..1 << 10);
        queue.append(filled(&dataset, count + round, &small)).await?;
        times[1].push(start.elapsed());
        let start = Instant::now();
        queue.read(&dataset, Partition(0), Offset(0), 1).await?;
        times[2].push(start.elapsed());
    }
    times.iter_mut().for_each(|times| times.sort_unstable());
    let [open, append, read] = times.map(|times| times[times.len() / 2]);
    writeln!(
        out,
        "segments={segments} open={open:?} append={append:?} first read={read:?}"
    )?;
    fs::remove_dir_all(path)?;
    Ok(())
}

fn rate(bytes: usize, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}

fn median(rounds: &[Measured]) -> f64 {
    let mut rates: Vec<_> = rounds.iter().map(|round| round.rate).collect();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn quantiles(rounds: Vec<Measured>) -> String {
    let mut times: Vec<_> = rounds.into_iter().flat_map(|round| round.times).collect();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    format!("p50={:.2?} p99={:.2?}", at(0.5), at(0.99))
}
