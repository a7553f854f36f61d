//! Datasets that are set: in the file, over HTTP, again while they run; steps and what they reject.

use std::time::Instant;

use sanderling::{DatasetSettings, NativeUdf, NativeUdfs, Server, Settings, StepSettings};
use serde_json::{Value, json};

use crate::http::{post, put};
use crate::plain::plain_numbers;
use crate::process::{Process, free_ports};
use crate::support::{PATIENCE, connect, rows, scalar, settings, wait_for};

const EVENTS: &str = "/v1/datasets/clicks/events";

/// As the file would have it, in a folder of its own.
fn with_clicks(text: &str, data_dir: &std::path::Path) -> Settings {
    let read = Settings::parse(text).unwrap();
    Settings {
        datasets: read.datasets,
        ..settings(data_dir)
    }
}

async fn send(server: &Server, events: &str) {
    let (status, answer) = post(server.http(), EVENTS, &[], events).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_filter_project_and_reject() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"
        [datasets.clicks]
        event_time = "at"
        [[datasets.clicks.steps]]
        name = "clean"
        sql = '''
            SELECT * EXCEPT (email), CASE WHEN strpos(email, '@') = 0 THEN 'no e-mail address' END AS _error
            FROM events WHERE page <> '/health'
        '''
        [[datasets.clicks.steps]]
        native = "loud"
    "#;
    let loud = NativeUdf::columns("loud", |rows| {
        let column = rows.column_by_name("page").expect("the step before leaves it");
        let loud = arrow::array::AsArray::as_string_view(column).iter();
        let loud: arrow::array::StringViewArray = loud.map(|page| page.map(str::to_uppercase)).collect();
        Ok(vec![("page".to_owned(), std::sync::Arc::new(loud) as _)])
    });
    let natives = NativeUdfs::default().with(loud);
    let server = Server::start_with(with_clicks(text, folder.path()), natives)
        .await
        .unwrap();
    let events = [
        json!({"at": "2026-01-01T00:00:00Z", "page": "/a", "email": "a@b"}),
        json!({"at": "2026-01-01T00:00:00Z", "page": "/health", "email": "c@d"}),
        json!({"at": "2026-01-01T00:00:00Z", "page": "/b", "email": "nobody"}),
    ];
    let lines = events.map(|event| event.to_string()).join("\n");
    send(&server, &format!("{lines}\nnot json\n")).await;
    let client = connect(&server);
    wait_for(&client, "SELECT count(*) FROM clicks", 1).await;
    wait_for(&client, "SELECT count(*) FROM \"clicks$failed\"", 2).await;
    let good = rows(
        &client,
        "SELECT * EXCEPT (eventReceivedTime, eventGeneratedTime, _emitter, _sequence) FROM clicks",
    )
    .await
    .unwrap();
    assert_eq!(
        good,
        [json!({"eventTime": "2026-01-01T00:00:00Z", "at": "2026-01-01T00:00:00Z", "page": "/A"})]
    );
    let sql = "SELECT stage, step, reason, CAST(raw AS VARCHAR) AS raw FROM \"clicks$failed\" ORDER BY line";
    let bad = rows(&client, sql).await.unwrap();
    assert_eq!(
        bad[0],
        json!({"stage": "udf", "step": "clean", "reason": "no e-mail address", "raw": events_text(&lines, 2)})
    );
    assert_eq!(
        (&bad[1]["stage"], &bad[1]["raw"]),
        (&json!("decode"), &json!("not json"))
    );
    server.shutdown().await.unwrap();
}

