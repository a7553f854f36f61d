//! Chains in running jobs: replaced while events flow, after crashes, and what they do to streams.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use event::{DatasetName, Udf, UdfError, UdfErrorKind};
use flow::JobOptions;
use processor::{Chain, ErrorKind, NativeUdf, Processor, ProcessorOptions, TapPoint};
use proptest::prelude::*;
use queue::{MemoryQueue, Queue};
use warehouse::{Table, Warehouse};

use super::{dataset, n, numbers, warehouse};

fn values(rows: &RecordBatch) -> Vec<i64> {
    n(std::slice::from_ref(rows))
}

/// Adds to the number.
pub(super) fn add(by: i64) -> Arc<dyn Udf> {
    Arc::new(NativeUdf::columns("add", move |rows| {
        let sums: Int64Array = values(rows).into_iter().map(|n| n + by).collect();
        Ok(vec![("n".to_owned(), Arc::new(sums) as _)])
    }))
}

/// Fails by the rows whose number is divisible.
pub(super) fn refuse(d: i64) -> Arc<dyn Udf> {
    Arc::new(NativeUdf::new("refuse", move |rows| {
        match values(rows).iter().any(|n| n % d == 0) {
            true => Err(UdfError::new(UdfErrorKind::Row, "divisible")),
            false => Ok(rows.clone()),
        }
    }))
}

pub(super) fn chain(steps: Vec<Arc<dyn Udf>>) -> Chain {
    Chain::new(steps).unwrap()
}

pub(super) fn with_chain(
    queue: &Arc<dyn Queue>,
    warehouse: &Arc<Warehouse>,
    chain: impl Fn(&DatasetName) -> processor::Result<Chain> + Send + Sync + 'static,
) -> Processor {
    Processor::start(ProcessorOptions {
        queue: queue.clone(),
        warehouse: warehouse.clone(),
        settings: Arc::new(|_| event::DatasetSettings::default()),
        chains: Arc::new(chain),
        plain: None,
        job: JobOptions::default(),
        scale: processor::ScaleOptions::default(),
        clock: Arc::new(jiff::Timestamp::now),
    })
}

async fn all(table: &Table) -> Vec<RecordBatch> {
    let version = table.version();
    let mut rows = version.hot.to_vec();
    for file in version.files.iter() {
        for group in 0.. {
            let Some(read) = table.read_row_group(file, group, 1 << 20).await.unwrap() else {
                break;
            };
            rows.extend(read);
        }
    }
    rows
}

/// Waits until both tables have all.
pub(super) async fn caught_up(processor: &Processor, warehouse: &Warehouse) {
    processor.caught_up().await;
    let end = warehouse.table("d").unwrap().version().progress.clone();
    let mut failed = warehouse.table("d$failed").unwrap().changes();
    failed
        .wait_for(|version| version.progress.covers(&end))
        .await
        .unwrap();
}

