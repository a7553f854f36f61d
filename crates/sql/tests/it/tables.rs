//! Tables: files that are older than columns, rows on their way from hot to cold, stores.

use arrow::datatypes::FieldRef;
use bytes::Bytes;
use serde_json::json;
use sql::ErrorKind;
use store::{Commit, Progress, Store};

use crate::{World, append, number, structs, text};

#[tokio::test]
async fn older_files_read_as_nulls() {
    let world = World::new().await;
    let table = world.dataset("d", vec![structs("event", vec![text("a")])]).await;
    append(&table, 1, &[json!({"event": {"a": "one"}})]).await;
    table.flush().await.unwrap();
    let inner = structs("inner", vec![number("n")]);
    let grown = vec![
        structs("event", vec![text("a"), text("b"), inner]),
        number("later"),
    ];
    table
        .dataset_schema()
        .unwrap()
        .grow(|_| grown.into_iter().map(FieldRef::new).collect());
    append(
        &table,
        2,
        &[json!({"event": {"a": "two", "b": "B", "inner": {"n": 7}}, "later": 2})],
    )
    .await;
    let sql = "select event.a, event.b, event.inner.n, later from d order by event.a";
    let expected = "a|b|n|later\none|||\ntwo|B|7|2";
    world.check(sql, expected).await;
    table.flush().await.unwrap();
    world.check(sql, expected).await;
    world
        .check("select event.a from d where event.b = 'B'", "a\ntwo")
        .await;
    world
        .check(
            "select event.a from d where event.b is null and later is null",
            "a\none",
        )
        .await;
    world
        .check(
            "select event from d order by event.a limit 1",
            "event\n{a: one, b: , inner: }",
        )
        .await;
    world
        .check("select count(later) as n, count(*) as m from d", "n|m\n1|2")
        .await;
}

#[tokio::test]
async fn nothing_vanishes_or_doubles_while_rows_become_files() {
    let world = World::new().await;
    let table = world.dataset("d", vec![number("n")]).await;
    let writer = {
        let table = table.clone();
        tokio::spawn(async move {
            for i in 0..30u64 {
                append(&table, i + 1, &[json!({"n": i}), json!({"n": i})]).await;
                if i % 3 == 2 {
                    table.flush().await.unwrap();
                }
            }
        })
    };
    let mut last = 0;
    while last < 60 {
        // One version for both reads of the table: they always agree.
        let answer = world
            .answer("select (select count(*) from d) as a, (select count(n) from d) as b, sum(n) as s from d")
            .await;
        let row: Vec<u64> = answer
            .lines()
            .nth(1)
            .unwrap()
            .split('|')
            .map(|n| n.parse().unwrap_or(0))
            .collect();
        let (count, half) = (row[0], row[0] / 2);
        assert_eq!(row[0], row[1], "{answer}");
        assert!(count >= last && count % 2 == 0, "{answer}");
        assert_eq!(row[2], half * half.saturating_sub(1), "{answer}");
        last = count;
    }
    writer.await.unwrap();
    assert!(table.stats().flushes >= 10);
}

#[tokio::test]
async fn an_empty_table_has_no_rows() {
    let world = World::new().await;
    world.dataset("d", vec![number("n")]).await;
    world.check("select n from d", "n").await;
    world
        .check("select count(*) as c, max(n) as m from d", "c|m\n0|")
        .await;
}

