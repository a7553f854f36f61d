//! Jobs as programs: the examples `words` and `embeds`, run as a user would.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::http::start;
use crate::support::{connect, wait_for};

/// An example of this package, which `cargo test` builds beside the tests.
pub(crate) fn example(name: &str) -> Command {
    let tests = std::env::current_exe().unwrap();
    let path: PathBuf = tests.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(
        path.exists(),
        "build it first: cargo build -p sanderling --example {name}"
    );
    let mut command = Command::new(path);
    let ours = std::env::vars().filter(|(name, _)| name.starts_with("SANDERLING_"));
    ours.for_each(|(name, _)| {
        command.env_remove(name);
    });
    command
}

fn run(name: &str, arguments: &[&str]) -> Output {
    example(name).args(arguments).output().unwrap()
}

/// The pairs that a run printed, by key as JSON; it must have ended well.
pub(crate) fn pairs(output: &Output) -> BTreeMap<String, Value> {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
    let pair = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let store = line["store"].as_str().unwrap_or_default().to_owned();
        (format!("{store}{}", line["key"]), line["value"].take())
    };
    lines.map(pair).collect()
}

fn words(arguments: &[&str]) -> BTreeMap<String, Value> {
    pairs(&run(
        "words",
        &[&["--print", "all", "--format", "json"], arguments].concat(),
    ))
}

/// Tweets a minute apart, from midnight of 2020-01-01 on.
fn tweets(count: usize) -> Vec<Value> {
    let tweet = |n: usize| {
        let text = format!("The wave w{} & w{}", n % 7, n % 11);
        json!({"text": text, "created_at": format!("2020-01-01T{:02}:{:02}:00Z", n / 60, n % 60)})
    };
    (0..count).map(tweet).collect()
}

fn file_of(folder: &Path, tweets: &[Value]) -> String {
    let path = folder.join("tweets.ndjson");
    let mut file = std::fs::File::create(&path).unwrap();
    tweets.iter().for_each(|tweet| writeln!(file, "{tweet}").unwrap());
    format!("ndjson:{}", path.display())
}

fn expected(tweets: &[Value]) -> BTreeMap<String, Value> {
    let mut counts = BTreeMap::<String, u64>::new();
    for tweet in tweets {
        for word in tweet["text"]
            .as_str()
            .unwrap()
            .replace('&', "")
            .to_lowercase()
            .split_whitespace()
        {
            *counts.entry(json!(word).to_string()).or_default() += 1;
        }
    }
    counts
        .into_iter()
        .map(|(word, count)| (word, json!(count)))
        .collect()
}

#[test]
fn every_platform_gives_the_same_answer_over_files() {
    let folder = tempfile::tempdir().unwrap();
    let tweets = tweets(600);
    let (source, expected) = (file_of(folder.path(), &tweets), expected(&tweets));
    let store = |name: &str| format!("file:{}", folder.path().join(name).display());
    let source = ["--source", &source];
    assert_eq!(
        words(&[&source[..], &["--platform", "memory"]].concat()),
        expected
    );
    let local = store("local");
    assert_eq!(words(&[&source[..], &["--store", &local]].concat()), expected);
    // The progress is in the store, so nothing counts twice.
    assert_eq!(words(&[&source[..], &["--store", &local]].concat()), expected);
    assert_eq!(words(&[&source[..], &["--platform", "batch"]].concat()), expected);
    assert_eq!(
        words(&[&source[..], &["--platform", "hybrid", "--batch", "15m"]].concat()),
        expected
    );

    // History in three runs, the last one as both sides, in one folder.
    let steps = store("steps");
    for (until, events) in [("2020-01-01T03:30:00Z", 210), ("2020-01-01T05:00:00Z", 300)] {
        let batch = [
            "--platform",
            "batch",
            "--batch",
            "30m",
            "--store",
            &steps,
            "--until",
            until,
        ];
        let (found, twin) = (
            words(&[&source[..], &batch].concat()),
            self::expected(&tweets[..events]),
        );
        assert_eq!(found, twin, "until {until}");
    }
    let hybrid = [
        "--platform",
        "hybrid",
        "--batch",
        "30m",
        "--store",
        &steps,
        "--until",
        "2020-01-01T06:00:00Z",
    ];
    assert_eq!(words(&[&source[..], &hybrid].concat()), expected);
    let get = [
        "--platform",
        "hybrid",
        "--batch",
        "30m",
        "--store",
        &steps,
        "--format",
        "json",
        "--get",
        "the",
    ];
    let output = run("words", &get);
    assert_eq!(
        pairs(&output),
        BTreeMap::from([("\"the\"".to_owned(), json!(600))])
    );
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    let coverage = json!({
        "history_until": "2020-01-01T06:00:00Z", "live_until": "2020-01-01T10:00:00Z", "missing": []
    });
    assert_eq!(line["coverage"], coverage);
    let at = run("words", &[&get[..], &["--at", "2020-01-01T07:10:00Z"]].concat());
    assert_eq!(pairs(&at)["\"the\""], json!(450), "to the end of the batch");
}