/// The numbers in the table and, by their raw lines, among the rejects; sorted.
pub(super) async fn places(warehouse: &Warehouse) -> (Vec<i64>, Vec<(i64, String)>) {
    let mut rows = n(&all(&warehouse.table("d").unwrap()).await);
    rows.sort_unstable();
    let mut rejects = Vec::new();
    for batch in all(&warehouse.table("d$failed").unwrap()).await {
        for row in 0..batch.num_rows() {
            let raw = batch.column_by_name("raw").unwrap().as_binary_view().value(row);
            let raw: BTreeMap<String, i64> = serde_json::from_slice(raw).unwrap();
            let step = batch
                .column_by_name("step")
                .unwrap()
                .as_string_view()
                .value(row)
                .to_owned();
            assert_eq!(
                batch.column_by_name("stage").unwrap().as_string_view().value(row),
                "udf"
            );
            let version = batch.column_by_name("schema_version").unwrap();
            assert_eq!(version.as_primitive::<Int64Type>().value(row), 0);
            rejects.push((raw["n"], step));
        }
    }
    rejects.sort();
    (rows, rejects)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_replaced_while_events_flow_and_streams_see_what_the_table_has() {
    let folder = tempfile::tempdir().unwrap();
    let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(2));
    let warehouse = warehouse(folder.path()).await;
    let processor = with_chain(&queue, &warehouse, |_| Ok(Chain::default()));
    let missing = processor
        .set_chain(&dataset(), &event::DatasetSettings::default(), &Chain::default())
        .await
        .unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let mut expected = Vec::new();
    for round in 0..6i64 {
        if round > 0 {
            let chain = chain(vec![add(1_000 * round), refuse(5)]);
            let version = processor
                .set_chain(&dataset(), &event::DatasetSettings::default(), &chain)
                .await
                .unwrap();
            assert_eq!(version, round as u64 + 1);
        }
        for emitter in 1..4 {
            let first = round * 100 + emitter * 10;
            let batch = numbers(emitter as u128, round as u64, first..first + 7);
            queue.append(batch).await.unwrap();
            let kept = (first..first + 7).filter(|n| round == 0 || n % 5 > 0);
            expected.extend(kept.map(|n| n + 1_000 * round));
        }
    }
    caught_up(&processor, &warehouse).await;
    expected.sort_unstable();
    let (rows, rejects) = places(&warehouse).await;
    assert_eq!(rows, expected);
    assert!(rejects.iter().all(|(n, step)| n % 5 == 0 && step == "refuse"));
    assert_eq!(rows.len() + rejects.len(), 6 * 3 * 7);
    // All is hot: a stream reads the queue, and puts each batch through its chain.
    let mut stream = processor.stream(dataset(), None, None, false).await.unwrap();
    let mut streamed = Vec::new();
    while let Some((rows, _)) = stream.next().await.unwrap() {
        streamed.extend(n(&rows));
    }
    streamed.sort_unstable();
    assert_eq!(streamed, expected);
    processor.stop().await;
    let status = processor.status().remove(0);
    let chain = status.chain.unwrap();
    assert_eq!(chain.version, 6);
    let names: Vec<&str> = chain.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["add", "refuse"]);
    warehouse.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_graph_shows_the_steps_of_the_newest_chain() {
    let folder = tempfile::tempdir().unwrap();
    let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(1));
    let warehouse = warehouse(folder.path()).await;
    let processor = with_chain(&queue, &warehouse, |_| Ok(Chain::default()));
    queue.append(numbers(1, 0, 0..5)).await.unwrap();
    caught_up(&processor, &warehouse).await;
    processor
        .set_chain(
            &dataset(),
            &event::DatasetSettings::default(),
            &chain(vec![add(1)]),
        )
        .await
        .unwrap();
    let names = || {
        let graph = processor.status().remove(0).graph?;
        let names = graph.nodes().iter().flat_map(|node| node.names.clone());
        Some(names.collect::<BTreeSet<String>>())
    };
    let wanted = ["decode", "udf add", "validate", "rows", "rejects"].map(str::to_owned);
    while !names().is_some_and(|names| wanted.iter().all(|name| names.contains(name))) {
        tokio::task::yield_now().await;
    }
    processor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_cannot_be_made_stops_its_dataset_alone_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(1));
    let warehouse = warehouse(folder.path()).await;
    let processor = with_chain(&queue, &warehouse, |name| match name.as_str() {
        "d" => Err(processor::Error::new(ErrorKind::Invalid, "no function geo")),
        _ => Ok(Chain::default()),
    });
    queue.append(numbers(1, 0, 0..5)).await.unwrap();
    let mut other = numbers(1, 0, 0..5);
    other.dataset = "other".parse().unwrap();
    let offset = queue.append(other.clone()).await.unwrap();
    processor
        .visible(&other.dataset, queue::Partition(0), offset.offset.unwrap())
        .await
        .unwrap();
    let error = || {
        processor
            .status()
            .into_iter()
            .find(|status| status.dataset == dataset())?
            .last_error
    };
    while error().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(error().unwrap(), "no function geo");
    processor.stop().await;
}

/// What happens between two batches.
#[derive(Clone, Copy, Debug)]
enum Between {
    Nothing,
    Flush,
    /// The tables of one process are gone, with what they had not committed.
    Crash,
    /// Another chain from here on; all before is committed, so that no crash brings it back.
    Chain(i64),
}

fn between() -> impl Strategy<Value = Between> {
    prop_oneof![
        3 => Just(Between::Nothing),
        1 => Just(Between::Flush),
        1 => Just(Between::Crash),
        1 => (2i64..7).prop_map(Between::Chain),
    ]
}

