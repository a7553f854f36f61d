//! The doors: HTTP and Postgres.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_postgres::{NoTls, SimpleQueryMessage};
use tower::ServiceExt;

use crate::{World, append, number, structs, tables::word_count, text};

async fn world() -> World {
    let world = World::new().await;
    let table = world
        .dataset(
            "d",
            vec![number("userId"), structs("event", vec![text("clientName")])],
        )
        .await;
    append(
        &table,
        1,
        &[
            json!({"userId": 1, "event": {"clientName": "web, \"quoted\"\nline"}, "eventTime": "2026-01-02T03:04:05Z"}),
            json!({"userId": 2, "event": null, "eventTime": "2026-01-02T03:04:06Z"}),
        ],
    )
    .await;
    word_count(&world).await;
    world
}

async fn send(world: &World, request: Request<Body>) -> (StatusCode, String, Vec<u8>) {
    let response = sql::router(world.engine.clone()).oneshot(request).await.unwrap();
    let status = response.status();
    let kind = response
        .headers()
        .get(header::CONTENT_TYPE)
        .map_or("", |kind| kind.to_str().unwrap())
        .to_owned();
    (
        status,
        kind,
        to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec(),
    )
}

async fn post(world: &World, uri: &str, accept: &str, sql: &str) -> (StatusCode, String, String) {
    let request = Request::post(uri)
        .header(header::ACCEPT, accept)
        .body(Body::from(sql.to_owned()))
        .unwrap();
    let (status, kind, body) = send(world, request).await;
    (status, kind, String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn http_answers_in_each_format() {
    let world = world().await;
    let sql = "select userid, event, eventTime from d order by userid";
    let rows = [
        r#"{"userId":1,"event":{"clientName":"web, \"quoted\"\nline"},"eventTime":"2026-01-02T03:04:05Z"}"#,
        r#"{"userId":2,"event":null,"eventTime":"2026-01-02T03:04:06Z"}"#,
    ];
    let (status, kind, body) = post(&world, "/v1/query", "*/*", sql).await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, "application/json"));
    assert_eq!(body, format!("[{},\n{}]\n", rows[0], rows[1]));
    let (_, kind, body) = post(&world, "/v1/query", "application/x-ndjson", sql).await;
    assert_eq!(
        (kind.as_str(), body),
        ("application/x-ndjson", format!("{}\n{}\n", rows[0], rows[1]))
    );
    let (_, kind, body) = post(&world, "/v1/query?format=csv", "*/*", sql).await;
    assert_eq!(kind, "text/csv; charset=utf-8");
    assert_eq!(
        body,
        "userId,event,eventTime\n1,\"{\"\"clientName\"\":\"\"web, \\\"\"quoted\\\"\"\\nline\"\"}\",2026-01-02T03:04:05Z\n\
         2,,2026-01-02T03:04:06Z\n"
    );
    let (_, _, body) = post(
        &world,
        "/v1/query",
        "*/*",
        "select userid from d where userid > 9",
    )
    .await;
    assert_eq!(body, "[]\n");

    let body = json!({"query": "select userId from d order by 1", "format": "arrow"}).to_string();
    let request = Request::post("/v1/query")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body));
    let (_, kind, body) = send(&world, request.unwrap()).await;
    assert_eq!(kind, "application/vnd.apache.arrow.stream");
    let reader = arrow::ipc::reader::StreamReader::try_new(body.as_slice(), None).unwrap();
    assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 2);
}

