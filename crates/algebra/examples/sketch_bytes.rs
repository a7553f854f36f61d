//! Sketches as bytes for other languages: `make FOLDER` writes them, `check FOLDER` reads another's.
//!
//! Files, items and checks are those of `interop/sketch_bytes.py` and `interop/SketchBytes.java`; `.ci/sketch-bytes` runs
//! all three against each other.

use std::error::Error;
use std::path::{Path, PathBuf};

use algebra::Semigroup;
use algebra::codec::Codec;
use algebra::sketch::{Bloom, FrequentItems, HyperLogLog, Kll, Sketch, TDigest, Theta};

const COUNTS: [u64; 5] = [0, 1, 10, 1000, 50_000];
type Hll = HyperLogLog<12>;
type Distinct = Theta<12>;
type Filter = Bloom<{ 1 << 19 }, 5>;
type Ranks = Kll<f64, 200>;
type Digest = TDigest<200>;
type Frequent = FrequentItems<String, 6>;
type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["make", folder] => make(Path::new(folder)),
        ["check", folder] => check(Path::new(folder)),
        _ => Err("usage: make FOLDER or check FOLDER".into()),
    }
}

fn make(folder: &Path) -> Result<(), Failure> {
    for count in COUNTS {
        for items in ["longs", "strings"] {
            let write = |family: &str, bytes: Vec<u8>| {
                std::fs::write(folder.join(format!("{family}-{items}-{count}.bin")), bytes)
            };
            write("hll", of::<Hll>(items, 0, count).to_bytes())?;
            write("theta", of::<Distinct>(items, 0, count).to_bytes())?;
            write("bloom", of::<Filter>(items, 0, count).to_bytes())?;
        }
        let write = |family: &str, bytes: Vec<u8>| {
            std::fs::write(folder.join(format!("{family}-{count}.bin")), bytes)
        };
        write("kll-doubles", numbers::<Ranks>(0, count).to_bytes())?;
        write("tdigest-doubles", numbers::<Digest>(0, count).to_bytes())?;
        write("frequent-strings", frequent(0, count).to_bytes())?;
    }
    Ok(())
}

/// Of the items `first..end`, as 64-bit integers or as the strings "item-0" and on.
fn of<S: Sketch<u64> + Sketch<str>>(items: &str, first: u64, end: u64) -> S {
    let mut sketch = S::zero();
    for i in first..end {
        match items {
            "longs" => sketch.add(&i),
            _ => sketch.add(format!("item-{i}").as_str()),
        }
    }
    sketch
}

fn numbers<S: Sketch<f64>>(first: u64, end: u64) -> S {
    let mut sketch = S::zero();
    (first..end).for_each(|i| sketch.add(&(i as f64)));
    sketch
}

fn frequent(first: u64, end: u64) -> Frequent {
    let mut sketch = Frequent::default();
    (first..end).for_each(|i| sketch.add(&frequent_item(i)));
    sketch
}

fn frequent_item(i: u64) -> String {
    format!("item-{}", i.isqrt())
}

fn check(folder: &Path) -> Result<(), Failure> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let mut checked = 0;
    for file in files {
        let name = file
            .file_stem()
            .ok_or("a file without a name")?
            .to_string_lossy()
            .into_owned();
        let bytes = std::fs::read(&file)?;
        let [family, items, count] = name.split('-').collect::<Vec<_>>()[..] else {
            return Err(format!("not FAMILY-ITEMS-COUNT.bin: file={}", file.display()).into());
        };
        let count: u64 = count.parse()?;
        match family {
            "hll" => same::<Hll>(&bytes, items, count),
            "theta" => same::<Distinct>(&bytes, items, count),
            "bloom" => same::<Filter>(&bytes, items, count),
            "kll" => ranks(&bytes, count),
            "tdigest" => digest(&bytes, count),
            "frequent" => heavy(&bytes, count),
            _ => Err("an unknown family".into()),
        }
        .map_err(|error| format!("{error} file={}", file.display()))?;
        checked += 1;
    }
    if checked < 7 * COUNTS.len() {
        return Err(format!("too few files: files={checked}").into());
    }
    let name = folder.file_name().unwrap_or_default().display();
    println!("read and merged {checked} sketches of {name}");
    Ok(())
}

/// Families whose state is a function of the items: theirs is ours, and so is what they merge to.
fn same<S>(bytes: &[u8], items: &str, count: u64) -> Result<(), Failure>
where
    S: Codec + Sketch<u64> + Sketch<str> + PartialEq,
{
    let mut theirs = S::from_bytes(bytes)?;
    if theirs != of::<S>(items, 0, count) {
        return Err("not the sketch of these items".into());
    }
    theirs.plus(of(items, count / 2, count + 100));
    if theirs != of::<S>(items, 0, count + 100) {
        return Err("merged with ours it is not the sketch of all items".into());
    }
    Ok(())
}

fn ranks(bytes: &[u8], count: u64) -> Result<(), Failure> {
    let mut theirs = Ranks::from_bytes(bytes)?;
    theirs.plus(numbers(count, 2 * count));
    quantiles(count, 0.03, |rank| theirs.quantile(rank))
}

fn digest(bytes: &[u8], count: u64) -> Result<(), Failure> {
    let mut theirs = Digest::from_bytes(bytes)?;
    theirs.plus(numbers(count, 2 * count));
    quantiles(count, 0.02, |rank| theirs.quantile(rank))
}

/// Of `0..2·count`, each within `tolerance` of the ranks.
fn quantiles(count: u64, tolerance: f64, quantile: impl Fn(f64) -> Option<f64>) -> Result<(), Failure> {
    let n = 2.0 * count as f64;
    for rank in [0.01, 0.5, 0.99] {
        match quantile(rank) {
            None if count == 0 => {}
            Some(value) if (value - rank * n).abs() <= 1.0 + tolerance * n => {}
            other => return Err(format!("quantile is off: rank={rank} n={n} found={other:?}").into()),
        }
    }
    Ok(())
}

fn heavy(bytes: &[u8], count: u64) -> Result<(), Failure> {
    let mut theirs = Frequent::from_bytes(bytes)?;
    theirs.plus(frequent(count, 2 * count));
    let mut truth = std::collections::BTreeMap::<String, u64>::new();
    for i in 0..2 * count {
        *truth.entry(frequent_item(i)).or_default() += 1;
    }
    for (item, n) in truth {
        if !(theirs.lower_bound(&item)..=theirs.upper_bound(&item)).contains(&n) {
            return Err(format!("count is outside its bounds: item={item} count={n}").into());
        }
    }
    Ok(())
}
