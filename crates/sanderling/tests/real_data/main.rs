//! Real events, sent through the program, give the answers that two independent computations gave.
//!
//! `SANDERLING_DATA` names the folder of the data files; the answers are in `../reference` beside it.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod embeds;
mod program;
mod weblog;
mod words;

#[path = "../it/support.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use sanderling::{DatasetSettings, Server};
use serde_json::Value;
use sha2::{Digest, Sha256};

use support::{connect, rows, settings, wait_for};

fn data() -> PathBuf {
    std::env::var_os("SANDERLING_DATA")
        .expect("SANDERLING_DATA names the folder of the real data")
        .into()
}

fn reference(dataset: &str) -> Value {
    let path = data().join("../reference").join(format!("{dataset}.json"));
    serde_json::from_slice(&std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
        .unwrap()
}

/// A server that holds one of the data files, sent by `sanderling send`.
async fn server_with(folder: &Path, dataset: &str, file: &str, event_time: &str) -> Server {
    let of_dataset = DatasetSettings {
        event_time: Some(event_time.to_owned()),
        ..DatasetSettings::default()
    };
    let server = server_of(folder, dataset, of_dataset).await;
    send(&server, dataset, file, &[]).await;
    let records = reference(dataset)["scalars"]["records"].as_i64().unwrap();
    wait_for(
        &connect(&server),
        &format!("SELECT count(*) FROM {dataset}"),
        records,
    )
    .await;
    server
}

/// A server with one dataset that is set.
async fn server_of(folder: &Path, dataset: &str, of_dataset: DatasetSettings) -> Server {
    let mut settings = settings(folder);
    settings.datasets.insert(dataset.parse().unwrap(), of_dataset);
    // Some of the rows become files while the others come in.
    settings.warehouse.flush_age = std::time::Duration::from_millis(300);
    Server::start(settings).await.unwrap()
}

/// Sends a data file by `sanderling send`.
async fn send(server: &Server, dataset: &str, file: &str, flags: &[&str]) {
    let (address, dataset_name, path) = (server.flight(), dataset.to_owned(), data().join(file));
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    let sent = tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_sanderling"))
            .args([
                "send",
                &dataset_name,
                path.to_str().unwrap(),
                "--server",
                &format!("http://{address}"),
            ])
            .args(flags)
            .status()
            .unwrap()
    });
    assert!(sent.await.unwrap().success());
}

