//! Queries as users write them.

use arrow::datatypes::{DataType, Field};
use serde_json::json;
use sql::ErrorKind;

use crate::{World, append, number, structs, text};

const PAPER: &str = "SELECT event.clientName, COUNT(event.clientName) AS c FROM `user_behavior_events` \
    WHERE eventReceivedTime > TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL -2 MINUTE) \
    GROUP BY event.clientName ORDER BY c DESC LIMIT 10";

async fn world() -> World {
    let world = World::new().await;
    let tags = Field::new(
        "tags",
        DataType::List(Field::new("element", DataType::Utf8View, true).into()),
        true,
    );
    let details = structs("details", vec![number("durationMs"), text("Page")]);
    let table = world
        .dataset(
            "user_behavior_events",
            vec![
                structs("event", vec![text("clientName"), details, tags]),
                number("userId"),
                Field::new("isRobot", DataType::Boolean, true),
                number("click"),
                Field::new("propensity_score", DataType::Float64, true),
            ],
        )
        .await;
    let row = |client: &str, user: i64, robot: bool, duration: i64| {
        json!({
            "event": {"clientName": client, "details": {"durationMs": duration, "Page": "/a"}, "tags": ["x", client]},
            "userId": user, "isRobot": robot, "click": user % 2, "propensity_score": 0.5,
        })
    };
    let mut old = row("fax", 9, true, 1);
    old["eventReceivedTime"] = json!("2020-01-01T00:00:00Z");
    old["eventTime"] = json!("2020-01-01T00:00:00Z");
    append(
        &table,
        1,
        &[old, row("web", 1, false, 10), row("ios", 2, false, 20)],
    )
    .await;
    table.flush().await.unwrap();
    append(&table, 2, &[row("web", 3, true, 30), row("web", 1, false, 40)]).await;

    let other = world
        .dataset("Clients", vec![text("clientName"), text("Owner"), number("id")])
        .await;
    append(
        &other,
        1,
        &[json!({"clientName": "web", "Owner": "anna", "id": 2})],
    )
    .await;
    world
}

#[tokio::test]
async fn the_papers_query_runs_word_for_word() {
    world().await.check(PAPER, "clientName|c\nweb|3\nios|1").await;
}

#[tokio::test]
async fn names_resolve_without_regard_to_case() {
    let world = world().await;
    let queries = [
        (
            "select EVENT.clientname from USER_BEHAVIOR_EVENTS where userid = 2",
            "clientName\nios",
        ),
        (
            r#"select "event"."clientName" from "user_behavior_events" where `USERID` = 2"#,
            "clientName\nios",
        ),
        (
            "select userID, e.EVENT.CLIENTNAME as Who from User_Behavior_Events E where E.userId = 2",
            "userId|Who\n2|ios",
        ),
        (
            "select user_behavior_events.userid from public.user_behavior_events where userid = 2",
            "userId\n2",
        ),
        (
            "select event.details.page from user_behavior_events where event.Details.DURATIONMS = 20",
            "Page\n/a",
        ),
        (
            "select event['clientname'] from user_behavior_events where userid = 2",
            "clientName\nios",
        ),
        ("select id, ID from (select 1 as ID, 2 as id) x", "id|ID\n2|1"),
        // Aliases, subqueries, CTEs.
        (
            "select userid as U from user_behavior_events where userid < 3 group by u order by u desc",
            "U\n2\n1",
        ),
        (
            "select CLIENTNAME from (select event.clientName from user_behavior_events where userId = 2) x",
            "clientName\nios",
        ),
        (
            "select s.E.clientname from (select event as e from user_behavior_events where userId = 2) S",
            "clientName\nios",
        ),
        (
            "with Web as (select event.clientName as Name, userId from user_behavior_events) \
          select NAME, max(USERID) as m from web where name = 'ios' group by 1",
            "Name|m\nios|2",
        ),
        (
            "with w(A) as (select userId from user_behavior_events where userId = 2) select a from W",
            "A\n2",
        ),
        // Joins.
        (
            "select c.owner, count(*) as n from user_behavior_events e join clients c on e.event.CLIENTNAME = c.clientName \
          group by c.OWNER",
            "Owner|n\nanna|3",
        ),
        (
            "select owner from clients c where exists \
          (select 1 from user_behavior_events e where e.event.clientname = C.clientname)",
            "Owner\nanna",
        ),
        (
            "select owner from clients where clientname in (select event.clientname from user_behavior_events)",
            "Owner\nanna",
        ),
        (
            "select a.event.clientName, b.event.clientName from user_behavior_events a join user_behavior_events b \
          on a.userId = b.userId where a.userid = 2",
            "clientName|clientName_1\nios|ios",
        ),
        (
            "select userid from user_behavior_events where userid = 2 union all select Id from clients",
            "userId\n2\n2",
        ),
    ];
    world.check_all(&queries).await;
    world
        .fails(
            "select Id from (select 1 as ID, 2 as id) x",
            ErrorKind::Invalid,
            "fits several names",
        )
        .await;
}

