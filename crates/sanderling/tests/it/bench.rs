//! `sanderling bench` as a user runs it, for a second or two: what it starts, checks and writes, not how fast it is.

use std::process::Command;

fn bench(arguments: &[&str]) -> (serde_json::Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("report");
    let output = Command::new(env!("CARGO_BIN_EXE_sanderling"))
        .arg("bench")
        .args(arguments)
        .args(["--warm-up", "1", "--data-dir"])
        .arg(folder.path())
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let read = |kind: &str| std::fs::read_to_string(out.join(format!("{}.{kind}", arguments[0]))).unwrap();
    let (json, markdown) = (serde_json::from_str(&read("json")).unwrap(), read("md"));
    let drawn = std::fs::read_dir(&out).unwrap();
    let is_plot = |name: &std::path::Path| name.extension().is_some_and(|kind| kind == "svg");
    assert!(drawn.into_iter().any(|file| is_plot(&file.unwrap().path())));
    // The server and its data are gone.
    let left = std::fs::read_dir(folder.path()).unwrap();
    assert_eq!(
        left.map(|file| file.unwrap().file_name()).collect::<Vec<_>>(),
        ["report"]
    );
    (json, markdown)
}

#[test]
fn latency_counts_each_event_that_was_due() {
    let (json, markdown) = bench(&[
        "latency",
        "--rate",
        "6000",
        "--seconds",
        "2",
        "--alone",
        "1",
        "--paper-queries",
        "1",
        "--format",
        "lines",
    ]);
    let row = &json["measured"][0];
    let seen = row["seen_us"].as_array().unwrap();
    let count: u64 = seen.iter().map(|pair| pair[1].as_u64().unwrap()).sum();
    // A hundred a second for two seconds.
    assert_eq!(count, 200);
    assert!(row["emitted"].as_u64().unwrap() >= 400);
    assert!(markdown.contains("| 6,000 |"), "{markdown}");
}

#[test]
fn a_crash_loses_and_doubles_nothing() {
    let (json, _) = bench(&["crash", "--rate", "60000", "--seconds", "3", "--times", "1"]);
    let fall = &json["measured"][0];
    assert!(fall["ready_ms"].as_u64().unwrap() > 0);
    let count: u64 = fall["seen_us"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| pair[1].as_u64().unwrap())
        .sum();
    // A thousand a second for six seconds; the warm-up is not counted.
    assert_eq!(count, 6_000);
}

#[test]
fn a_day_has_few_files_an_hour() {
    let (json, markdown) = bench(&["day", "--hours", "1", "--events", "20"]);
    let hour = &json["measured"]["hours"][0];
    assert_eq!(hour["rows"], 1_200);
    // Sixty flushes, merged by eights.
    assert!(hour["files"].as_f64().unwrap() < 30.0, "{markdown}");
}
