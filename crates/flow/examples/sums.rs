//! What a sum costs, beside loops written by hand: words of a made text, and 10 million numbers as keys.
//!
//! `cargo run --release -p flow --example sums [-- ROUNDS [WHICH]]`. Each row runs in a process of its own, by turns;
//! medians are printed, and how many times as fast, and with how many times less processor time, as the row beside it.
//! WHICH is `words`, `keys` or `epochs`. `-- row NAME [MILLIONS]` runs one row once.

use std::collections::HashMap;
use std::fmt::Write;
use std::hash::Hash;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use flow::{Element, JobOptions, Key, Local, Producer, Slice, Source, Timestamp, VecSource};
use smol_str::SmolStr;
use store::{MemoryStore, Progress, Store};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Counts<K> = HashMap<K, u64, foldhash::fast::RandomState>;

const TEXT_BYTES: usize = 200 << 20;
const WORDS: f64 = 1_000_000.0;
const LINE_BYTES: usize = 200;
/// Numbers come in blocks, as they would in pages of a file.
const BLOCK: u64 = 1_000;
const KEYS: u64 = 10_000_000;
const KEYED_MILLIONS: u64 = 50;

/// The rows, each with the one that it is compared with.
const ROWS: [(&str, &str); 13] = [
    ("words loop 1", "words loop 2"),
    ("words loop 2", "words loop 2"),
    ("words local 1", "words loop 2"),
    ("words local 2", "words loop 2"),
    ("words loop 2 inline", "words loop 2 inline"),
    ("words local 2 inline", "words loop 2 inline"),
    ("keys loop 1", "keys loop 2"),
    ("keys loop 2", "keys loop 2"),
    ("keys local 1", "keys loop 2"),
    ("keys local 2", "keys loop 2"),
    ("epochs of 10", "epochs of 10"),
    ("epochs of 100", "epochs of 100"),
    ("epochs of 1000", "epochs of 1000"),
];