#[tokio::test]
async fn rejected_events_are_a_table() {
    let world = World::new().await;
    let table = world
        .warehouse
        .create("d$failed", event::failed_schema())
        .await
        .unwrap();
    append(
        &table,
        1,
        &[json!({"stage": "decode", "reason": "no JSON", "raw": "7b", "line": 3})],
    )
    .await;
    world
        .check(
            "select stage, reason, line, cast(raw as varchar) as raw from d$failed",
            "stage|reason|line|raw\ndecode|no JSON|3|{",
        )
        .await;
    table.flush().await.unwrap();
    world.check(r#"select Line from "D$FAILED""#, "line\n3").await;
}

async fn fill(world: &World, name: &str, pairs: Vec<(serde_json::Value, serde_json::Value)>) {
    let bytes = |json: serde_json::Value| Bytes::from(json.to_string());
    let store = world.stores.store(name).unwrap();
    let writes = pairs
        .into_iter()
        .map(|(k, v)| (bytes(k), Some(bytes(v))))
        .collect();
    let progress: Progress = [("0", 1)].into_iter().collect();
    store
        .commit(Commit {
            writes,
            expected: None,
            progress,
        })
        .await
        .unwrap();
}

pub(crate) async fn word_count(world: &World) {
    world
        .stores
        .set_shape("word_count", json!({"key": "string", "value": "u64"}))
        .unwrap();
    fill(
        world,
        "word_count",
        vec![
            (json!("whale"), json!(1226)),
            (json!("sea"), json!(454)),
            (json!("17"), json!(2)),
        ],
    )
    .await;
}

#[tokio::test]
async fn stores_are_tables() {
    let world = World::new().await;
    word_count(&world).await;
    world
        .check(
            "SELECT key, value FROM stores.word_count ORDER BY value DESC",
            "key|value\nwhale|1226\nsea|454\n17|2",
        )
        .await;
    world
        .check("select sum(VALUE) as s from `Stores`.`WORD_COUNT`", "s\n1682")
        .await;
    world
        .check(
            "select value from `stores.word_count` where key = 'sea'",
            "value\n454",
        )
        .await;

    let many = (0..10_000)
        .map(|i| (json!(i), json!({"n": i, "by": {"x": [i]}})))
        .collect();
    let shape = json!({"key": "i64", "value": {"struct": [["n", "i64"], ["by", "json"], ["gone", "f64"]]}});
    world.stores.set_shape("many", shape).unwrap();
    fill(&world, "many", many).await;
    world
        .check(
            "select count(*) as c, sum(value.n) as s, max(key) as k from stores.many",
            "c|s|k\n10000|49995000|9999",
        )
        .await;
    world
        .check(
            "select value from stores.many where key = 7",
            "value\n{n: 7, by: {\"x\":[7]}, gone: }",
        )
        .await;

    fill(&world, "bare", vec![(json!(["a", 1]), json!({"x": 1}))]).await;
    world
        .check("select * from stores.bare", "key|value\n[\"a\",1]|{\"x\":1}")
        .await;

    world
        .stores
        .set_shape("wrong", json!({"key": "string", "value": "i64"}))
        .unwrap();
    fill(&world, "wrong", vec![(json!("a"), json!("text"))]).await;
    world
        .fails("select * from stores.wrong", ErrorKind::Corrupt, "store=wrong")
        .await;
    world
        .fails(
            "select * from stores.none",
            ErrorKind::Invalid,
            "no such table table=stores.none",
        )
        .await;
    assert!(
        !world.stores.names().contains(&"none".to_owned()),
        "asking makes no store"
    );
}

#[tokio::test]
async fn what_the_system_tells_of_itself_has_a_schema_of_its_own() {
    let world = World::new().await;
    let table = world.dataset("sanderling_tracers", vec![text("host")]).await;
    append(&table, 1, &[json!({"host": "a"}), json!({"host": "b"})]).await;
    world
        .check_all(&[
            ("select host from sanderling.tracers order by host", "host\na\nb"),
            (
                "select t.host from Sanderling.Tracers as t where t.host = 'b'",
                "host\nb",
            ),
            ("select count(*) as n from `sanderling.tracers`", "n\n2"),
            ("select count(*) as n from sanderling_tracers", "n\n2"),
        ])
        .await;
    let missing = "no such table table=sanderling.other";
    world
        .fails("select * from sanderling.other", ErrorKind::Invalid, missing)
        .await;
}

#[tokio::test]
async fn the_system_tells_of_itself() {
    let world = World::new().await;
    let clicks = world.dataset("clicks", vec![number("n")]).await;
    append(&clicks, 1, &[json!({"n": 1}), json!({"n": 2})]).await;
    clicks.flush().await.unwrap();
    append(&clicks, 2, &[json!({"n": 3})]).await;
    world
        .check("select count(*) as n from sanderling.failed", "n\n0")
        .await;
    for name in ["a$failed", "b$failed"] {
        let failed = plain(&world, name).await;
        append(
            &failed,
            1,
            &[json!({"stage": "decode", "reason": name, "line": 1, "raw": "78"})],
        )
        .await;
    }
    world
        .check_all(&[
            (
                "select dataset, files, file_rows, hot_rows from sanderling.datasets where dataset = 'clicks'",
                "dataset|files|file_rows|hot_rows\nclicks|1|2|1",
            ),
            (
                "select dataset, rows, event_time_min <= event_time_max as ok from sanderling.FILES",
                "dataset|rows|ok\nclicks|2|true",
            ),
            (
                "select dataset, STAGE, reason from sanderling.failed order by dataset",
                "dataset|stage|reason\na|decode|a$failed\nb|decode|b$failed",
            ),
            (
                "select sql, rows, memory_bytes >= 0 as m from sanderling.queries",
                "sql|rows|m\nselect sql, rows, memory_bytes >= 0 as m from sanderling.queries|0|true",
            ),
            ("select sanderling_cancel(1000000) as found", "found\nfalse"),
        ])
        .await;
}

async fn plain(world: &World, name: &str) -> std::sync::Arc<warehouse::Table> {
    world
        .warehouse
        .create(name, event::failed_schema())
        .await
        .unwrap()
}
