//! How fast the log takes batches of 64 KiB: rate and time to the ack, by appends in flight, and how fast it is
//! read back. `cargo run --release -p queue --example append -- [folder] [MiB a row]`

use std::io::Write;
use std::time::{Duration, Instant};

use bytes::Bytes;
use event::{Batch, DatasetName};
use futures::stream::{FuturesUnordered, StreamExt};
use queue::laws::batch;
use queue::{LogOptions, LogQueue, Offset, Partition, Queue};

const BATCH_BYTES: usize = 64 << 10;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args
        .next()
        .map_or_else(|| std::env::temp_dir().join("queue-append"), Into::into);
    let mebibytes: usize = args.next().map_or(Ok(512), |text| text.parse())?;
    let (queue, recovery) = LogQueue::open(&folder, LogOptions::default())?;
    let mut out = std::io::stdout();
    writeln!(out, "found {} batches in {}", recovery.batches, folder.display())?;
    let payload = Bytes::from(
        (0..BATCH_BYTES)
            .map(|i| ((i * 31) >> 3) as u8)
            .collect::<Vec<_>>(),
    );
    for in_flight in [1, 16, 64] {
        let dataset: DatasetName = format!("bench_{in_flight}_{}", std::process::id()).parse()?;
        queue.create(&dataset, 1).await?;
        let batches = (mebibytes << 20) / BATCH_BYTES;
        let start = Instant::now();
        let mut times = append(&queue, &dataset, &payload, (batches, in_flight)).await?;
        let rate = rate(batches, start.elapsed());
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        writeln!(
            out,
            "append in_flight={in_flight} MB/s={rate:.0} p50={:?} p99={:?} p99.9={:?}",
            at(0.5),
            at(0.99),
            at(0.999)
        )?;
        let start = Instant::now();
        let (mut from, mut read) = (0, 0);
        while read < batches {
            let records = queue.read(&dataset, Partition(0), Offset(from), 1 << 20).await?;
            read += records.len();
            from += records.len() as u64;
        }
        writeln!(out, "read MB/s={:.0}", self::rate(batches, start.elapsed()))?;
    }
    Ok(())
}

async fn append(
    queue: &LogQueue,
    dataset: &DatasetName,
    payload: &Bytes,
    (batches, in_flight): (usize, usize),
) -> queue::Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(batches);
    let mut flying = FuturesUnordered::new();
    for sequence in 0..batches as u64 {
        let next = Batch {
            payload: payload.clone(),
            ..batch(dataset, 1, 0, sequence)
        };
        let start = Instant::now();
        let answer = queue.append(next);
        flying.push(async move { answer.await.map(|_| start.elapsed()) });
        if flying.len() == in_flight
            && let Some(time) = flying.next().await
        {
            times.push(time?);
        }
    }
    while let Some(time) = flying.next().await {
        times.push(time?);
    }
    Ok(times)
}

fn rate(batches: usize, time: Duration) -> f64 {
    (batches * BATCH_BYTES) as f64 / 1e6 / time.as_secs_f64()
}