/// The next of a sequence of 64 even bits (SplitMix64; Steele, Lea and Flood, 2014).
fn mixed(n: u64) -> u64 {
    let n = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

/// Lines of words of which the n-th is as frequent as 1/n.
fn lines() -> Vec<(Timestamp, Arc<str>)> {
    let (mut lines, mut bytes, mut drawn) = (Vec::new(), 0, 0);
    while bytes < TEXT_BYTES {
        let mut line = String::with_capacity(LINE_BYTES + 16);
        while line.len() < LINE_BYTES {
            drawn += 1;
            let uniform = (mixed(drawn) >> 11) as f64 / (1u64 << 53) as f64;
            let rank = WORDS.powf(uniform) as u64;
            write!(line, "wo{rank} ").expect("a string takes all");
        }
        bytes += line.len();
        lines.push((Timestamp(lines.len() as i64), Arc::from(line)));
    }
    lines
}

fn blocks(millions: u64) -> Vec<(Timestamp, u64)> {
    let blocks = 0..millions * 1_000_000 / BLOCK;
    blocks.map(|block| (Timestamp(block as i64), block)).collect()
}

fn pairs(block: u64) -> impl Iterator<Item = (u64, u64)> {
    (block * BLOCK..(block + 1) * BLOCK).map(|n| (mixed(mixed(n) % KEYS), n))
}

/// A vector whose elements weigh what they stand for.
struct Weighed<T> {
    items: VecSource<T>,
    /// Of one element, about.
    bytes: usize,
}

#[async_trait]
impl<T: Element> Source<T> for Weighed<T> {
    async fn start(&self) -> flow::Result<Progress> {
        self.items.start().await
    }

    async fn read(
        &self,
        from: &Progress,
        until: Option<&Progress>,
        bytes_max: usize,
    ) -> flow::Result<Option<Vec<Slice<T>>>> {
        let shallow = (bytes_max / self.bytes).max(1) * size_of::<(Timestamp, T)>();
        let mut read = self.items.read(from, until, shallow).await?;
        for slice in read.iter_mut().flatten() {
            slice.bytes = slice.items.len() * self.bytes;
        }
        Ok(read)
    }
}

fn weighed<T: Element>(items: Vec<(Timestamp, T)>, bytes: usize) -> Weighed<T> {
    Weighed {
        items: VecSource::new(items),
        bytes,
    }
}

fn count_words<K: From<String> + std::borrow::Borrow<str> + Eq + Hash>(
    lines: &[(Timestamp, Arc<str>)],
) -> Counts<K> {
    let mut counts = Counts::<K>::default();
    for word in lines.iter().flat_map(|(_, line)| line.split_ascii_whitespace()) {
        match counts.get_mut(word) {
            Some(count) => *count += 1,
            None => drop(counts.insert(word.to_owned().into(), 1)),
        }
    }
    counts
}

fn sum_keys(blocks: &[(Timestamp, u64)]) -> Counts<u64> {
    let mut sums = Counts::default();
    for (key, value) in blocks.iter().flat_map(|(_, block)| pairs(*block)) {
        *sums.entry(key).or_default() += value;
    }
    sums
}

/// Halves on two threads, the second added to the first.
fn halves<T: Sync, K: Eq + Hash + Send>(items: &[T], sum: fn(&[T]) -> Counts<K>) -> Counts<K> {
    let (one, two) = items.split_at(items.len() / 2);
    let (mut sums, more) = std::thread::scope(|scope| {
        let two = scope.spawn(|| sum(two));
        (sum(one), two.join().expect("a sum does not panic"))
    });
    for (key, count) in more {
        *sums.entry(key).or_default() += count;
    }
    sums
}

fn local<T: Element, K: Key>(
    source: Weighed<T>,
    options: JobOptions,
    function: impl Fn(T, &mut dyn FnMut((K, u64))) + Send + Sync + 'static,
) -> Box<dyn FnOnce() -> u64> {
    let sums = MemoryStore::<K, u64>::new();
    let tail = Producer::<Local, _>::source(Arc::new(source) as Arc<dyn Source<T>>)
        .flat_map_with(function)
        .sum_by_key(Arc::new(sums.clone()) as Arc<dyn Store<K, u64>>);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(options.parallelism).enable_all().build();
    let runtime = runtime.expect("the machine has threads");
    runtime.block_on(async {
        let mut job = Local::run("sums", &tail, options).expect("the job is well formed");
        job.join().await.expect("the job runs to its end");
    });
    Box::new(move || digest(sums.entries()))
}

/// The same for the same sums.
fn digest<K>(sums: impl IntoIterator<Item = (K, u64)>) -> u64 {
    let fold = |(count, digest): (u64, u64), (_, sum)| (count + 1, digest.wrapping_add(mixed(sum)));
    let (count, digest) = sums.into_iter().fold((0, 0), fold);
    digest.wrapping_mul(31).wrapping_add(count)
}

fn options(parallelism: usize) -> JobOptions {
    JobOptions {
        parallelism,
        ..JobOptions::default()
    }
}

/// A sum to be timed, which gives what is then asked for its digest.
type Run = Box<dyn FnOnce() -> Box<dyn FnOnce() -> u64>>;

fn then_digest<K: 'static>(counts: Counts<K>) -> Box<dyn FnOnce() -> u64> {
    Box::new(move || digest(counts))
}

/// One run, and how many elements it takes.
fn row(name: &str, millions: u64) -> (u64, Run) {
    match name.split_once(' ').expect("a row has two words") {
        ("words", how) => words_row(how),
        ("keys", how) => keys_row(how, millions),
        (_, how) => epochs_row(how.trim_start_matches("of ").parse().expect("epochs have a size")),
    }
}

fn words_row(how: &str) -> (u64, Run) {
    let lines = lines();
    let words = lines
        .iter()
        .map(|(_, line)| line.split_ascii_whitespace().count() as u64);
    let words = words.sum();
    let how = how.to_owned();
    let run = move || match how.as_str() {
        "loop 1" => then_digest(count_words::<String>(&lines)),
        "loop 2" => then_digest(halves(&lines, count_words::<String>)),
        "loop 2 inline" => then_digest(halves(&lines, count_words::<SmolStr>)),
        "local 1" => local(weighed(lines, LINE_BYTES), options(1), by_word::<String>),
        "local 2" => local(weighed(lines, LINE_BYTES), options(2), by_word::<String>),
        "local 2 inline" => local(weighed(lines, LINE_BYTES), options(2), by_word::<SmolStr>),
        _ => panic!("no such row: see the list in this file"),
    };
    (words, Box::new(run))
}