#[tokio::test]
async fn what_users_ask() {
    let world = world().await;
    let queries = [
        (
            "select COUNT(*), max(userid), count(*) from user_behavior_events order by count(*) desc",
            "COUNT(*)|max(userid)|count(*)_1\n5|9|5",
        ),
        (
            "select lower(event.clientName), count(*) from user_behavior_events group by lower(EVENT.clientname) \
          order by count(*) desc, 1 limit 1",
            "lower(event.clientName)|count(*)\nweb|3",
        ),
        (
            "select x.\"COUNT(*)\" from (select count(*) from clients) x",
            "count(*)\n1",
        ),
        (
            "select date_trunc('hour', to_timestamp(t)) as h from (select '2026-01-02T03:04:05Z' as t)",
            "h\n2026-01-02T03:00:00",
        ),
        ("select count(*) from user_behavior_events", "count(*)\n5"),
        (
            "select count(distinct userId) as n from user_behavior_events",
            "n\n4",
        ),
        (
            "select count(*) filter (where isRobot) as n from user_behavior_events",
            "n\n2",
        ),
        (
            "select COUNTIF(isrobot) as n, APPROX_COUNT_DISTINCT(event.clientName) as d from user_behavior_events",
            "n|d\n2|3",
        ),
        (
            "select sum(click / propensity_score) as s from user_behavior_events",
            "s\n8.0",
        ),
        (
            "select substr(event.clientName, 1, 2) as p, left(event.clientName, 1) as l, count(*) as n \
          from user_behavior_events group by 1, 2 order by 1",
            "p|l|n\nfa|f|1\nio|i|1\nwe|w|3",
        ),
        (
            "select userId, row_number() over (partition by isRobot order by userId desc) as r \
          from user_behavior_events where isRobot order by r",
            "userId|r\n9|1\n3|2",
        ),
        (
            "select regexp_replace(event.clientName, '[aeiou]', '_') as r from user_behavior_events \
          where regexp_like(event.clientName, '^w') limit 1",
            "r\nw_b",
        ),
        (
            "select t, count(*) as n from (select unnest(event.tags) as T from user_behavior_events) group by t order by n desc, t",
            "T|n\nx|5\nweb|3\nfax|1\nios|1",
        ),
        (
            "select event.tags[2] as t from user_behavior_events where userId = 2",
            "t\nios",
        ),
        (
            "select min(eventTime) as t from user_behavior_events",
            "t\n2020-01-01T00:00:00Z",
        ),
        (
            "select count(*) as n from user_behavior_events where eventTime < timestamp '2021-01-01'",
            "n\n1",
        ),
        (
            "select TIMESTAMP_TRUNC(eventTime, YEAR) as y from user_behavior_events where eventTime < '2021-01-01'",
            "y\n2020-01-01T00:00:00Z",
        ),
        (
            "select count(*) as n from user_behavior_events where eventReceivedTime > now() - interval '2 minutes'",
            "n\n4",
        ),
        (
            "select count(*) as n from user_behavior_events \
          where eventReceivedTime > TIMESTAMP_SUB(CURRENT_TIMESTAMP, INTERVAL (userId + 100) SECOND)",
            "n\n4",
        ),
        (
            "select event.clientName as k, sum(event.details.durationMs) as d from user_behavior_events \
          group by k having sum(event.details.durationms) > 5 order by d desc",
            "k|d\nweb|80\nios|20",
        ),
        (
            "select case when isRobot then 'r' else 'h' end as k, if(isRobot, 1, 0) as i from user_behavior_events \
          where userId = 9",
            "k|i\nr|1",
        ),
        (
            "show tables",
            "table_schema|table_name|table_type\npublic|Clients|BASE TABLE\npublic|user_behavior_events|BASE TABLE",
        ),
        (
            "select value from generate_series(1, 2) order by VALUE",
            "value\n1\n2",
        ),
    ];
    world.check_all(&queries).await;
    let five = world.answer("SELECT * FROM user_behavior_events LIMIT 2").await;
    assert_eq!(five.lines().count(), 3, "{five}");
    assert!(five.starts_with(
        "eventReceivedTime|eventGeneratedTime|eventTime|_emitter|_sequence|_extra|event|userId"
    ));
    let described = world.answer("DESCRIBE User_Behavior_Events").await;
    assert!(described.contains("\nuserId|Int64|YES"), "{described}");
    let columns = world.answer("show columns from clients").await;
    assert!(columns.contains("Owner"), "{columns}");
    let plan = world.answer(&format!("EXPLAIN {PAPER}")).await;
    assert!(plan.contains("predicate=eventReceivedTime"), "{plan}");
}

