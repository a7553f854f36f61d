//! What a query may use, and how it ends before its end.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use sql::{Engine, EngineOptions, ErrorKind, PostgresOptions, QueryOptions, Spill};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_postgres::NoTls;

use crate::World;

/// A query that does not come to an end by itself.
const ENDLESS: &str = "select sum(value) from generate_series(1, 1000000000000)";

/// More than some MiB to sort.
const LARGE: &str =
    "select repeat(cast(value as varchar), 20) as t from generate_series(100000, 399999) order by t desc";

async fn engine(change: impl FnOnce(&mut EngineOptions)) -> (World, Arc<Engine>) {
    let world = World::new().await;
    let mut options = EngineOptions::new(world.warehouse.clone(), world.stores.clone());
    options.partitions = 2;
    change(&mut options);
    let engine = Arc::new(Engine::new(options).unwrap());
    (world, engine)
}

async fn rows(engine: &Engine, sql: &str) -> Result<usize, sql::Error> {
    let stream = engine.query(sql).await?;
    let batches: Vec<_> = stream.try_collect().await?;
    Ok(batches.iter().map(|batch| batch.num_rows()).sum())
}

/// Waits until so many queries run.
async fn until_run(engine: &Engine, count: usize) {
    let patience = tokio::time::timeout(Duration::from_secs(60), async {
        while engine.running().len() != count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    patience.await.expect("the queries that run are as many in time");
}

#[tokio::test]
async fn a_query_without_memory_goes_on_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let spill = folder.path().join("spill");
    std::fs::create_dir(&spill).unwrap();
    std::fs::write(spill.join("left by a crash"), "x").unwrap();
    let (_world, engine) = engine(|options| {
        options.query_memory_bytes_max = 32 << 20;
        // What merges the sorted parts of several has no share of the memory by right.
        options.partitions = 1;
        options.spill = Some(Spill::new(&spill));
    })
    .await;
    assert!(!spill.join("left by a crash").exists());
    let stream = engine.query(&format!("explain analyze {LARGE}")).await.unwrap();
    let plan: Vec<_> = stream.try_collect().await.unwrap();
    let plan = arrow::util::pretty::pretty_format_batches(&plan)
        .unwrap()
        .to_string();
    let spilled = plan
        .split("spill_count=")
        .skip(1)
        .any(|rest| !rest.starts_with('0'));
    assert!(spilled, "{plan}");
    assert_eq!(rows(&engine, LARGE).await.unwrap(), 300_000);
}

#[tokio::test]
async fn each_limit_is_told_with_its_setting() {
    let folder = tempfile::tempdir().unwrap();
    let check = async |change: &dyn Fn(&mut EngineOptions), sql: &str, kind: ErrorKind, setting: &str| {
        let (_world, engine) = engine(|options| change(options)).await;
        let error = rows(&engine, sql).await.unwrap_err();
        assert!(
            error.kind() == kind && error.to_string().contains(setting),
            "{setting}: {error:?}"
        );
        assert_eq!(engine.running().len(), 0, "{setting}");
    };
    let memory = |options: &mut EngineOptions| options.query_memory_bytes_max = 8 << 20;
    check(&memory, LARGE, ErrorKind::Limit, "query.query_memory_bytes_max").await;
    let all = |options: &mut EngineOptions| options.memory_bytes_max = 4 << 20;
    check(&all, LARGE, ErrorKind::Retry, "query.memory_bytes_max").await;
    let disk = |options: &mut EngineOptions| {
        options.query_memory_bytes_max = 32 << 20;
        options.spill = Some(Spill {
            folder: folder.path().join("spill"),
            bytes_max: 64 << 10,
        });
    };
    check(&disk, LARGE, ErrorKind::Limit, "query.spill_bytes_max").await;
    let time = |options: &mut EngineOptions| options.timeout = Duration::from_millis(50);
    check(&time, ENDLESS, ErrorKind::Timeout, "query.timeout").await;
    let rows = |options: &mut EngineOptions| options.rows_max = Some(10);
    let eleven = "select * from generate_series(1, 11)";
    check(&rows, eleven, ErrorKind::Limit, "query.rows_max").await;
    let queries = |options: &mut EngineOptions| options.queries_max = 0;
    check(&queries, "select 1", ErrorKind::Retry, "query.queries_max").await;
}

#[tokio::test]
async fn a_query_is_listed_and_can_be_cancelled() {
    let (_world, engine) = engine(|_| ()).await;
    let running = tokio::spawn({
        let engine = engine.clone();
        async move { rows(&engine, ENDLESS).await }
    });
    until_run(&engine, 1).await;
    let query = engine.running().remove(0);
    assert_eq!((query.text(), query.rows()), (ENDLESS, 0));
    engine.cancel(query.id()).unwrap();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(engine.running().len(), 0);
    assert_eq!(engine.cancel(query.id()).unwrap_err().kind(), ErrorKind::NotFound);
    let options = QueryOptions {
        timeout: Some(Duration::from_millis(20)),
        ..QueryOptions::default()
    };
    let late = engine.query_with(ENDLESS, options).await.unwrap();
    let error = late.try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn a_query_ends_with_its_http_client() {
    let (_world, engine) = engine(|_| ()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = sql::router(engine.clone());
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let mut client = TcpStream::connect(address).await.unwrap();
    let length = ENDLESS.len();
    let request = format!("POST /v1/query HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{ENDLESS}");
    client.write_all(request.as_bytes()).await.unwrap();
    until_run(&engine, 1).await;
    drop(client);
    until_run(&engine, 0).await;
    server.abort();
}

async fn postgres(engine: &Arc<Engine>, options: PostgresOptions) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(sql::serve_postgres(
        listener,
        engine.clone(),
        options,
        std::future::pending(),
    ));
    port
}

#[tokio::test]
async fn a_query_ends_with_its_postgres_client_or_when_that_cancels_it() {
    let (_world, engine) = engine(|_| ()).await;
    let port = postgres(&engine, PostgresOptions::default()).await;
    let address = format!("host=127.0.0.1 port={port} user=anyone dbname=sanderling");
    let (client, connection) = tokio_postgres::connect(&address, NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let cancel = client.cancel_token();
    let client = Arc::new(client);
    let ask = |sql: &'static str| {
        let client = client.clone();
        tokio::spawn(async move { client.simple_query(sql).await })
    };
    for sql in [ENDLESS, "select * from generate_series(1, 1000000000000)"] {
        let asked = ask(sql);
        until_run(&engine, 1).await;
        cancel.cancel_query(NoTls).await.unwrap();
        let error = asked.await.unwrap().unwrap_err();
        assert_eq!(error.code().unwrap().code(), "57014", "{sql}");
    }
    let settled = "set statement_timeout = '30ms'";
    client.simple_query(settled).await.unwrap();
    let error = ask(ENDLESS).await.unwrap().unwrap_err();
    assert_eq!(error.code().unwrap().code(), "57014");
    assert!(
        client
            .simple_query("set statement_timeout = 'soon'")
            .await
            .is_err()
    );
    client.simple_query("set statement_timeout = 0").await.unwrap();

    let asked = ask(ENDLESS);
    until_run(&engine, 1).await;
    connection.abort();
    until_run(&engine, 0).await;
    assert!(asked.await.unwrap().is_err());
}

#[tokio::test]
async fn a_postgres_client_sends_no_long_message_before_it_is_let_in() {
    let (_world, engine) = engine(|_| ()).await;
    let options = PostgresOptions {
        password: Some(Arc::new(|_| Err("no".to_owned()))),
        ..PostgresOptions::default()
    };
    let port = postgres(&engine, options).await;
    let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let startup = b"\0\x03\0\0user\0a\0\0";
    let length = (startup.len() as u32 + 4).to_be_bytes();
    client.write_all(&[&length[..], startup].concat()).await.unwrap();
    let mut asked = [0; 9];
    client.read_exact(&mut asked).await.unwrap();
    assert_eq!(asked[0], b'R', "a password is asked for");
    client.write_all(b"Q").await.unwrap();
    client.write_all(&100_000_000u32.to_be_bytes()).await.unwrap();
    // It may be cut off before all is written.
    let written = client.write_all(&vec![b'x'; 1 << 20]).await;
    let mut answer = Vec::new();
    let read = client.read_to_end(&mut answer).await;
    assert!(
        written.is_err() || read.is_err() || String::from_utf8_lossy(&answer).contains("too long"),
        "{answer:?}"
    );
}