fn keys_row(how: &str, millions: u64) -> (u64, Run) {
    let (blocks, how) = (blocks(millions), how.to_owned());
    let sums = |blocks, cores| {
        let source = weighed(blocks, BLOCK as usize * 16);
        local(source, options(cores), |block, emit| pairs(block).for_each(emit))
    };
    let run = move || match how.as_str() {
        "loop 1" => then_digest(sum_keys(&blocks)),
        "loop 2" => then_digest(halves(&blocks, sum_keys)),
        "local 1" => sums(blocks, 1),
        "local 2" => sums(blocks, 2),
        _ => panic!("no such row: see the list in this file"),
    };
    (millions * 1_000_000, Box::new(run))
}

/// Epochs of so few elements that what an epoch costs by itself shows.
fn epochs_row(elements_each: usize) -> (u64, Run) {
    let elements = 2_000_000;
    let items = (0..elements).map(|n| (Timestamp(n as i64), n));
    let source = weighed(items.collect(), 16);
    let options = JobOptions {
        epoch_bytes_max: elements_each * 16,
        ..options(2)
    };
    let run = move || local(source, options, |n, emit| emit((mixed(n) % 100_000, n)));
    (elements, Box::new(run))
}

fn by_word<K: for<'a> From<&'a str> + Key>(line: Arc<str>, emit: &mut dyn FnMut((K, u64))) {
    line.split_ascii_whitespace()
        .for_each(|word| emit((word.into(), 1)));
}

/// Seconds of processor time of this process, of all threads.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |n: usize| {
        fields
            .get(n)
            .and_then(|field| field.parse::<f64>().ok())
            .unwrap_or(f64::NAN)
    };
    (ticks(11) + ticks(12)) / 100.0
}

fn status(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.unwrap_or(f64::NAN) / 1024.0
}

/// Prints elements, seconds, CPU seconds, MiB more than before, and the digest.
fn run_row(name: &str, millions: u64) {
    let (elements, run) = row(name, millions);
    let (rss, cpu_before) = (status("VmRSS:"), cpu());
    drop(std::fs::write("/proc/self/clear_refs", "5"));
    let began = Instant::now();
    let digest = run();
    let (wall, cpu, peak) = (began.elapsed(), cpu() - cpu_before, status("VmHWM:") - rss);
    println!("{elements} {} {cpu} {peak} {}", wall.as_secs_f64(), digest());
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "row") {
        let millions = args
            .get(2)
            .map_or(KEYED_MILLIONS, |arg| arg.parse().expect("millions are a number"));
        return run_row(&args[1], millions);
    }
    let rounds: usize = args
        .first()
        .map_or(5, |arg| arg.parse().expect("rounds are a number"));
    let only = args.get(1).cloned().unwrap_or_default();
    let rows: Vec<_> = ROWS.iter().filter(|(name, _)| name.starts_with(&only)).collect();
    let mut seen = HashMap::<&str, Vec<Vec<f64>>>::new();
    let this = std::env::current_exe().expect("a process knows its program");
    let mut digests = HashMap::<&str, String>::new();
    for _ in 0..rounds {
        for (name, _) in &rows {
            let output = Command::new(&this)
                .args(["row", name])
                .output()
                .expect("the row runs");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let numbers = text
                .split_whitespace()
                .take(4)
                .map(|n| n.parse().expect("rows print numbers"));
            seen.entry(name).or_default().push(numbers.collect());
            let kind = name.split(' ').next().unwrap_or_default();
            let digest = text.split_whitespace().last().unwrap_or_default().to_owned();
            assert_eq!(
                *digests.entry(kind).or_insert(digest.clone()),
                digest,
                "{name} has other sums"
            );
        }
    }
    println!("| row | million/s | CPU s | MiB | speed | CPU | beside |");
    for (name, beside) in rows {
        let of = |row: &str, n: usize| median(seen[row].iter().map(|run| run[n]).collect());
        let beside_by = |n: usize| {
            let pairs = seen[name].iter().zip(&seen[beside]);
            median(pairs.map(|(mine, theirs)| theirs[n] / mine[n]).collect())
        };
        println!(
            "| {name} | {:.2} | {:.2} | {:.0} | {:.2} | {:.2} | {beside} |",
            of(name, 0) / of(name, 1) / 1e6,
            of(name, 2),
            of(name, 3),
            beside_by(1),
            beside_by(2),
        );
    }
}
