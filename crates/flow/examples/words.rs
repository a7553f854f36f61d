//! Counts the words of a made text of 50 MB, once as a job and once with a plain loop, and compares.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use flow::{JobOptions, Local, Producer, Source, Timestamp, VecSource};
use store::{MemoryStore, Store};

const TEXT_BYTES: usize = 50 << 20;
const LINE_BYTES: usize = 200;

/// Lines of words whose frequencies fall off like those of a language.
fn lines() -> Vec<(Timestamp, Arc<str>)> {
    let (mut lines, mut bytes, mut state) = (Vec::new(), 0, 1u64);
    while bytes < TEXT_BYTES {
        let mut line = String::with_capacity(LINE_BYTES + 16);
        while line.len() < LINE_BYTES {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let uniform = (state >> 11) as f64 / (1u64 << 53) as f64;
            let rank = (100_000f64.powf(uniform)) as u64;
            line.push_str(&format!("word{rank} "));
        }
        bytes += line.len();
        lines.push((Timestamp(lines.len() as i64), Arc::from(line)));
    }
    lines
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> flow::Result<()> {
    let lines = lines();
    for _ in 0..3 {
        let began = Instant::now();
        let mut plain = HashMap::<String, u64>::new();
        for (_, line) in &lines {
            for word in line.split_ascii_whitespace() {
                *plain.entry(word.to_owned()).or_default() += 1;
            }
        }
        let plain_time = began.elapsed();

        let source: Arc<dyn Source<Arc<str>>> = Arc::new(VecSource::new(lines.iter().cloned()));
        let counts = MemoryStore::<String, u64>::new();
        let words = Producer::<Local, _>::source(source).flat_map_with(|line: Arc<str>, emit| {
            line.split_ascii_whitespace()
                .for_each(|word| emit((word.to_owned(), 1)));
        });
        let tail = words.sum_by_key(Arc::new(counts.clone()) as Arc<dyn Store<String, u64>>);
        let began = Instant::now();
        // The lines weigh 24 bytes each here, not what their text takes: this is 20 MB of text an epoch.
        let options = JobOptions {
            epoch_bytes_max: 24 * 100_000,
            parallelism: 2,
            ..JobOptions::default()
        };
        let mut job = Local::run("words", &tail, options)?;
        job.join().await?;
        let job_time = began.elapsed();

        let counted: HashMap<String, u64> = counts.entries().into_iter().collect();
        assert_eq!(counted, plain);
        let ratio = plain_time.as_secs_f64() / job_time.as_secs_f64();
        println!(
            "words={} keys={} plain={plain_time:.0?} job={job_time:.0?} epochs={} plain/job={ratio:.2}",
            plain.values().sum::<u64>(),
            plain.len(),
            job.status().epochs,
        );
    }
    Ok(())
}
