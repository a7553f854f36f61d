//! Jobs written by hand, on both platforms, against what plain loops give; and their graphs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use flow::{
    JobOptions, Local, Memory, Platform, Producer, Sink, Source, Tail, Timestamp, VecSink, VecSource,
};
use store::{MemoryStore, Store};

use crate::kit::{Add, Text, Timed, options, runtime, timed};

const LINES: [&str; 4] = ["the wave and the bird", "", "a bird runs", "the wave runs"];

fn lines() -> Vec<Timed<String>> {
    timed(LINES.map(str::to_owned))
}

fn word_count<P: Platform>(
    lines: &Producer<P, String>,
    counts: P::Store<String, Add>,
) -> impl Tail<P> + use<P> {
    lines
        .filter(|line| !line.is_empty())
        .flat_map(|line| {
            line.split(' ')
                .map(|word| (word.to_owned(), Add(1)))
                .collect::<Vec<_>>()
        })
        .sum_by_key(counts)
}

fn naive_counts() -> BTreeMap<String, Add> {
    let mut counts = BTreeMap::<String, Add>::new();
    for word in LINES
        .iter()
        .flat_map(|line| line.split(' '))
        .filter(|word| !word.is_empty())
    {
        counts.entry(word.to_owned()).or_default().0 += 1;
    }
    counts
}

fn local<T: flow::Element>(items: Vec<Timed<T>>) -> Producer<Local, T> {
    Producer::source(Arc::new(VecSource::new(items)) as Arc<dyn Source<T>>)
}

fn memory<T: flow::Element>(items: Vec<Timed<T>>) -> Producer<Memory, T> {
    Producer::source(items)
}

fn store_of<K: flow::Key, V: flow::Value>(store: &MemoryStore<K, V>) -> Arc<dyn Store<K, V>> {
    Arc::new(store.clone())
}

fn sink_of<T: flow::Element>(sink: &VecSink<T>) -> Arc<dyn Sink<T>> {
    Arc::new(sink.clone())
}

fn run(tail: &impl Tail<Local>) {
    run_with(tail, options(64, 2));
}

fn run_with(tail: &impl Tail<Local>, options: JobOptions) {
    runtime()
        .block_on(async { Local::run("test", tail, options).unwrap().join().await })
        .unwrap();
}

fn entries<K: flow::Key, V: flow::Value>(store: &MemoryStore<K, V>) -> BTreeMap<K, V> {
    store.entries().into_iter().collect()
}

#[test]
fn word_count_on_both() {
    let counts = Arc::default();
    Memory::run(&word_count(&memory(lines()), Arc::clone(&counts)));
    assert_eq!(*counts.lock().unwrap(), naive_counts());
    let store = MemoryStore::new();
    run(&word_count(&local(lines()), store_of(&store)));
    assert_eq!(entries(&store), naive_counts());
}

#[test]
fn a_job_that_has_ended_does_nothing_more() {
    let store = MemoryStore::new();
    let job = word_count(&local(lines()), store_of(&store));
    run(&job);
    run(&job);
    assert_eq!(entries(&store), naive_counts());
}

#[test]
fn map_only() {
    let sink = VecSink::default();
    run(&local(timed(0..5)).map(|n: i32| n * n).write(sink_of(&sink)));
    assert_eq!(sink.items(), timed([0, 1, 4, 9, 16]));
}

#[test]
fn diamond_and_self_merge() {
    fn job<P: Platform>(numbers: &Producer<P, i32>, sink: P::Sink<i32>) -> impl Tail<P> + use<P> {
        let (even, odd) = (
            numbers.filter(|n| n % 2 == 0),
            numbers.filter(|n| n % 2 != 0).map(|n| -n),
        );
        let both = even.merge(&odd);
        both.merge(&both).write(sink)
    }
    let expected = vec![-3, -3, -1, -1, 0, 0, 2, 2];
    let sink = VecSink::default();
    run(&job(&local(timed(0..4)), sink_of(&sink)));
    let mut got: Vec<i32> = sink.items().into_iter().map(|(_, n)| n).collect();
    got.sort();
    assert_eq!(got, expected);
    let sink = Arc::<Mutex<Vec<Timed<i32>>>>::default();
    Memory::run(&job(&memory(timed(0..4)), sink.clone()));
    let mut got: Vec<i32> = sink.lock().unwrap().iter().map(|(_, n)| *n).collect();
    got.sort();
    assert_eq!(got, expected);
}