/// A cell as the reference writes it.
fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The digest of a whole map: its lines `key TAB values LF` in the order of the keys' bytes.
fn digest(mut lines: Vec<(String, String)>) -> String {
    lines.sort();
    let mut hasher = Sha256::new();
    for (key, values) in lines {
        hasher.update(format!("{key}\t{values}\n"));
    }
    hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Compares scalars (name, expression) and maps (name, number of key columns, query) with the reference.
async fn check(server: &Server, dataset: &str, scalars: &[(&str, &str)], maps: &[(&str, usize, &str)]) {
    let (client, reference) = (connect(server), reference(dataset));
    for (name, expression) in scalars {
        let sql = if expression.starts_with("SELECT") {
            (*expression).to_owned()
        } else {
            format!("SELECT {expression} AS x FROM {dataset}")
        };
        let found = rows(&client, &sql)
            .await
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let found = found[0].as_object().unwrap().values().next().unwrap();
        let expected = &reference["scalars"][name];
        assert!(!expected.is_null(), "the reference has no {name}");
        match (found.as_f64(), expected.as_f64()) {
            (Some(found), Some(expected)) if !expected.fract().eq(&0.0) => {
                assert!(
                    (found - expected).abs() <= expected.abs() * 1e-9,
                    "{name}: {found} is not {expected}"
                );
            }
            (Some(found), Some(expected)) => assert_eq!(found, expected, "{name}"),
            _ => assert_eq!(found, expected, "{name}"),
        }
    }
    for (name, keys, sql) in maps {
        let found = rows(&client, sql).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        let expected = &reference["maps"][name];
        assert_eq!(
            Some(found.len() as u64),
            expected["entries"].as_u64(),
            "{name}: entries"
        );
        let lines = found.iter().map(|row| {
            let cells: Vec<String> = row.as_object().unwrap().values().map(cell).collect();
            (cells[..*keys].join("\t"), cells[*keys..].join("\t"))
        });
        assert_eq!(
            digest(lines.collect()),
            expected["sha256"].as_str().unwrap(),
            "{name}: the whole map"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wikiticker_gives_the_reference_answers() {
    let folder = tempfile::tempdir().unwrap();
    let server = server_with(
        folder.path(),
        "wikiticker",
        "wikiticker-2015-09-12-sampled.json.gz",
        "time",
    )
    .await;
    let group = "count(*) AS n, sum(added) AS a, sum(deleted) AS d, sum(delta) AS e, count(DISTINCT \"user\") AS u, \
                 count(DISTINCT page) AS p, count(*) FILTER (WHERE isRobot) AS r, count(*) FILTER (WHERE isAnonymous) AS y \
                 FROM wikiticker GROUP BY 1";
    check(
        &server,
        "wikiticker",
        &[
            ("records", "count(*)"),
            ("min_time", "min(time)"),
            ("max_time", "max(time)"),
            ("distinct_user", "count(DISTINCT \"user\")"),
            ("distinct_page", "count(DISTINCT page)"),
            ("distinct_channel", "count(DISTINCT channel)"),
            ("distinct_comment", "count(DISTINCT comment)"),
            ("distinct_namespace", "count(DISTINCT namespace)"),
            ("distinct_countryName", "count(DISTINCT countryName)"),
            ("distinct_cityName", "count(DISTINCT cityName)"),
            ("distinct_channel_page", "SELECT count(*) AS x FROM (SELECT DISTINCT channel, page FROM wikiticker)"),
            ("sum_added", "sum(added)"),
            ("sum_deleted", "sum(deleted)"),
            ("sum_delta", "sum(delta)"),
            ("count_isAnonymous", "COUNTIF(isAnonymous)"),
            ("count_isMinor", "COUNTIF(isMinor)"),
            ("count_isNew", "COUNTIF(isNew)"),
            ("count_isRobot", "COUNTIF(isRobot)"),
            ("count_isUnpatrolled", "COUNTIF(isUnpatrolled)"),
            (
                "sessions_user_gap_30min",
                "SELECT count(*) AS x FROM (SELECT eventTime - lag(eventTime) OVER (PARTITION BY \"user\" ORDER BY eventTime) AS step FROM wikiticker) \
                 WHERE step IS NULL OR step > INTERVAL '30 minutes'",
            ),
        ],
        &[
            ("by_channel", 1, &format!("SELECT channel, {group}")),
            ("by_hour", 1, &format!("SELECT substr(time, 1, 13) AS h, {group}")),
            ("by_minute", 1, "SELECT substr(time, 1, 16) AS m, count(*) AS n FROM wikiticker GROUP BY 1"),
            (
                "by_hour_channel",
                2,
                "SELECT substr(time, 1, 13) AS h, channel, count(*) AS n, sum(added) AS a FROM wikiticker GROUP BY 1, 2",
            ),
            ("by_page", 1, "SELECT page, count(*) AS n FROM wikiticker GROUP BY 1"),
            ("by_user", 1, "SELECT \"user\", count(*) AS n, sum(added) AS a FROM wikiticker GROUP BY 1"),
            ("by_namespace", 1, "SELECT namespace, count(*) AS n FROM wikiticker GROUP BY 1"),
            (
                "by_country",
                1,
                "SELECT countryName, count(*) AS n FROM wikiticker WHERE countryName IS NOT NULL GROUP BY 1",
            ),
            ("added_by_channel_page", 2, "SELECT channel, page, sum(added) AS a FROM wikiticker GROUP BY 1, 2"),
            (
                "top5_pages_per_hour",
                3,
                "SELECT h, rk, page, n FROM (SELECT h, page, n, row_number() OVER (PARTITION BY h ORDER BY n DESC, page) AS rk \
                 FROM (SELECT substr(time, 1, 13) AS h, page, count(*) AS n FROM wikiticker GROUP BY 1, 2)) WHERE rk <= 5",
            ),
        ],
    )
    .await;
    words::check(
        &server,
        "wikiticker",
        "comment",
        [
            ("comment_words_ws", words::Words::Ws),
            ("comment_words_ascii", words::Words::Ascii),
        ],
    )
    .await;
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tweets_give_the_reference_answers() {
    let folder = tempfile::tempdir().unwrap();
    let server = server_with(
        folder.path(),
        "tweets",
        "tweets-maymac-2017-08-27.ndjson.gz",
        "created_at",
    )
    .await;
    check(
        &server,
        "tweets",
        &[
            ("records", "count(*)"),
            ("distinct_user", "count(DISTINCT \"user\")"),
            ("min_time", "min(created_at)"),
            ("max_time", "max(created_at)"),
        ],
        &[
            (
                "by_minute",
                1,
                "SELECT substr(created_at, 1, 16) AS m, count(*) AS n FROM tweets GROUP BY 1",
            ),
            (
                "by_user",
                1,
                "SELECT \"user\", count(*) AS n FROM tweets GROUP BY 1",
            ),
        ],
    )
    .await;
    words::check(
        &server,
        "tweets",
        "text",
        [
            ("words_ws", words::Words::Ws),
            ("words_ascii", words::Words::Ascii),
        ],
    )
    .await;
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn openbandit_gives_the_reference_answers() {
    let folder = tempfile::tempdir().unwrap();
    let file = "openbandit-impressions-2019-11-24_30.ndjson.gz";
    let server = server_with(folder.path(), "openbandit", file, "ts").await;
    let propensity = |campaign: &str, policy: &str| {
        format!(
            "SELECT sum(click / propensity_score) AS x FROM openbandit WHERE campaign = '{campaign}' AND policy = '{policy}'"
        )
    };
    let group = "count(*) AS n, sum(click) AS c, count(DISTINCT array_to_string(user_features, ',')) AS u FROM openbandit GROUP BY";
    check(
        &server,
        "openbandit",
        &[
            ("records", "count(*)"),
            ("clicks", "sum(click)"),
            ("min_time", "min(ts)"),
            ("max_time", "max(ts)"),
            (
                "distinct_user_features",
                "count(DISTINCT array_to_string(user_features, ','))",
            ),
            (
                "distinct_campaign_item",
                "SELECT count(*) AS x FROM (SELECT DISTINCT campaign, item_id FROM openbandit)",
            ),
            ("sum_click_over_propensity_men_bts", &propensity("men", "bts")),
            (
                "sum_click_over_propensity_men_random",
                &propensity("men", "random"),
            ),
            ("sum_click_over_propensity_women_bts", &propensity("women", "bts")),
            (
                "sum_click_over_propensity_women_random",
                &propensity("women", "random"),
            ),
        ],
        &[
            (
                "by_campaign_policy",
                2,
                &format!("SELECT campaign, policy, {group} 1, 2"),
            ),
            (
                "by_campaign_item",
                2,
                &format!("SELECT campaign, item_id, {group} 1, 2"),
            ),
            (
                "by_campaign_item_position",
                3,
                &format!("SELECT campaign, item_id, position, {group} 1, 2, 3"),
            ),
            ("by_position", 1, &format!("SELECT position, {group} 1")),
            ("by_day", 1, &format!("SELECT substr(ts, 1, 10) AS d, {group} 1")),
            ("by_hour", 1, &format!("SELECT substr(ts, 1, 13) AS h, {group} 1")),
            (
                "by_hour_campaign",
                2,
                &format!("SELECT substr(ts, 1, 13) AS h, campaign, {group} 1, 2"),
            ),
        ],
    )
    .await;
    server.shutdown().await.unwrap();
}
