//! Jobs over files: stopped and started anew, and sums of several sources.

use std::collections::BTreeMap;
use std::sync::Arc;

use files::FileSource;
use flow::{JobOptions, Local, Producer, Source, Timestamp};
use proptest::prelude::*;
use store::{MemoryStore, Progress, Store};

use crate::kit::{folder, packed, packing, runtime, write};

type Counts = MemoryStore<String, u64>;

fn lines(pattern: &std::path::Path) -> Producer<Local, String> {
    let source = FileSource::text([pattern], |_| Timestamp(0)).unwrap();
    Producer::source(Arc::new(source) as Arc<dyn Source<String>>)
}

fn options(epoch_bytes_max: usize) -> JobOptions {
    JobOptions {
        epoch_bytes_max,
        parallelism: 2,
        ..JobOptions::default()
    }
}

async fn run(lines: Producer<Local, String>, counts: &Counts, epoch_bytes_max: usize) {
    let tail = lines
        .map(|line| (line, 1))
        .sum_by_key(Arc::new(counts.clone()) as Arc<dyn Store<String, u64>>);
    Local::run("lines", &tail, options(epoch_bytes_max))
        .unwrap()
        .join()
        .await
        .unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Each line counts once, whatever is added between the runs and however the epochs fall.
    #[test]
    fn runs_over_growing_folders(
        files in prop::collection::vec(prop::collection::vec("[ab]{0,2}", 0..20), 1..6),
        how in packing(), run_at in 0usize..6, epoch_bytes_max in 1usize..100,
    ) {
        let folder = folder(&[]);
        let (counts, mut expected) = (Counts::new(), BTreeMap::<String, u64>::new());
        for (i, lines_of_file) in files.iter().enumerate() {
            let text: String = lines_of_file.iter().map(|line| format!("{line}\n")).collect();
            write(&folder.path().join(i.to_string()), &packed(text.as_bytes(), how));
            lines_of_file.iter().for_each(|line| *expected.entry(line.clone()).or_default() += 1);
            if i == run_at || i + 1 == files.len() {
                runtime().block_on(run(lines(&folder.path().join("*")), &counts, epoch_bytes_max));
            }
        }
        prop_assert_eq!(counts.entries().into_iter().collect::<BTreeMap<_, _>>(), expected);
    }
}

/// Two sources of one job, where reads of the slower one are dropped again and again.
#[test]
fn sources_side_by_side() {
    let (short, long) = (
        folder(&[("a", b"x\n".repeat(200))]),
        folder(&[("b", b"y\n".repeat(5_000))]),
    );
    let counts = Counts::new();
    let both = lines(&short.path().join("a"))
        .name("short")
        .merge(&lines(&long.path().join("b")).name("long"));
    runtime().block_on(run(both, &counts, 50));
    assert_eq!(counts.entries(), [("x".to_owned(), 200), ("y".to_owned(), 5_000)]);
    let progress = runtime().block_on(Store::progress(&counts)).unwrap();
    assert_eq!(
        progress,
        Some(Progress::from_iter([("long/b", 10_000), ("short/a", 400)]))
    );
}