fn events_text(lines: &str, index: usize) -> &str {
    lines.lines().nth(index).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_is_set_over_http_and_again_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = "/v1/datasets/clicks";
    let server = Server::start(settings(folder.path())).await.unwrap();
    let first = "[[steps]]\nname = \"one\"\nsql = \"SELECT *, 1 AS made_by FROM events\"\n";
    let second = first.replace("one", "two").replace("1 AS", "2 AS");

    let (status, answer) = put(server.http(), &format!("{path}?dry_run=true"), first).await;
    assert_eq!((status, &answer["changed"]), (200, &json!(true)), "{answer}");
    let (status, _) = get(&server, path).await;
    assert_eq!(status, 404);
    assert_eq!(put(server.http(), path, first).await.0, 200);
    send(&server, "{\"n\":1}\n").await;
    let client = connect(&server);
    wait_for(&client, "SELECT sum(made_by) FROM clicks", 1).await;

    // What cannot be used changes nothing, and says why.
    for (wrong, part) in [
        (
            "[[steps]]\nname = \"x\"\nsql = \"SELECT count(*) FROM events GROUP BY n, n\" \nwasm = \"y\"",
            "one of sql, wasm and native",
        ),
        ("[[steps]]\nname = \"x\"\nsql = \"SELEKT\"", "parse"),
        ("[[steps]]\nnative = \"nobody\"", "nobody"),
        ("evnt_time = \"x\"", "did you mean `event_time`?"),
    ] {
        let (status, answer) = put(server.http(), path, wrong).await;
        assert_eq!(status, 400, "{answer}");
        assert!(
            answer["error"]["message"].as_str().unwrap().contains(part),
            "{answer}"
        );
    }
    send(&server, "{\"n\":2}\n").await;
    wait_for(&client, "SELECT sum(made_by) FROM clicks", 2).await;

    let (status, answer) = put(server.http(), path, &second).await;
    assert_eq!(status, 200, "{answer}");
    send(&server, "{\"n\":3}\n").await;
    wait_for(&client, "SELECT sum(made_by) FROM clicks", 4).await;
    let (_, shown) = get(&server, path).await;
    assert_eq!(shown["set_by"], "request");
    assert_eq!(shown["settings"]["steps"][0]["name"], "two");
    assert_eq!(shown["chain"]["steps"][0]["name"], "two");
    assert_eq!(shown["rows"], 3);
    server.shutdown().await.unwrap();

    let server = Server::start(settings(folder.path())).await.unwrap();
    send(&server, "{\"n\":4}\n").await;
    wait_for(&connect(&server), "SELECT sum(made_by) FROM clicks", 6).await;
    server.shutdown().await.unwrap();
}

async fn get(server: &Server, path: &str) -> (u16, Value) {
    let (status, body) = crate::http::get(server.http(), path).await;
    (status, serde_json::from_str(&body).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_evolves_or_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = "/v1/datasets/clicks";
    let server = Server::start(settings(folder.path())).await.unwrap();
    let schema = |version: u32, fields: &str| format!("[schema]\nversion = {version}\nfields = [{fields}]\n");
    let n = "{ name = \"n\", type = \"int32\", required = true }";
    assert_eq!(put(server.http(), path, &schema(1, n)).await.0, 200);
    send(&server, "{\"n\":1}\n{\"n\":3000000000}\n{}\n").await;
    let client = connect(&server);
    wait_for(&client, "SELECT count(*) FROM clicks", 1).await;
    wait_for(
        &client,
        "SELECT count(*) FROM \"clicks$failed\" WHERE stage = 'validate'",
        2,
    )
    .await;

    let text = "{ name = \"n\", type = \"text\" }";
    let (status, answer) = put(server.http(), path, &schema(2, text)).await;
    assert_eq!(status, 400);
    assert!(
        answer["error"]["message"].as_str().unwrap().contains("field n"),
        "{answer}"
    );
    let wider = "{ name = \"n\", type = \"int64\" }, { name = \"page\", type = \"text\" }";
    let (status, answer) = put(server.http(), path, &schema(2, wider)).await;
    assert_eq!(status, 200, "{answer}");
    send(&server, "{\"n\":3000000000,\"page\":\"/a\"}\n{}\n").await;
    wait_for(&client, "SELECT count(*) FROM clicks", 3).await;
    assert_eq!(
        scalar(&client, "SELECT max(n) FROM clicks").await,
        Some(3_000_000_000)
    );
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_and_requests_do_not_set_one_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let mut of_file = settings(folder.path());
    let name: event::DatasetName = "clicks".parse().unwrap();
    of_file.datasets.insert(name.clone(), DatasetSettings::default());
    let server = Server::start(of_file.clone()).await.unwrap();
    let (status, answer) = put(server.http(), "/v1/datasets/clicks", "partitions = 2").await;
    assert_eq!(status, 400);
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("settings file"),
        "{answer}"
    );
    assert_eq!(
        put(server.http(), "/v1/datasets/other", "partitions = 2").await.0,
        200
    );

    let mut taken = of_file.clone();
    taken
        .datasets
        .insert("other".parse().unwrap(), DatasetSettings::default());
    let error = server.reload(taken).await.unwrap_err().to_string();
    assert!(error.contains("dataset=other"), "{error}");
    let mut moved = of_file.clone();
    moved.queue.segment_bytes = 1 << 20;
    let error = server.reload(moved).await.unwrap_err().to_string();
    assert!(error.contains("[queue]"), "{error}");
    let mut broken = of_file.clone();
    let step = StepSettings {
        native: Some("nobody".to_owned()),
        ..StepSettings::default()
    };
    broken.datasets.get_mut(&name).unwrap().steps.push(step);
    let error = server.reload(broken).await.unwrap_err().to_string();
    assert!(
        error.contains("nobody") && error.contains("dataset=clicks"),
        "{error}"
    );
    assert_eq!(server.reload(of_file).await.unwrap(), []);
    server.shutdown().await.unwrap();
}