async fn law(story: Vec<(u128, i64, Between)>) {
    let folder = tempfile::tempdir().unwrap();
    let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(2));
    let mut now = 1;
    let steps = |d: i64| chain(vec![add(d), refuse(d + 1)]);
    let mut tables = warehouse(folder.path()).await;
    let mut processor = with_chain(&queue, &tables, move |_| Ok(steps(1)));
    let (mut expected, mut rejected) = (Vec::new(), Vec::new());
    let (mut sequences, mut sent) = (BTreeMap::new(), 0);
    for (emitter, count, between) in story {
        let sequence = sequences.entry(emitter).or_insert(0u64);
        queue
            .append(numbers(emitter, *sequence, sent..sent + count))
            .await
            .unwrap();
        *sequence += 1;
        for n in sent..sent + count {
            match (n + now) % (now + 1) {
                0 => rejected.push((n, "refuse".to_owned())),
                _ => expected.push(n + now),
            }
        }
        sent += count;
        match between {
            Between::Nothing => {}
            Between::Flush => {
                if let Some(table) = tables.table("d") {
                    table.flush().await.unwrap();
                }
            }
            Between::Crash => {
                processor.stop().await;
                tables = warehouse(folder.path()).await;
                let d = now;
                processor = with_chain(&queue, &tables, move |_| Ok(steps(d)));
            }
            Between::Chain(d) => {
                processor
                    .set_chain(&dataset(), &event::DatasetSettings::default(), &steps(d))
                    .await
                    .unwrap();
                now = d;
                caught_up(&processor, &tables).await;
                for table in tables.tables() {
                    table.flush().await.unwrap();
                }
            }
        }
    }
    caught_up(&processor, &tables).await;
    expected.sort_unstable();
    rejected.sort();
    assert_eq!(places(&tables).await, (expected, rejected));
    processor.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever crashes, and however batches are cut: rows and rejects are those of the chain at the time.
    #[test]
    fn each_event_is_in_one_place_whatever_crashes(
        story in prop::collection::vec((1u128..4, 1i64..20, between()), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(law(story));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tap_shows_events_at_its_point_and_drops_what_finds_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(1));
    let warehouse = warehouse(folder.path()).await;
    let processor = with_chain(&queue, &warehouse, |_| Ok(chain(vec![add(100), refuse(2)])));
    let point = |name: &str| TapPoint::After(name.to_owned());
    let missing = processor
        .tap(&dataset(), TapPoint::Decoded, 10)
        .await
        .unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    queue.append(numbers(1, 0, 0..5)).await.unwrap();
    caught_up(&processor, &warehouse).await;
    let missing = processor.tap(&dataset(), point("ad"), 10).await.unwrap_err();
    assert!(missing.to_string().contains("steps=[add, refuse]"), "{missing}");
    let points = [
        TapPoint::Decoded,
        point("add"),
        TapPoint::Before("refuse".to_owned()),
        point("refuse"),
        TapPoint::Inserted,
        TapPoint::Rejected,
    ];
    let mut taps = Vec::new();
    for point in points {
        taps.push(processor.tap(&dataset(), point, 100).await.unwrap());
    }
    let mut small = processor.tap(&dataset(), point("add"), 2).await.unwrap();
    queue.append(numbers(1, 1, 10..15)).await.unwrap();
    caught_up(&processor, &warehouse).await;
    let mut seen = Vec::new();
    for tap in &mut taps {
        let count = [5, 5, 5, 2, 2, 3][seen.len()];
        let mut events = Vec::new();
        for _ in 0..count {
            let tapped = tap.next().await.unwrap();
            assert_eq!(tapped.offset, queue::Offset(1));
            let shown = tapped
                .event
                .get("n")
                .or(tapped.event.get("raw"))
                .unwrap()
                .to_string();
            events.push((tapped.line, shown));
        }
        assert_eq!(tap.dropped(), 0);
        seen.push(events);
    }
    let lines = |lines: &[(u32, &str)]| {
        lines
            .iter()
            .map(|(at, n)| (*at, (*n).to_owned()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        seen[0],
        lines(&[(1, "10"), (2, "11"), (3, "12"), (4, "13"), (5, "14")])
    );
    assert_eq!(
        seen[1],
        lines(&[(1, "110"), (2, "111"), (3, "112"), (4, "113"), (5, "114")])
    );
    assert_eq!(seen[2], seen[1]);
    assert_eq!(seen[3], lines(&[(2, "111"), (4, "113")]));
    assert_eq!(seen[4], seen[3]);
    let raw = [
        (1, r#""{\"n\":10}""#),
        (3, r#""{\"n\":12}""#),
        (5, r#""{\"n\":14}""#),
    ];
    assert_eq!(seen[5], lines(&raw));
    assert_eq!(small.dropped(), 3);
    assert_eq!(small.next().await.unwrap().line, 1);
    drop(taps);
    queue.append(numbers(1, 2, 20..25)).await.unwrap();
    caught_up(&processor, &warehouse).await;
    processor.stop().await;
    // What it has is given; then it is over.
    assert_eq!(small.next().await.unwrap().line, 2);
    assert_eq!(
        (small.next().await.unwrap().offset, small.dropped()),
        (queue::Offset(2), 7)
    );
    assert_eq!(small.next().await, None);
}
