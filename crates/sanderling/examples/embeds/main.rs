//! Prints the images of a web log that other sites embed most, by hour: `embeds LOG` (plain or gzip).

mod job;

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use sanderling::prelude::*;

use job::{Request, Shown, TopImages, embeds};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: embeds LOG")?;
    let file = std::fs::File::open(&path)?;
    let log: Box<dyn Read> = if path.ends_with(".gz") {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let lines: Vec<String> = BufReader::new(log).lines().collect::<Result<_, _>>()?;
    let requests: Arc<dyn Source<Request>> = Arc::new(VecSource::new(
        lines.iter().filter_map(|line| Request::parse(line)),
    ));

    let hours = Batcher::every(Duration::from_secs(3600))?;
    let images = MemoryStore::<_, Shown>::new();
    let top = MemoryStore::<_, TopImages>::new();
    let job = embeds::<Local>(
        &Producer::source(requests),
        &hours,
        Arc::new(images.clone()) as Arc<dyn Store<_, _>>,
        Arc::new(top.clone()) as Arc<dyn Store<_, _>>,
    );
    Local::run("embeds", &job, JobOptions::default())?.join().await?;

    for (hour, sketch) in top.scan(None, 1_000_000).await? {
        println!("{}", jiff::Timestamp::from_millisecond(hours.start_of(hour).0)?);
        for (image, times) in sketch.heavy() {
            let shown = images.multi_get(&[(image.clone(), hour)]).await?;
            let sites = shown
                .iter()
                .flatten()
                .map(|shown| shown.distinct_sites.estimate().round());
            println!("  {times:>4}  {image}  sites={}", sites.sum::<f64>());
        }
    }
    Ok(())
}
