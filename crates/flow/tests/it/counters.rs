//! Counters count each element once, whatever fails and is tried again, on both platforms.

use flow::{Counts, JobOptions, Local, Memory, Producer, Tail, Tails, counter};
use proptest::prelude::*;

use crate::crash::script;
use crate::graphs::inputs;
use crate::graphs_of_old::TARGETS;
use crate::kit::{Add, Fault, Kit, LocalKit, MemoryKit, options, runtime, timed};

/// Counts before, beside and below sums and look-ups, and in a loop; some counters are made early, some late.
fn job<K: Kit>(kit: &K) -> Tails<K::P> {
    let (seen, even) = (counter("seen"), counter("even"));
    let pairs = Producer::<K::P, _>::source(kit.source(0)).map(move |pair| {
        seen.add(1);
        pair
    });
    let first = pairs.write(kit.sink(0));
    let sum = first.sum_by_key(kit.store(0));
    let service = kit.service();
    let found = sum
        .map_values(|(_, delta): (Option<Add>, Add)| delta)
        .merge(&pairs)
        .lookup_by(
            move |(key, _)| {
                even.add(u64::from(key % 2 == 0));
                *key
            },
            service,
        );
    let looped = pairs.left_join_and_sum(kit.store(1), |n, _| {
        counter("looped").add(n.0.unsigned_abs());
        [n]
    });
    let below = found.map(|((key, n), _)| {
        counter(format!("key {}", key % 3)).add(1);
        (key, n)
    });
    first.also(looped).also(below.sum_by_key(kit.store(2)))
}

/// Runs on, as one process, until all is done: all failures can be overcome by trying again.
async fn status(kit: &LocalKit, options: JobOptions) -> (Counts, u64) {
    let mut job = Local::run("test", &job(kit), options).unwrap();
    job.join().await.unwrap();
    let status = job.status();
    (status.counters, status.elements)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn each_element_counts_once(inputs in inputs(), script in script(), epoch_bytes_max in 24usize..900) {
        let inputs: Vec<_> = inputs.into_iter().map(timed).collect();
        let tried_again = |fault| match fault {
            Fault::Crash { applied } => Fault::Retry { applied },
            fault => fault,
        };
        let memory = MemoryKit::new(inputs.clone(), TARGETS);
        let twin = Memory::run(&job(&memory));
        let len = inputs[0].len() as u64;
        prop_assert_eq!(twin.get("seen").copied().unwrap_or(0), len);
        let calm = LocalKit::new(inputs.clone(), TARGETS, Vec::new(), |_| 1);
        let (calm, _) = runtime().block_on(status(&calm, options(epoch_bytes_max, 2)));
        let script: Vec<_> = script.into_iter().map(tried_again).collect();
        let local = LocalKit::new(inputs.clone(), TARGETS, script.clone(), |_| 1);
        let (counts, elements) = runtime().block_on(status(&local, options(epoch_bytes_max, 2)));
        prop_assert_eq!(elements, len);
        for name in ["seen", "looped"] {
            prop_assert_eq!(counts.get(name), twin.get(name));
        }
        // How many elements come out of a sum depends on the epochs, which faults do not move here.
        prop_assert_eq!(counts, calm);

        let local = LocalKit::new(inputs, TARGETS, script, |_| 1).ragged(vec![1, 12, 3, 6]);
        let (counts, elements) = runtime().block_on(status(&local, options(300, 2)));
        prop_assert_eq!(elements, len);
        for name in ["seen", "looped"] {
            prop_assert_eq!(counts.get(name), twin.get(name));
        }
    }
}

#[test]
fn counts_of_all_threads_come_together() {
    let input: Vec<_> = (0..20_000).map(|n| (n as u8 % 16, Add(1))).collect();
    let kit = LocalKit::new(vec![timed(input)], TARGETS, Vec::new(), |_| 1);
    let (counts, _) = runtime().block_on(status(&kit, options(1 << 20, 3)));
    assert_eq!((counts["seen"], counts["looped"]), (20_000, 20_000));
}

#[test]
fn a_graph_shows_them() {
    let kit = MemoryKit::new(vec![timed([(1, Add(1)), (2, Add(2))])], TARGETS);
    let tail = Producer::<Memory, _>::source(kit.source(0))
        .filter(|(key, _)| {
            counter("odd \"keys\"").add(u64::from(key % 2));
            counter("pairs").add(1);
            true
        })
        .write(kit.sink(0));
    let graph = tail.graph().with_counts(Memory::run(&tail));
    let drawn = graph.to_mermaid();
    assert!(
        drawn.ends_with("  counters>\"odd #quot;keys#quot;: 1<br/>pairs: 2\"]\n"),
        "{drawn}"
    );
    let drawn = graph.to_dot();
    let note = r#"  counters [label="odd \"keys\": 1\lpairs: 2\l", shape=note];"#;
    assert!(drawn.contains(note), "{drawn}");
}