#[tokio::test]
async fn files_are_pruned_by_their_times() {
    let world = world().await;
    for (filter, files) in [
        ("eventTime < '2019-01-01'", 0),
        ("eventTime < '2020-06-01'", 1),
        ("eventTime > '2020-06-01' and userId = 1", 1),
        (
            "eventReceivedTime > TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 DAY)",
            1,
        ),
        ("userId = 1", 2),
    ] {
        let sql = format!("EXPLAIN SELECT max(userId) FROM user_behavior_events WHERE {filter}");
        let plan = world.answer(&sql).await;
        assert_eq!(plan.matches(".parquet").count(), files, "{filter}: {plan}");
    }
}

#[tokio::test]
async fn mistakes_are_told() {
    let world = world().await;
    let queries = [
        ("select", "does not parse"),
        ("selec 1", "does not parse"),
        (
            "select 1 from clients tablesample (10 percent)",
            "TABLESAMPLE is not supported",
        ),
        ("", "query is empty"),
        ("select 1; select 2", "one statement at a time"),
        (
            "select * from nowhere",
            "no such table table=nowhere tables=Clients,user_behavior_events",
        ),
        ("select nothing from clients", "no such column column=nothing"),
        (
            "select event.nothing from user_behavior_events",
            "no such field field=nothing fields=clientName",
        ),
        ("drop table clients", "only statements that read can be run"),
        (
            "insert into clients values (1)",
            "only statements that read can be run",
        ),
        (
            "create table x as select 1",
            "only statements that read can be run",
        ),
        (
            "copy clients to '/tmp/x.csv'",
            "only statements that read can be run",
        ),
        (
            "set datafusion.execution.batch_size = 1",
            "only statements that read can be run",
        ),
        (
            "explain analyze drop table clients",
            "only statements that read can be run",
        ),
        ("select * into x from clients", "leave out INTO"),
        ("create external table x stored as csv location '/etc/passwd'", ""),
        ("select * from '/etc/passwd'", "no such table"),
        ("select cast('x' as int)", "Cast error"),
    ];
    world.fail_all(ErrorKind::Invalid, &queries).await;
    let long = format!("select '{}'", "x".repeat(sql::limits::QUERY_BYTES_MAX));
    world.fails(&long, ErrorKind::Invalid, "query is too long").await;
}

#[tokio::test]
async fn one_query_too_many_is_told_to_wait() {
    let world = world().await;
    let mut options = sql::EngineOptions::new(world.warehouse.clone(), world.stores.clone());
    options.queries_max = 1;
    let engine = sql::Engine::new(options).unwrap();
    let running = engine.query("select 1").await.unwrap();
    assert_eq!(
        engine.query("select 1").await.unwrap_err().kind(),
        ErrorKind::Retry
    );
    drop(running);
    engine.query("select 1").await.unwrap();
}

