//! `sanderling verify` on folders that are whole and on ones that are not.

use std::path::Path;
use std::process::{Command, Output};

use sanderling::Server;
use serde_json::{Value, json};

use crate::support::{connect, settings};

fn verify(arguments: &[&str], data_dir: &Path) -> Output {
    let mut verb = Command::new(env!("CARGO_BIN_EXE_sanderling"));
    verb.arg("verify").args(arguments).arg(data_dir).output().unwrap()
}

fn texts(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_folder_is_0_and_a_damaged_one_1_with_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(settings(folder.path())).await.unwrap();
    let client = connect(&server);
    let dataset = client.dataset("clicks").unwrap();
    for n in 0..3 {
        dataset.emit(&json!({ "n": n, "page": "/a-page" })).unwrap();
        client.flush().await.unwrap();
    }
    client.close().await.unwrap();
    server.shutdown().await.unwrap();

    let (code, out, _) = texts(verify(&[], folder.path()));
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("1 segments, 3 batches"), "{out}");
    assert!(out.ends_with("all is well\n"), "{out}");
    let (code, out, _) = texts(verify(&["--format", "json"], folder.path()));
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["whole"]), (Some(0), &json!(true)));
    assert_eq!(report["segments"][0]["next_offset"], json!(3));

    let segment = folder.path().join("queue/clicks/0/00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    let records_end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let place = records_end / 2;
    bytes[place] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let (code, out, error) = texts(verify(&[], folder.path()));
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("damaged"), "{out}");
    assert!(error.contains("the queue is not whole"), "{error}");
    let (code, out, _) = texts(verify(&["--format", "json"], folder.path()));
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["whole"]), (Some(1), &json!(false)));
    assert_eq!(report["findings"][0]["problem"], json!("damage"), "{out}");
    assert_eq!(std::fs::read(&segment).unwrap(), bytes, "it only reads");
}

#[test]
fn a_folder_without_a_queue_is_an_error_and_not_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, error) = texts(verify(&[], folder.path()));
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(error.contains("no queue here"), "{error}");
}