#[test]
fn what_is_looked_at_is_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let tweets = tweets(60);
    let source = file_of(folder.path(), &tweets);
    let sums = folder.path().join("sums");
    let store = format!("file:{}", sums.display());
    let dry = ["--source", &source, "--store", &store, "--dry-run"];
    let output = run("words", &dry);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && said.contains("earliest at 2020-01-01T00:00:00Z"),
        "{said}"
    );
    assert!(said.contains("it would be made") && !sums.exists(), "{said}");
    let absent = run("words", &["--store", &store, "--get", "the"]);
    assert_eq!(absent.status.code(), Some(1));
    assert!(
        !sums.exists()
            && String::from_utf8(absent.stderr)
                .unwrap()
                .contains("run the job first")
    );

    words(&["--source", &source, "--store", &store]);
    let said = String::from_utf8(run("words", &dry).stdout).unwrap();
    assert!(said.contains("it would go on from"), "{said}");
    let graph = run("words", &["--graph", "mermaid"]).stdout;
    assert!(String::from_utf8(graph).unwrap().starts_with("flowchart LR"));
}

#[test]
fn exit_codes_say_whose_fault_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let source = file_of(folder.path(), &tweets(3));
    let nowhere = format!("ndjson:{}/none-*.json", folder.path().display());
    let bad = folder.path().join("bad.ndjson");
    std::fs::write(
        &bad,
        "{\"text\":\"a\",\"created_at\":\"2020-01-01T00:00:00Z\"}\n{\"text\":1}\n",
    )
    .unwrap();
    let bad = format!("ndjson:{}", bad.display());
    for (arguments, code, said) in [
        (&["--help"][..], 0, "Examples:"),
        (&["--source", &source, "--print", "1"], 0, "the"),
        (&["--source", &nowhere], 1, "no file matches"),
        (&["--source", &bad], 1, "bad.ndjson:2"),
        (
            &["--source", &bad, "--malformed", "skip"],
            0,
            "1 malformed records left out",
        ),
        (&[], 78, "give --source"),
        (&["--nothing"], 78, "--nothing"),
        (&["--source", &source, "--platform", "beam"], 78, "hybrid"),
        (
            &["--source", &source, "--option", "twets.parallelism=2"],
            78,
            "did you mean `tweets`",
        ),
    ] {
        let output = run("words", arguments);
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
    let by_environment = example("words")
        .env("SANDERLING_SOURCE", &source)
        .output()
        .unwrap();
    assert!(by_environment.status.success());
}

/// A process that goes with the test.
struct Running(Option<Child>);

impl Running {
    /// Ends it as a supervisor would; it must end well.
    fn terminate(mut self) -> Output {
        let child = self.0.take().unwrap();
        let killed = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(killed.success());
        child.wait_with_output().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hybrid_job_on_a_server_counts_history_and_what_comes() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let client = connect(&server);
    let address = format!("http://{}", server.flight());
    let dataset = client.dataset("tweets").unwrap();
    let tweets = tweets(400);
    for tweet in &tweets[..300] {
        dataset.emit(tweet).unwrap();
    }
    client.flush().await.unwrap();
    wait_for(&client, "SELECT count(*) FROM tweets", 300).await;

    // The dataset's event time is the time of receipt, so all of it is in a few batches that begin now.
    let hybrid = [
        "--platform".to_owned(),
        "hybrid".into(),
        "--batch".into(),
        "1s".into(),
        "--store".into(),
        format!("server:words@{address}"),
    ];
    let mut command = example("words");
    command.args(&hybrid).args([
        "--source",
        &format!("tweets@{address}"),
        "--print",
        "all",
        "--format",
        "json",
    ]);
    let running = Running(Some(
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    ));
    for tweet in &tweets[300..] {
        dataset.emit(tweet).unwrap();
    }
    client.flush().await.unwrap();
    let asking = move |key: &'static str| {
        let mut get = example("words");
        get.args(&hybrid).args(["--get", key, "--format", "json"]);
        tokio::task::spawn_blocking(move || get.output().unwrap())
    };
    let start = std::time::Instant::now();
    loop {
        // Before the first snapshot there is nothing to read.
        let output = asking("the").await.unwrap();
        if output.status.success() && pairs(&output)["\"the\""] == json!(400) {
            break;
        }
        assert!(
            start.elapsed() < crate::support::PATIENCE,
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let output = tokio::task::spawn_blocking(move || running.terminate())
        .await
        .unwrap();
    assert_eq!(pairs(&output), expected(&tweets));
    server.shutdown().await.unwrap();
}
