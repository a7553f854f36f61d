//! The embeds of a real web log by the example `embeds`, on every platform, over files and over a server.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use sanderling::{DatasetSettings, Server};
use serde_json::{Value, json};

use crate::program::pairs_of;
use crate::support::{connect, settings, wait_for};
use crate::{data, digest, reference};

const FILE: &str = "semicomplete-access-2015-05-17_20.log.gz";

/// A server that a shipper has sent the log's good lines, with their times.
async fn server(folder: &Path) -> Server {
    let mut settings = settings(folder);
    let of_dataset = DatasetSettings {
        event_time: Some("time".to_owned()),
        ..DatasetSettings::default()
    };
    settings.datasets.insert("weblog".parse().unwrap(), of_dataset);
    let server = Server::start(settings).await.unwrap();
    let client = connect(&server);
    let dataset = client.dataset("weblog").unwrap();
    let file = std::fs::File::open(data().join(FILE)).unwrap();
    for line in BufReader::new(MultiGzDecoder::new(file)).lines() {
        let line = line.unwrap();
        let Some(time) = line.split(['[', ']']).nth(1) else {
            continue;
        };
        let Ok(time) = jiff::Timestamp::strptime("%d/%b/%Y:%H:%M:%S %z", time) else {
            continue;
        };
        dataset
            .emit_wait(&json!({"time": time, "line": line}))
            .await
            .unwrap();
    }
    client.flush().await.unwrap();
    let lines = reference("weblog")["scalars"]["lines"].as_i64().unwrap();
    wait_for(&client, "SELECT count(*) FROM weblog", lines).await;
    server
}

fn check(found: &BTreeMap<String, Value>) {
    let reference = &reference("weblog")["maps"];
    let of_store = |store: &str| -> BTreeMap<String, &Value> {
        let keys = found
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(store)?.to_owned(), value)));
        keys.collect()
    };
    let images: BTreeMap<(String, String), &Value> = of_store("images")
        .into_iter()
        .map(|(key, value)| (serde_json::from_str(&key).unwrap(), value))
        .collect();
    let by_hour_path = images
        .iter()
        .map(|((path, hour), shown)| (format!("{hour}\t{path}"), shown["times"].to_string()));
    assert_eq!(
        digest(by_hour_path.collect()),
        reference["image_embeds_by_hour_path"]["sha256"]
    );

    let mut by_site = BTreeMap::<&str, u64>::new();
    for shown in images.values() {
        let sites = shown["sites"].as_object().unwrap();
        for (site, times) in sites {
            *by_site.entry(site).or_default() += times.as_u64().unwrap();
        }
        assert_eq!(shown["distinct_sites"], json!(sites.len() as f64));
        // All are found that make up a tenth, with their true counts: there are few, so no two share all four cells.
        let total = shown["times"].as_u64().unwrap();
        let top: BTreeMap<String, u64> = serde_json::from_value(pairs_as_map(&shown["top_sites"])).unwrap();
        for (site, times) in sites
            .iter()
            .filter(|(_, times)| times.as_u64().unwrap() * 10 >= total)
        {
            assert_eq!(top.get(site).copied(), times.as_u64(), "{site}");
        }
    }
    let by_site = by_site
        .into_iter()
        .map(|(site, times)| (site.to_owned(), times.to_string()));
    assert_eq!(
        digest(by_site.collect()),
        reference["image_embeds_by_host"]["sha256"]
    );

    let top = of_store("top");
    assert!(!top.is_empty());
    for (hour, images_of_hour) in top {
        let hour: String = serde_json::from_str(&hour).unwrap();
        let exact: BTreeMap<&str, u64> = images
            .iter()
            .filter(|((_, of), _)| *of == hour)
            .map(|((path, _), shown)| (path.as_str(), shown["times"].as_u64().unwrap()))
            .collect();
        let total: u64 = exact.values().sum();
        let found: BTreeMap<String, u64> = serde_json::from_value(pairs_as_map(images_of_hour)).unwrap();
        for (path, times) in exact.iter().filter(|(_, times)| **times * 20 >= total) {
            assert_eq!(found.get(*path), Some(times), "{hour} {path}");
        }
    }
}

/// `[[name, count], …]` as an object.
fn pairs_as_map(pairs: &Value) -> Value {
    let pairs: Vec<(String, u64)> = serde_json::from_value(pairs.clone()).unwrap();
    json!(pairs.into_iter().collect::<BTreeMap<_, _>>())
}

#[tokio::test(flavor = "multi_thread")]
async fn embeds_are_the_reference_on_every_platform() {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("text:{}", data().join(FILE).display());
    let of_file = ["--source", &file, "--malformed", "skip"].map(str::to_owned);
    let store = |name: &str| {
        [
            "--store".to_owned(),
            format!("file:{}", folder.path().join(name).display()),
        ]
    };
    let on = |platform: &str| {
        [
            "--platform".to_owned(),
            platform.to_owned(),
            "--batch".to_owned(),
            "1d".to_owned(),
        ]
    };
    let first = pairs_of(
        "embeds",
        [&of_file[..], &["--platform".to_owned(), "memory".to_owned()]].concat(),
    )
    .await;
    check(&first);
    for arguments in [
        [&of_file[..], &store("local")].concat(),
        [&of_file[..], &on("batch"), &store("batch")].concat(),
        [
            &of_file[..],
            &on("hybrid"),
            &["--until".to_owned(), "2015-05-19".to_owned()],
        ]
        .concat(),
    ] {
        assert_eq!(pairs_of("embeds", arguments).await, first);
    }

    let server = server(folder.path()).await;
    let address = format!("http://{}", server.flight());
    let live = [
        "--source".to_owned(),
        format!("weblog@{address}"),
        "--once".to_owned(),
    ];
    let to_server = |name: &str| ["--store".to_owned(), format!("server:{name}@{address}")];
    let history = [
        "--history".to_owned(),
        file,
        "--malformed".to_owned(),
        "skip".to_owned(),
    ];
    for arguments in [
        [&live[..], &to_server("live")].concat(),
        [&live[..], &on("batch"), &to_server("batch")].concat(),
        // History from the file, what is live from the server.
        [&live[..], &history, &on("hybrid"), &to_server("hybrid")].concat(),
    ] {
        assert_eq!(pairs_of("embeds", arguments).await, first);
    }
    server.shutdown().await.unwrap();
}