#[tokio::test]
async fn mistakes_are_told_with_their_place_and_what_was_meant() {
    let world = world().await;
    let queries = [
        ("select * form clients", "query does not parse: ", 1, 10),
        (
            "select (1 + ",
            "query does not parse: expected an expression, found EOF",
            1,
            12,
        ),
        (
            "select 'open",
            "query does not parse: Unterminated string literal",
            1,
            8,
        ),
        (
            "select 1\n  from clinets",
            "no such table, is Clients meant? table=clinets",
            2,
            8,
        ),
        (
            "select userId,\n\tusrId from user_behavior_events",
            "no such column, is userId meant? column=usrId",
            2,
            2,
        ),
        (
            "select e.clientNaem from (select event as e from user_behavior_events) as x",
            "no such field, is clientName meant? field=clientNaem",
            1,
            10,
        ),
        (
            "select 1 from user_behavior_events where uppr('x') = 'X'",
            "no such function, is upper meant? function=uppr",
            1,
            42,
        ),
    ];
    let mut wrong = String::new();
    for (sql, start, line, column) in queries {
        let error = world.ask(sql).await.unwrap_err();
        let place = error.place().map(|place| (place.line, place.column));
        if error.kind() != ErrorKind::Invalid
            || !error.message().starts_with(start)
            || place != Some((line, column))
        {
            wrong += &format!("\n{sql}\n  answered {place:?} {error}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let error = world
        .ask("select 1\n  from clinets where true")
        .await
        .unwrap_err();
    let shown = " line=2 column=8\n    from clinets where true\n         ^";
    assert!(error.to_string().ends_with(shown), "{error}");
}

#[tokio::test]
async fn bigquery_forms() {
    let world = world().await;
    let one = |expr: &str| format!("select {expr} as x");
    let (a, b) = (
        "TIMESTAMP '2024-03-01 12:30:15.250Z'",
        "TIMESTAMP '2024-02-28 12:31:00Z'",
    );
    let mut wrong = String::new();
    for (expr, expected) in [
        ("IFNULL(NULL, 2)".to_owned(), "2"),
        ("SAFE_CAST('x' AS INT64)".to_owned(), ""),
        ("SAFE_CAST('7' AS INT64)".to_owned(), "7"),
        ("CAST(7 AS STRING)".to_owned(), "7"),
        ("SAFE_DIVIDE(1, 0)".to_owned(), ""),
        ("SAFE_DIVIDE(1, 4)".to_owned(), "0.25"),
        ("REGEXP_CONTAINS('abc', '^a.c$')".to_owned(), "true"),
        ("REGEXP_EXTRACT('user=17;', 'user=([0-9]+)')".to_owned(), "17"),
        ("REGEXP_EXTRACT('none', 'user=([0-9]+)')".to_owned(), ""),
        (format!("TIMESTAMP_DIFF({a}, {b}, HOUR)"), "47"),
        (format!("TIMESTAMP_DIFF({b}, {a}, HOUR)"), "-47"),
        (format!("TIMESTAMP_DIFF({a}, {b}, DAY)"), "1"),
        (format!("DATE_DIFF({a}, {b}, DAY)"), "2"),
        (format!("DATE_DIFF({a}, {b}, MONTH)"), "1"),
        (format!("DATE_DIFF({a}, {b}, YEAR)"), "0"),
        (format!("UNIX_SECONDS({a})"), "1709296215"),
        (format!("UNIX_MILLIS({a})"), "1709296215250"),
        (format!("UNIX_MICROS({a})"), "1709296215250000"),
        (
            "UNIX_MILLIS(TIMESTAMP_MILLIS(1709296215250))".to_owned(),
            "1709296215250",
        ),
        ("UNIX_MICROS(TIMESTAMP_MICROS(17))".to_owned(), "17"),
        ("UNIX_SECONDS(TIMESTAMP_SECONDS(17))".to_owned(), "17"),
        (format!("FORMAT_TIMESTAMP('%Y/%m/%d %H', {a})"), "2024/03/01 12"),
        (
            "UNIX_SECONDS(PARSE_TIMESTAMP('%Y/%m/%d %H:%M', '2024/03/01 12:30'))".to_owned(),
            "1709296200",
        ),
        ("PARSE_DATE('%d.%m.%Y', '01.03.2024')".to_owned(), "2024-03-01"),
        (format!("DATE({a})"), "2024-03-01"),
        ("UNIX_SECONDS(TIMESTAMP('2024-03-01'))".to_owned(), "1709251200"),
        (format!("EXTRACT(HOUR FROM {a})"), "12"),
        (
            format!("DATE_TRUNC(DATE({a}), MONTH) = DATE '2024-03-01'"),
            "true",
        ),
        (
            format!("DATE_ADD(DATE({a}), INTERVAL 1 MONTH) = DATE '2024-04-01'"),
            "true",
        ),
        ("STRUCT(1 AS a, 'x' AS b).b".to_owned(), "x"),
        ("ARRAY_AGG(1)".to_owned(), "[1]"),
    ] {
        let answer = world.ask(&one(&expr)).await.map_err(|error| error.to_string());
        if answer.as_deref().ok() != Some(&*format!("x\n{expected}")) {
            wrong += &format!("\n{expr}\n  expected {expected:?}\n  answered {answer:?}\n");
        }
    }
    for (sql, expected) in [
        (
            "select * except (ISROBOT) from (select userId, isRobot from user_behavior_events where userId = 9)",
            "userId\n9",
        ),
        (
            "select * replace (1 as USERID) from (select userId, isRobot from user_behavior_events where userId = 9)",
            "userId|isRobot\n1|true",
        ),
        (
            "select USERID from (select * except (isrobot) from user_behavior_events) where userid = 9",
            "userId\n9",
        ),
        (
            "select userId from user_behavior_events where isRobot qualify row_number() over (order by userId desc) = 1",
            "userId\n9",
        ),
    ] {
        let answer = world.ask(sql).await.map_err(|error| error.to_string());
        if answer.as_deref().ok() != Some(expected) {
            wrong += &format!("\n{sql}\n  expected {expected:?}\n  answered {answer:?}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
