//! Insert modes, and the bound over all tables.

use object_store::memory::InMemory;
use proptest::prelude::*;

use super::*;
use crate::{AutoOptions, Costs, InsertMode, Observation};

const WINDOW: InsertMode = InsertMode::MicroBatch {
    window: Duration::from_secs(3_600),
};

async fn in_memory(options: WarehouseOptions) -> Warehouse {
    let options = WarehouseOptions {
        flush_age: Duration::from_secs(3_600),
        ..options
    };
    Warehouse::open_in(Arc::new(InMemory::new()), &options)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_is_seen_when_it_is_committed() {
    let folder = tempfile::tempdir().unwrap();
    let options = WarehouseOptions {
        insert_mode: InsertMode::MicroBatch {
            window: Duration::from_millis(30),
        },
        ..options(&folder)
    };
    let warehouse = Warehouse::open(options).await.unwrap();
    let table = warehouse.create("wiki", dataset()).await.unwrap();
    let mut changes = table.changes();
    for start in 0..50 {
        append(&table, start * 2..start * 2 + 2).await;
        let version = table.version();
        assert!(version.hot.is_empty());
        let in_files: u64 = version.files.iter().map(|file| file.rows).sum();
        assert_eq!(version.progress.of("wiki/0"), in_files);
    }
    let all_seen = changes
        .wait_for(|version| version.progress == progress(100))
        .await;
    assert_eq!(all_seen.unwrap().durable, Some(progress(100)));
    check_ids(&table, 0..100).await;
    // Progress without rows hides nothing, so it is seen at once.
    table.append(vec![], &progress(101)).await.unwrap();
    assert_eq!(table.version().progress, progress(101));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_ends_early_by_bytes_or_when_it_is_sealed() {
    let warehouse = in_memory(WarehouseOptions {
        flush_bytes: 100_000,
        insert_mode: WINDOW,
        ..WarehouseOptions::new("")
    })
    .await;
    let table = warehouse.create("wiki", dataset()).await.unwrap();
    let mut changes = table.changes();
    table.seal();
    append(&table, 0..10).await;
    assert!(
        matches!(table.due(tokio::time::Instant::now()), Due::At(_)),
        "there was nothing to seal"
    );
    table.seal();
    let sealed = changes.wait_for(|version| version.progress == progress(10)).await;
    assert_eq!(sealed.unwrap().durable, Some(progress(10)));
    append(&table, 10..5_000).await;
    let large = changes
        .wait_for(|version| version.progress == progress(5_000))
        .await;
    assert!(large.unwrap().hot.is_empty());
    check_ids(&table, 0..5_000).await;
}

#[derive(Clone, Debug)]
enum Step {
    Append(i64),
    Flush,
    Stream,
    Gather,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1i64..40).prop_map(Step::Append),
        2 => Just(Step::Flush),
        1 => Just(Step::Stream),
        1 => Just(Step::Gather),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// A version is always the rows before its progress, whatever the mode was when they came; none is hidden while
    /// streaming.
    #[test]
    fn a_version_is_a_prefix_of_what_was_taken(steps in prop::collection::vec(step(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let warehouse = in_memory(WarehouseOptions::new("")).await;
            let table = warehouse.create("wiki", dataset()).await.unwrap();
            let (mut taken, mut seen, mut streams) = (0, 0, true);
            for step in steps {
                match step {
                    Step::Append(rows) => {
                        append(&table, taken..taken + rows).await;
                        taken += rows;
                    }
                    Step::Flush => table.flush().await.unwrap(),
                    Step::Stream | Step::Gather => {
                        streams = matches!(step, Step::Stream);
                        table.set_insert_mode(if streams { InsertMode::Streaming } else { WINDOW });
                    }
                }
                let flushed = matches!(step, Step::Flush);
                let version = table.version();
                let now = version.progress.of("wiki/0") as i64;
                assert_eq!(ids(&all(&table, &version).await), (0..now).collect::<Vec<_>>());
                assert!(now >= seen && now <= taken);
                assert!(now == taken || !(streams || flushed));
                assert_eq!(table.stats().hot_rows + table.stats().file_rows, taken as u64);
                seen = now;
            }
        });
    }
}

#[tokio::test]
async fn auto_changes_the_table_and_says_why() {
    let auto = AutoOptions::new(Costs {
        streaming_row: Duration::from_micros(10),
        micro_batch_row: Duration::from_micros(5),
        commit: Duration::from_millis(10),
        streaming_commit_age: Duration::from_secs(30),
    });
    let warehouse = in_memory(WarehouseOptions {
        insert_mode: InsertMode::Auto(auto),
        ..WarehouseOptions::new("")
    })
    .await;
    let table = warehouse.create("wiki", dataset()).await.unwrap();
    let observe = |second, rows_per_second| Observation {
        at: Duration::from_secs(second),
        rows_per_second,
        lag: Duration::ZERO,
        commit: Duration::from_secs(1),
    };
    append(&table, 0..5).await;
    check_ids(&table, 0..5).await;
    let decided = (0..120).find_map(|second| table.steer(&observe(second, 50_000.0)));
    let status = table.insert_status();
    assert_eq!(status.window, decided.unwrap().window);
    assert!(
        status.window.is_some() && status.reason.contains("cheaper") && status.changes == 1,
        "{status:?}"
    );
    append(&table, 5..10).await;
    check_ids(&table, 0..5).await;
    table.set_insert_mode(InsertMode::Streaming);
    check_ids(&table, 0..10).await;
    assert_eq!(table.steer(&observe(300, 50_000.0)), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_stalls_makes_appends_wait_and_all_is_there_when_it_answers() {
    const MAX: usize = 400_000;
    let folder = tempfile::tempdir().unwrap();
    for insert_mode in [InsertMode::Streaming, WINDOW] {
        let store = Arc::new(Faulty::new(&folder.path().join(format!("{insert_mode:?}"))));
        let options = WarehouseOptions {
            hot_bytes_max: 1 << 30,
            hot_bytes_total_max: MAX,
            insert_mode,
            ..options(&folder)
        };
        let warehouse = Warehouse::open_in(store.clone(), &options).await.unwrap();
        store.set(Some(Fault::Stall));
        let mut tables = Vec::new();
        for name in ["a", "b", "c"] {
            tables.push(warehouse.create(name, dataset()).await.unwrap());
        }
        let writers: Vec<_> = tables
            .iter()
            .cloned()
            .map(|table| {
                tokio::spawn(async move {
                    for start in 0..100 {
                        append(&table, start * 50..start * 50 + 50).await;
                    }
                })
            })
            .collect();
        // Each comes to its share of the bound, and waits there.
        let hot = |table: &Arc<Table>| table.stats().hot_bytes as usize;
        let total = || tables.iter().map(hot).sum::<usize>();
        while tables
            .iter()
            .any(|table| hot(table) <= MAX.saturating_sub(total()))
        {
            tokio::task::yield_now().await;
        }
        let a_batch = rows(0..50).get_array_memory_size();
        assert!(total() < MAX, "{}", total());
        assert!(tables.iter().all(|table| hot(table) <= MAX / 2 + 2 * a_batch));
        assert!(writers.iter().all(|writer| !writer.is_finished()));
        // One that is calm is let in.
        let calm = warehouse.create("calm", dataset()).await.unwrap();
        append(&calm, 0..1).await;

        store.set(None);
        for writer in writers {
            writer.await.unwrap();
        }
        for table in &tables {
            assert!(table.stats().flushes > 0, "the bound flushed it");
            table.flush().await.unwrap();
            check_ids(table, 0..5_000).await;
        }
        calm.flush().await.unwrap();
        check_ids(&calm, 0..1).await;
    }
}

/// Many tables, each far from its own limits: the bound over all flushes the largest, so nobody waits for ever.
#[tokio::test(flavor = "multi_thread")]
async fn many_small_tails_stay_within_one_bound() {
    let warehouse = in_memory(WarehouseOptions {
        hot_bytes_total_max: 100_000,
        ..WarehouseOptions::new("")
    })
    .await;
    for table in 0..40 {
        let table = warehouse.create(&format!("t{table}"), dataset()).await.unwrap();
        append(&table, 0..20).await;
        let hot: u64 = warehouse
            .tables()
            .iter()
            .map(|table| table.stats().hot_bytes)
            .sum();
        assert!(hot <= 110_000, "{hot}");
    }
    assert!(warehouse.tables().iter().any(|table| table.stats().flushes > 0));
    for table in warehouse.tables() {
        check_ids(&table, 0..20).await;
    }
}