#[test]
fn two_sums_on_one_producer_and_a_sum_that_feeds_a_sum() {
    fn job<P: Platform>(
        words: &Producer<P, (String, Add)>,
        counts: P::Store<String, Add>,
        total: P::Store<(), Add>,
        having: P::Store<i64, Add>,
    ) -> impl Tail<P> + use<P> {
        let counted = words.sum_by_key(counts);
        // How many words have which count: leave the old count, enter the new one.
        let moves = counted.flat_map(|(_, (before, Add(delta)))| {
            let after = before.unwrap_or_default().0 + delta;
            std::iter::once((after, Add(1))).chain(before.map(|before| (before.0, Add(-1))))
        });
        counted
            .also(words.map(|(_, n)| ((), n)).sum_by_key(total))
            .also(moves.sum_by_key(having))
    }
    let words = || timed("a b a c b a a".split(' ').map(|word| (word.to_owned(), Add(1))));
    let (counts, total, having) = (MemoryStore::new(), MemoryStore::new(), MemoryStore::new());
    run(&job(
        &local(words()),
        store_of(&counts),
        store_of(&total),
        store_of(&having),
    ));
    assert_eq!(
        entries(&counts),
        [("a", 4), ("b", 2), ("c", 1)]
            .map(|(w, n)| (w.to_owned(), Add(n)))
            .into()
    );
    assert_eq!(entries(&total), [((), Add(7))].into());
    let mut having = entries(&having);
    having.retain(|_, n| n.0 != 0);
    assert_eq!(having, [(4, Add(1)), (2, Add(1)), (1, Add(1))].into());

    let (counts, total, having) = (Arc::default(), Arc::default(), Arc::default());
    Memory::run(&job(&memory(words()), counts, total, Arc::clone(&having)));
    let mut having = having.lock().unwrap().clone();
    having.retain(|_, n| n.0 != 0);
    assert_eq!(having, [(4, Add(1)), (2, Add(1)), (1, Add(1))].into());
}

#[test]
fn lookup_finds_or_not() {
    fn job<P: Platform>(
        words: &Producer<P, String>,
        lengths: P::Service<String, usize>,
        sink: P::Sink<(String, Option<usize>)>,
    ) -> impl Tail<P> + use<P> {
        words.lookup(lengths).write(sink)
    }
    let lengths = BTreeMap::from([("bird".to_owned(), 4)]);
    let words = timed(["bird", "wave", "bird"].map(str::to_owned));
    let expected =
        timed([("bird", Some(4)), ("wave", None), ("bird", Some(4))].map(|(w, n)| (w.to_owned(), n)));
    let sink = VecSink::default();
    run(&job(
        &local(words.clone()),
        Arc::new(lengths.clone()),
        sink_of(&sink),
    ));
    assert_eq!(sink.items(), expected);
    let sink = Arc::default();
    Memory::run(&job(&memory(words), lengths, Arc::clone(&sink)));
    assert_eq!(*sink.lock().unwrap(), expected);
}

#[test]
fn what_a_sum_emits_is_a_chain_and_carries_the_largest_time() {
    let words = timed((0..20).map(|n| (n % 3, Text(n.to_string()))));
    for epoch_bytes_max in [1, 200, 1 << 20] {
        let (store, sink) = (MemoryStore::new(), VecSink::default());
        let job = local(words.clone())
            .sum_by_key(store_of(&store))
            .write(sink_of(&sink));
        run_with(&job, options(epoch_bytes_max, 1));
        let mut chain = BTreeMap::<i32, (Timestamp, Text)>::new();
        for (time, (key, (before, delta))) in sink.items() {
            assert_eq!(before, chain.get(&key).map(|(_, value)| value.clone()));
            let value = before.unwrap_or_default().0 + &delta.0;
            chain.insert(key, (time, Text(value)));
        }
        let expected = [
            (0, "0369121518", 18),
            (1, "14710131619", 19),
            (2, "258111417", 17),
        ];
        assert_eq!(
            chain,
            expected
                .map(|(k, text, time)| (k, (Timestamp(time), Text(text.into()))))
                .into()
        );
    }
}