#[tokio::test]
async fn http_tells_mistakes() {
    let world = world().await;
    let (status, _, body) = post(&world, "/v1/query", "*/*", "select * from nowhere").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(
        body.starts_with(r#"{"error":{"kind":"invalid","message":"no such table table=nowhere"#),
        "{body}"
    );
    assert!(
        body.contains(r#""line":1"#) && body.contains(r#""column":15"#),
        "{body}"
    );
    let (status, _, body) = post(&world, "/v1/query?format=xml", "*/*", "select 1").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body.contains("no such format"), "{body}");
    let (status, ..) = post(
        &world,
        "/v1/query",
        "*/*",
        &" ".repeat(sql::limits::BODY_BYTES_MAX + 1),
    )
    .await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn http_gives_a_stores_value() {
    let world = world().await;
    let get = |uri: &str| send(&world, Request::get(uri).body(Body::empty()).unwrap());
    let (status, _, body) = get("/v1/stores/word_count/whale").await;
    assert_eq!(
        (status, body.as_slice()),
        (StatusCode::OK, &b"{\"key\":\"whale\",\"value\":1226}\n"[..])
    );
    let (status, _, body) = get("/v1/stores/word_count/17").await;
    assert_eq!(
        (status, body.as_slice()),
        (StatusCode::OK, &b"{\"key\":\"17\",\"value\":2}\n"[..])
    );
    assert_eq!(get("/v1/stores/word_count/squid").await.0, StatusCode::NOT_FOUND);
    assert_eq!(get("/v1/stores/none/squid").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn postgres_clients_are_served() {
    let world = world().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, stopped) = oneshot::channel::<()>();
    let engine = Arc::clone(&world.engine);
    let options = sql::PostgresOptions::default();
    let server = tokio::spawn(sql::serve_postgres(listener, engine, options, async {
        stopped.await.ok();
    }));
    let address = format!("host=127.0.0.1 port={port} user=anyone dbname=sanderling");
    let (client, connection) = tokio_postgres::connect(&address, NoTls).await.unwrap();
    let connection = tokio::spawn(connection);

    // Simple protocol.
    let simple = async |sql: &str| -> Vec<Vec<Option<String>>> {
        let messages = client
            .simple_query(sql)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect())
            }
            _ => None,
        });
        rows.collect()
    };
    let all = simple("select * from `d` order by USERID").await;
    assert_eq!(all.len(), 2);
    assert_eq!(
        all[0].last().unwrap().as_deref(),
        Some(r#"{"clientName":"web, \"quoted\"\nline"}"#)
    );
    assert_eq!(
        simple("select null as n, 1.5 as f, eventTime from d where userId = 1")
            .await
            .len(),
        1
    );
    assert_eq!(
        simple("select value from stores.word_count where key = 'sea'").await[0][0].as_deref(),
        Some("454")
    );
    assert_eq!(simple("begin; select 1; commit").await.len(), 1);
    let savepoints =
        "begin; savepoint a; release savepoint a; savepoint b; rollback to savepoint b; select 1; commit";
    assert_eq!(simple(savepoints).await.len(), 1);
    assert_eq!(simple("show server_version").await.len(), 1);
    let tables = simple("select tablename from pg_catalog.pg_tables where schemaname = 'public'").await;
    assert_eq!(tables, vec![vec![Some("d".to_owned())]]);

    let psql_d = r#"SELECT n.nspname as "Schema", c.relname as "Name",
          CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' END as "Type",
          pg_catalog.pg_get_userbyid(c.relowner) as "Owner"
        FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r','p','v','m','S','f','') AND n.nspname <> 'pg_catalog'
          AND n.nspname !~ '^pg_toast' AND n.nspname <> 'information_schema'
          AND pg_catalog.pg_table_is_visible(c.oid)
        ORDER BY 1,2;"#;
    let names: Vec<_> = simple(psql_d)
        .await
        .into_iter()
        .map(|row| row[1].clone().unwrap())
        .collect();
    assert!(names.contains(&"d".to_owned()), "{names:?}");

    // Extended protocol, with and without parameters, binary results.
    let row = client
        .query_one(
            "select userId, event.clientName from d where userid = $1",
            &[&1i64],
        )
        .await
        .unwrap();
    assert_eq!(
        (row.get::<_, i64>("userId"), row.get::<_, &str>("clientName")),
        (1, "web, \"quoted\"\nline")
    );
    let rows = client
        .query("select array_agg(userId order by userId) as a from d", &[])
        .await
        .unwrap();
    assert_eq!(rows[0].get::<_, Vec<i64>>(0), [1, 2]);
    let statement = client.prepare("select count(*) as n from d").await.unwrap();
    let table = world.warehouse.table("d").unwrap();
    append(&table, 2, &[json!({"userId": 3})]).await;
    assert_eq!(
        client.query_one(&statement, &[]).await.unwrap().get::<_, i64>(0),
        3,
        "a prepared query reads anew"
    );

    let error = client.simple_query("drop table d").await.unwrap_err();
    assert!(
        format!("{error:?}").contains("only statements that read"),
        "{error:?}"
    );
    let error = client
        .simple_query("select 1;\nselect usrId from d")
        .await
        .unwrap_err();
    let told = error.as_db_error().unwrap();
    assert_eq!(
        (told.code().code(), told.position()),
        ("42703", Some(&tokio_postgres::error::ErrorPosition::Original(18)))
    );
    assert!(
        told.message().starts_with("no such column, is userId meant?"),
        "{told}"
    );
    assert_eq!(
        simple("select 1").await.len(),
        1,
        "the connection goes on after an error"
    );

    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    drop(client);
    let _ = connection.await.unwrap();
}

#[tokio::test]
async fn postgres_clients_show_their_password_when_they_must() {
    let world = world().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let engine = Arc::clone(&world.engine);
    let options = sql::PostgresOptions {
        password: Some(Arc::new(|given| match given {
            "right" => Ok(()),
            _ => Err("no such token".to_owned()),
        })),
        ..sql::PostgresOptions::default()
    };
    let server = tokio::spawn(sql::serve_postgres(
        listener,
        engine,
        options,
        std::future::pending(),
    ));
    let connect = async |password: &str| {
        let address = format!("host=127.0.0.1 port={port} user=anyone dbname=sanderling {password}");
        tokio_postgres::connect(&address, NoTls).await
    };
    let (client, connection) = connect("password=right").await.unwrap();
    let connection = tokio::spawn(connection);
    assert_eq!(client.simple_query("select 1").await.unwrap().len(), 3);
    connection.abort();
    let wrong = connect("password=wrong").await.err().unwrap();
    let told = wrong.as_db_error().unwrap();
    assert_eq!((told.code().code(), told.message()), ("28P01", "no such token"));
    assert!(connect("").await.is_err(), "a password is asked for");
    server.abort();
}