/// A process whose settings file is written again, with events all the while: each goes through the old steps or the new.
#[test]
fn a_process_reads_its_settings_again() {
    let folder = tempfile::tempdir().unwrap();
    let [http, flight, postgres] = free_ports::<3>(5);
    let file = folder.path().join("sanderling.toml");
    let write = |label: &str| {
        let text = format!(
            "data_dir = \"{}\"\nhttp = \"{http}\"\nflight = \"{flight}\"\npostgres = \"{postgres}\"\n\
             [[datasets.clicks.steps]]\nname = \"label\"\nsql = \"SELECT n, '{label}' AS label FROM events\"\n",
            folder.path().join("data").display()
        );
        std::fs::write(&file, text).unwrap();
    };
    write("old");
    let process = Process::start(&["up".to_owned(), "--config".to_owned(), file.display().to_string()]);
    let ask = |sql: &str| -> Value {
        let (_, body) = crate::http::http(http, "POST", "/v1/query?format=ndjson", &[], sql.as_bytes());
        serde_json::from_str(body.lines().next().unwrap_or_default()).unwrap_or_default()
    };
    let start = Instant::now();
    let mut sent = 0;
    let mut send_until = |label: &str| {
        let query = format!("SELECT count(*) AS n FROM clicks WHERE label = '{label}'");
        while ask(&query)["n"].as_i64().unwrap_or(0) == 0 {
            let (status, answer) = crate::http::http(
                http,
                "POST",
                EVENTS,
                &[],
                format!("{{\"n\":{sent}}}\n").as_bytes(),
            );
            assert_eq!(status, 200, "{answer}");
            sent += 1;
            assert!(start.elapsed() < PATIENCE, "no row with label={label}");
        }
    };
    send_until("old");
    write("new");
    process.signal("-HUP");
    let following = std::process::Command::new(env!("CARGO_BIN_EXE_sanderling"))
        .args([
            "query",
            "--follow",
            "--history",
            "SELECT label, n * 10 AS tens FROM clicks WHERE label = 'new'",
        ])
        .args(["--server", &format!("http://{flight}")])
        .stdout(std::process::Stdio::piped())
        .spawn();
    let mut following = following.unwrap();
    send_until("new");
    let out = std::io::BufReader::new(following.stdout.take().unwrap());
    let first = std::io::BufRead::lines(out).next().unwrap().unwrap();
    let first: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(
        (&first["label"], first["tens"].as_i64().unwrap() % 10),
        (&json!("new"), 0)
    );
    following.kill().unwrap();
    following.wait().unwrap();
    let total = sent;
    while ask("SELECT count(*) AS n FROM clicks")["n"] != total {
        assert!(start.elapsed() < PATIENCE);
    }
    // In the order of their batches the labels change once.
    let changes = ask(
        "SELECT count(*) AS n FROM (SELECT label, lag(label) OVER (ORDER BY n) AS before FROM clicks) WHERE label <> before",
    );
    assert_eq!(changes["n"], 1);
    assert_eq!(ask("SELECT count(DISTINCT n) AS n FROM clicks")["n"], total);
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_make_datasets_and_delete_rows() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(settings(folder.path())).await.unwrap();
    let run = async |sql: &str| post(server.http(), "/v1/statements", &[], sql).await;
    let create =
        "CREATE DATASET clicks (\"user\" BIGINT NOT NULL, page TEXT) WITH (unknown_fields = 'reject')";
    assert_eq!(run(create).await.0, 200);
    let (status, answer) = run(create).await;
    assert_eq!(status, 400);
    assert!(answer.to_string().contains("CREATE OR REPLACE"), "{answer}");
    assert_eq!(
        run("CREATE DATASET IF NOT EXISTS clicks").await.1["changed"],
        false
    );
    assert_eq!(run("SELECT 1").await.0, 400);

    send(&server, "{\"user\":17,\"page\":\"/a\"}\n{\"user\":18}\n{\"user\":17}\n{\"page\":\"/b\"}\n{\"user\":1,\"x\":2}\n").await;
    let client = connect(&server);
    wait_for(&client, "SELECT count(*) FROM clicks", 3).await;
    wait_for(
        &client,
        "SELECT count(*) FROM \"clicks$failed\" WHERE stage = 'validate'",
        2,
    )
    .await;

    let (status, answer) = run("DELETE FROM Clicks WHERE \"USER\" = 17").await;
    assert_eq!((status, &answer["rows"]), (200, &json!(2)), "{answer}");
    assert_eq!(scalar(&client, "SELECT count(*) FROM clicks").await, Some(1));
    let (status, answer) = run("DELETE FROM clicks WHERE nothing = 1").await;
    assert_eq!(status, 400, "{answer}");
    let gone = r#"{"where": "stage = 'validate'", "reason": "a test", "vacuum": true}"#;
    let (status, answer) = post(server.http(), "/v1/datasets/clicks$failed/delete", &[], gone).await;
    assert_eq!((status, &answer["rows"]), (200, &json!(2)), "{answer}");
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_are_sent_again_once_and_taps_see_events() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(settings(folder.path())).await.unwrap();
    let path = "/v1/datasets/clicks";
    let step = |condition: &str| {
        format!(
            "[[steps]]\nname = \"check\"\nsql = \"SELECT *, CASE WHEN {condition} THEN 'bad' END AS _error FROM events\"\n"
        )
    };
    assert_eq!(put(server.http(), path, &step("n = 2")).await.0, 200);
    send(&server, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n").await;
    let client = connect(&server);
    wait_for(&client, "SELECT count(*) FROM \"clicks$failed\"", 1).await;
    // Before the mend it is rejected again, as a new row; after it, it is a row of the table.
    let replay = async || post(server.http(), "/v1/datasets/clicks/replay", &[], "").await;
    assert_eq!(replay().await.1["sent"], 1);
    wait_for(&client, "SELECT count(*) FROM \"clicks$failed\"", 2).await;
    assert_eq!(put(server.http(), path, &step("n = 7")).await.0, 200);

    let address = server.http();
    let tapped = tokio::task::spawn_blocking(move || {
        use std::io::{BufRead, BufReader, Write};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(
            stream,
            "GET /v1/datasets/clicks/tap?at=after:check HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        .unwrap();
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        lines
            .into_iter()
            .find(|line| line.contains("\"n\":"))
            .unwrap_or_default()
    });
    // The tap is open once it is asked; events before it are not seen, so some are sent until one is.
    let mut sent = 0;
    while !tapped.is_finished() {
        send(&server, "{\"n\":9}\n").await;
        sent += 1;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(tapped.await.unwrap().contains("\"n\":9"));

    assert_eq!(replay().await.1["sent"], 1);
    wait_for(&client, "SELECT count(*) FROM clicks WHERE n = 2", 1).await;
    let (_, again) = replay().await;
    assert_eq!(
        (&again["sent"], &again["resumed"]),
        (&json!(0), &json!(0)),
        "{again}"
    );
    wait_for(&client, "SELECT count(*) FROM clicks", 3 + sent).await;
    let (status, _) = crate::http::get(server.http(), "/v1/datasets/clicks/tap?at=nowhere").await;
    assert_eq!(status, 400);
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn micro_batches_are_visible_when_their_window_ends() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(settings(folder.path())).await.unwrap();
    let set = "insert = \"micro_batch(300ms)\"\ntable_retention = \"365d\"\n";
    assert_eq!(put(server.http(), "/v1/datasets/clicks", set).await.0, 200);
    let client = connect(&server);
    let mut sent = 0;
    // The table is told within a second; from then on rows are in files as soon as they are seen.
    let start = Instant::now();
    loop {
        send(&server, "{\"n\":1}\n").await;
        sent += 1;
        wait_for(&client, "SELECT count(*) FROM clicks", sent).await;
        let (_, shown) = get(&server, "/v1/datasets/clicks").await;
        if shown["insert"]["window_seconds"] == 0.3 && shown["files"].as_u64() > Some(1) {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{shown}");
    }
    server.shutdown().await.unwrap();
}

/// Plain files that are set begin with what comes; what came while they were not set is in them when they are again.
#[tokio::test(flavor = "multi_thread")]
async fn plain_files_are_set_and_left_out_and_set_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(settings(folder.path())).await.unwrap();
    let client = connect(&server);
    let plain = "[plain]\nformat = \"ndjson.gz\"\nwindow = \"50ms\"\nlateness = \"0ms\"\n";
    let bad = plain.replace("50ms", "0ms");
    let (status, answer) = put(server.http(), "/v1/datasets/clicks", &bad).await;
    assert!(
        status == 400 && answer.to_string().contains("window of plain files"),
        "{status} {answer}"
    );
    let mut sent = 0;
    for set in [plain, "", plain] {
        assert_eq!(put(server.http(), "/v1/datasets/clicks", set).await.0, 200);
        for _ in 0..5 {
            send(
                &server,
                &format!("{{\"n\":{sent},\"at\":\"2026-01-01T00:00:00Z\"}}\n"),
            )
            .await;
            sent += 1;
        }
        wait_for(&client, "SELECT count(*) FROM clicks", sent).await;
        let start = Instant::now();
        while !set.is_empty()
            && plain_numbers(folder.path(), "clicks") != (0..sent as u64).collect::<Vec<_>>()
        {
            assert!(
                start.elapsed() < PATIENCE,
                "{:?}",
                plain_numbers(folder.path(), "clicks")
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    server.shutdown().await.unwrap();
    assert_eq!(plain_numbers(folder.path(), "clicks").len() as i64, sent);
}
