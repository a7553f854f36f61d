//! Raw lines of a web log, made into rows by a step in SQL; the malformed one is a reject.

use serde_json::json;

use crate::support::{connect, rows, wait_for};
use crate::{check, send, server_of};

/// The section of the settings file.
const SETTINGS: &str = r#"
[[steps]]
name = "parse"
sql = """
SELECT m[1] AS ip,
       to_timestamp(m[4], '%d/%b/%Y:%H:%M:%S %z') AS "eventTime",
       to_char(to_timestamp(m[4], '%d/%b/%Y:%H:%M:%S %z'), '%Y-%m-%dT%H:%M:%SZ') AS ts,
       split_part(m[5], ' ', 1) AS method,
       split_part(split_part(m[5], ' ', 2), '?', 1) AS path,
       CAST(m[6] AS BIGINT) AS status,
       CASE WHEN m[7] = '-' THEN 0 ELSE CAST(m[7] AS BIGINT) END AS bytes,
       coalesce(lower(regexp_match(m[8], '^[A-Za-z][A-Za-z0-9+.-]*://([^/:?#]+)')[1]), '-') AS refhost,
       m[9] AS ua,
       CASE WHEN m IS NULL THEN 'not a line of a web log' END AS _error
FROM (
    SELECT _row, regexp_match(line, '^(\\S+) (\\S+) (\\S+) \\[([^\\]]+)\\] "([^"]*)" (\\d{3}) (\\d+|-) "([^"]*)" "([^"]*)"$') AS m
    FROM events
)
"""
"#;

#[tokio::test(flavor = "multi_thread")]
async fn raw_lines_give_the_reference_answers() {
    let folder = tempfile::tempdir().unwrap();
    let of_dataset = toml::from_str(SETTINGS).unwrap();
    let server = server_of(folder.path(), "weblog", of_dataset).await;
    send(
        &server,
        "weblog",
        "semicomplete-access-2015-05-17_20.log.gz",
        &["--raw", "line"],
    )
    .await;
    let client = connect(&server);
    wait_for(&client, "SELECT count(*) FROM weblog", 9_999).await;
    wait_for(&client, "SELECT count(*) FROM \"weblog$failed\"", 1).await;
    let failed =
        "SELECT stage, step, reason, CAST(raw AS VARCHAR) LIKE '{\"line\":%' AS raw FROM \"weblog$failed\"";
    assert_eq!(
        rows(&client, failed).await.unwrap(),
        [json!({"stage": "udf", "step": "parse", "reason": "not a line of a web log", "raw": true})]
    );
    let counts = "count(*) AS n, sum(bytes) AS b, count(DISTINCT ip) AS c FROM weblog GROUP BY 1";
    let embeds = "FROM weblog WHERE method = 'GET' AND regexp_like(lower(path), '[.](png|jpg|jpeg|gif)$') \
                  AND refhost NOT IN ('-', 'semicomplete.com', 'www.semicomplete.com')";
    check(
        &server,
        "weblog",
        &[
            ("parsed", "count(*)"),
            ("min_time", "min(ts)"),
            ("max_time", "max(ts)"),
            ("distinct_clients", "count(DISTINCT ip)"),
            ("bytes_sum", "sum(bytes)"),
            ("image_embeds", &format!("SELECT count(*) AS x {embeds}")),
            (
                "sessions_client_gap_30min",
                "SELECT count(*) AS x FROM (SELECT eventTime - lag(eventTime) OVER (PARTITION BY ip ORDER BY eventTime) AS step FROM weblog) \
                 WHERE step IS NULL OR step > INTERVAL '30 minutes'",
            ),
        ],
        &[
            ("by_hour", 1, &format!("SELECT substr(ts, 1, 13) AS h, {counts}")),
            ("by_status", 1, &format!("SELECT status, {counts}")),
            ("by_method", 1, &format!("SELECT method, {counts}")),
            (
                "by_hour_status",
                2,
                "SELECT substr(ts, 1, 13) AS h, status, count(*) AS n FROM weblog GROUP BY 1, 2",
            ),
            ("by_path", 1, &format!("SELECT path, {counts}")),
            ("by_client", 1, "SELECT ip, count(*) AS n FROM weblog GROUP BY 1"),
            ("by_referrer_host", 1, &format!("SELECT refhost, {counts}")),
            ("by_user_agent", 1, "SELECT ua, count(*) AS n FROM weblog GROUP BY 1"),
            (
                "image_embeds_by_host",
                1,
                &format!("SELECT refhost, count(*) AS n {embeds} GROUP BY 1"),
            ),
            (
                "image_embeds_by_hour_path",
                2,
                &format!("SELECT substr(ts, 1, 13) AS h, path, count(*) AS n {embeds} GROUP BY 1, 2"),
            ),
        ],
    )
    .await;
    server.shutdown().await.unwrap();
}