#[test]
fn order_is_kept_by_sums_that_do_not_commute() {
    let words = timed((0..20_000u32).map(|n| (n % 7, Text(format!("{n} ")))));
    let mut expected = BTreeMap::<u32, Text>::new();
    for (_, (key, text)) in &words {
        expected.entry(*key).or_default().0.push_str(&text.0);
    }
    for (epoch_bytes_max, parallelism) in [(1 << 20, 1), (1 << 20, 3), (200_000, 2), (5_000, 2)] {
        let store = MemoryStore::new();
        run_with(
            &local(words.clone()).sum_by_key(store_of(&store)),
            options(epoch_bytes_max, parallelism),
        );
        assert_eq!(
            entries(&store),
            expected,
            "epoch_bytes_max={epoch_bytes_max} parallelism={parallelism}"
        );
    }
}

#[test]
fn a_chain_of_ten_thousand() {
    fn job<P: Platform>(numbers: Producer<P, i64>, sink: P::Sink<i64>) -> impl Tail<P> {
        (0..10_000)
            .fold(numbers, |numbers, _| numbers.map(|n| n + 1))
            .write(sink)
    }
    let sink = VecSink::default();
    let tail = job(local(timed(0..3000)), sink_of(&sink));
    assert_eq!(tail.graph().nodes().len(), 10_002);
    run_with(&tail, options(1 << 20, 2));
    assert_eq!(sink.items(), timed(10_000..13_000));
    let sink = Arc::default();
    Memory::run(&job(memory(timed(0..3)), Arc::clone(&sink)));
    assert_eq!(*sink.lock().unwrap(), timed(10_000..10_003));
}

#[test]
fn a_long_chain_of_self_merges_and_writes() {
    let sinks: Vec<VecSink<i64>> = (0..300).map(|_| VecSink::default()).collect();
    let mut numbers = local(timed(0..2000));
    let mut tails = numbers.write(sink_of(&VecSink::default())).ends();
    for sink in &sinks {
        let written = numbers.write(sink_of(sink));
        let none = numbers.filter(|_| false);
        numbers = written.merge(&none);
        tails = tails.also(written);
    }
    run_with(&tails, options(1 << 20, 2));
    assert!(sinks.iter().all(|sink| sink.items() == timed(0..2000)));
}

#[test]
fn a_stream_of_sums_runs_locally() {
    let pairs = timed([("a", Add(1)), ("b", Add(2)), ("a", Add(3))]);
    let (alone, store) = (MemoryStore::default(), MemoryStore::default());
    run(&local(pairs.clone()).scan_by_key(store_of(&alone)));
    let sink = VecSink::default();
    let scan = local(pairs).scan_by_key(store_of(&store));
    run(&scan.write(sink_of(&sink)));
    for store in [alone, store] {
        let values = runtime().block_on(store.multi_get(&["a", "b"])).unwrap();
        assert_eq!(values, [Some(Add(4)), Some(Add(2))]);
    }
    let last: BTreeMap<_, _> = sink.items().into_iter().map(|(_, sum)| sum).collect();
    assert_eq!(last, BTreeMap::from([("a", Add(4)), ("b", Add(2))]));
}

fn drawn() -> impl Tail<Memory> {
    let lines = memory(lines()).name("lines");
    let words = lines.filter(|line| !line.is_empty()).map(|line| (line, Add(1)));
    let counts = words.merge(&words).sum_by_key(Arc::default()).name("counts");
    counts.also(
        lines
            .name("ignored")
            .lookup(BTreeMap::<String, u8>::new())
            .write(Arc::default())
            .name("a \"b\""),
    )
}

#[test]
fn mermaid() {
    let expected = r#"flowchart LR
  n0(["source lines"])
  n1["filter"]
  n2["map"]
  n3["merge"]
  n4[("sum counts")]
  n5["lookup"]
  n6[("write a #quot;b#quot;")]
  n0 --> n1
  n1 --> n2
  n2 --> n3
  n2 --> n3
  n3 --> n4
  n0 --> n5
  n5 --> n6
"#;
    assert_eq!(drawn().graph().to_mermaid(), expected);
}

#[test]
fn dot() {
    let expected = r#"digraph job {
  rankdir=LR;
  n0 [label="source lines", shape=ellipse];
  n1 [label="filter", shape=box];
  n2 [label="map", shape=box];
  n3 [label="merge", shape=box];
  n4 [label="sum counts", shape=cylinder];
  n5 [label="lookup", shape=box];
  n6 [label="write a \"b\"", shape=cylinder];
  n0 -> n1;
  n1 -> n2;
  n2 -> n3;
  n2 -> n3;
  n3 -> n4;
  n0 -> n5;
  n5 -> n6;
}
"#;
    assert_eq!(drawn().graph().to_dot(), expected);
}
