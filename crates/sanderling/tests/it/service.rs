//! A dataset as what a job looks up.

use std::sync::Arc;

use sanderling::prelude::*;
use serde::Deserialize;
use serde_json::json;

use crate::http::start;
use crate::support::{connect, wait_for};

#[derive(Clone, Debug, Deserialize, PartialEq)]
struct User {
    name: String,
    country: Option<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_row_of_each_key_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let client = connect(&server);
    let users = client.dataset("users").unwrap();
    // Three rounds; the last one leaves out some, and each is received after the one before.
    for round in 0..3 {
        for id in 0..(1_500 - round * 100) {
            let country = (round == 1).then_some("WF");
            users
                .emit(&json!({"id": id, "name": format!("o'{id} {round}"), "country": country}))
                .unwrap();
        }
        client.flush().await.unwrap();
    }
    wait_for(&client, "SELECT count(*) FROM users", 1_500 + 1_400 + 1_300).await;

    let remote = Remote::connect(&format!("http://{}", server.flight())).unwrap();
    let by_id = remote.service::<i64, User>("users", "id").unwrap();
    let keys: Vec<i64> = (0..1_600).rev().chain([7, 7]).collect();
    let found = by_id.multi_get(&keys).await.unwrap();
    for (id, user) in keys.iter().zip(found) {
        let round = match id {
            0..1_300 => 2,
            1_300..1_400 => 1,
            _ => 0,
        };
        let expected = (*id < 1_500).then(|| User {
            name: format!("o'{id} {round}"),
            country: (round == 1).then(|| "WF".to_owned()),
        });
        assert_eq!(user, expected, "id={id}");
    }
    assert_eq!(by_id.multi_get(&[]).await.unwrap(), []);
    let by_name = remote.service::<String, User>("users", "name").unwrap();
    let found = by_name
        .multi_get(&["o'5 0".to_owned(), "o'5".to_owned()])
        .await
        .unwrap();
    assert_eq!(found[0].as_ref().map(|user| user.name.as_str()), Some("o'5 0"));
    assert_eq!(found[1], None);

    // In a job.
    let ids: Arc<dyn Source<i64>> = Arc::new(VecSource::new((0..5).map(|id| (Timestamp(id), id))));
    let sums = MemoryStore::<String, u64>::new();
    let job = Producer::<Local, i64>::source(ids)
        .lookup(by_id)
        .filter_map(|(_, user)| user.map(|user| (user.name, 1_u64)))
        .sum_by_key(Arc::new(sums.clone()) as Arc<dyn Store<_, _>>);
    Local::run("names", &job, JobOptions::default())
        .unwrap()
        .join()
        .await
        .unwrap();
    assert_eq!(sums.entries().len(), 5);

    for (error, said) in [
        (
            remote
                .service::<i64, User>("users", "nothing")
                .unwrap()
                .multi_get(&[1])
                .await,
            "nothing",
        ),
        (
            remote
                .service::<i64, User>("nobody", "id")
                .unwrap()
                .multi_get(&[1])
                .await,
            "nobody",
        ),
    ] {
        let error = error.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    let misfit = remote
        .service::<i64, (u64, u64)>("users", "id")
        .unwrap()
        .multi_get(&[1])
        .await
        .unwrap_err();
    assert!(misfit.to_string().contains("do not fit"), "{misfit}");
    let floats = remote
        .service::<Vec<u64>, User>("users", "id")
        .unwrap()
        .multi_get(&[vec![1]])
        .await
        .unwrap_err();
    assert!(floats.to_string().contains("keys must be"), "{floats}");
    server.shutdown().await.unwrap();
}
