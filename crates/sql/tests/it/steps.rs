//! SQL over rows as they pass.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray, StructArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::util::display::array_value_to_string;
use event::{ROW_COLUMN, Udf, UdfErrorKind};
use sql::{RowFilter, RowQuery, SqlUdf};

use crate::text;

/// Rows with a text, a number and a struct; and their places.
fn rows(values: &[(&str, Option<i64>)]) -> RecordBatch {
    let names: StringViewArray = values.iter().map(|(name, _)| Some(*name)).collect();
    let numbers: Int64Array = values.iter().map(|(_, number)| *number).collect();
    let inner: Fields = vec![text("Page")].into();
    let event = StructArray::new(inner.clone(), vec![Arc::new(names.clone())], None);
    let places: UInt32Array = (0..values.len() as u32).collect();
    let schema = Schema::new(vec![
        text("Name"),
        Field::new("n", DataType::Int64, true),
        Field::new("event", DataType::Struct(inner), true),
        Field::new(ROW_COLUMN, DataType::UInt32, false),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(names),
        Arc::new(numbers),
        Arc::new(event),
        Arc::new(places),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

fn shown(rows: &RecordBatch) -> String {
    let schema = rows.schema();
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    let mut lines = vec![names.join("|")];
    for row in 0..rows.num_rows() {
        let cells = rows
            .columns()
            .iter()
            .map(|column| array_value_to_string(column, row).unwrap());
        lines.push(cells.collect::<Vec<_>>().join("|"));
    }
    lines.join("\n")
}

fn check(sql: &str, expected: &str) {
    let step = SqlUdf::new("step", sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let rows = rows(&[("a", Some(1)), ("b", None), ("c", Some(3))]);
    let out = step.apply(&rows).unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert_eq!(shown(&out), expected, "{sql}");
}

#[test]
fn rows_are_filtered_and_projected() {
    check(
        "SELECT upper(name) AS name, N * 2 AS twice FROM events WHERE n IS NOT NULL",
        "name|twice|_row\nA|2|0\nC|6|2",
    );
    check(
        "SELECT * EXCEPT (event, n) FROM `anything` WHERE EVENT.page <> 'b'",
        "Name|_row\na|0\nc|2",
    );
    check(
        "SELECT 'x' AS label FROM events e WHERE e.n > 1",
        "label|_row\nx|2",
    );
    check("SELECT name FROM events WHERE NULL", "Name|_row");
    check("SELECT coalesce(n, 0) AS n FROM events", "n|_row\n1|0\n0|1\n3|2");
    check(
        "SELECT name, CASE WHEN n IS NULL THEN 'no n' END AS _error FROM events",
        "Name|_error|_row\na||0\nb|no n|1\nc||2",
    );
    check(
        "SELECT doubled + 1 AS more FROM (SELECT n * 2 AS doubled, _row FROM events) WHERE doubled > 2",
        "more|_row\n7|2",
    );
    check(
        "SELECT regexp_like(name, '[ab]') AS early, SAFE_CAST(name AS BIGINT) AS none FROM events WHERE n = 1",
        "early|none|_row\ntrue||0",
    );
}

#[test]
fn what_needs_more_than_a_row_is_refused() {
    let refused = |sql: &str, part: &str| {
        let error = match SqlUdf::new("step", sql) {
            Err(error) => error.to_string(),
            Ok(step) => {
                let error = step.apply(&rows(&[("a", Some(1))])).expect_err(sql);
                assert_eq!(error.kind(), UdfErrorKind::Broken, "{sql}");
                error.to_string()
            }
        };
        assert!(error.contains(part), "{sql}: {error}");
    };
    refused("SELECT count(*) FROM events", "row by row");
    refused("SELECT n FROM events ORDER BY n", "row by row");
    refused("SELECT n FROM events LIMIT 1", "row by row");
    refused("SELECT DISTINCT n FROM events", "row by row");
    refused("SELECT row_number() OVER () AS i FROM events", "row by row");
    refused(
        "SELECT a.n FROM events a JOIN events b ON a.n = b.n",
        "of one table",
    );
    refused(
        "SELECT n FROM events WHERE n IN (SELECT n FROM events)",
        "sub-queries",
    );
    refused("SELECT random() AS r FROM events", "same rows each time");
    refused("SELECT now() AS t FROM events", "same rows each time");
    refused(
        "SELECT CURRENT_TIMESTAMP() AS t FROM events",
        "same rows each time",
    );
    refused("SELECT nothing FROM events", "nothing");
    refused("SELECT n, name AS n FROM events", "n");
    refused("DELETE FROM events", "SELECT");
    refused("SELECT FROM", "parse");
}

#[test]
fn a_value_that_cannot_be_computed_is_told_of_its_rows() {
    let step = SqlUdf::new("step", "SELECT CAST(name AS BIGINT) AS number FROM events").unwrap();
    let error = step.apply(&rows(&[("1", None), ("x", None)])).unwrap_err();
    assert_eq!(error.kind(), UdfErrorKind::Row);
    assert!(error.to_string().contains('x'), "{error}");
    assert_eq!(
        shown(&step.apply(&rows(&[("1", None)])).unwrap()),
        "number|_row\n1|0"
    );
}

#[test]
fn it_is_compiled_anew_when_columns_come() {
    let step = SqlUdf::new("step", "SELECT * FROM events WHERE n = 1").unwrap();
    let wide = rows(&[("a", Some(1)), ("b", Some(2))]);
    let narrow = wide.project(&[1, 3]).unwrap();
    for _ in 0..3 {
        assert_eq!(step.apply(&wide).unwrap().num_columns(), 4);
        assert_eq!(step.apply(&narrow).unwrap().num_columns(), 2);
    }
}

#[test]
fn a_live_query_names_its_table() {
    let query = RowQuery::parse("SELECT name FROM Wiki WHERE n IS NULL").unwrap();
    assert_eq!(query.table(), "Wiki");
    let out = query.apply(&rows(&[("a", None), ("b", Some(1))])).unwrap();
    assert_eq!(shown(&out), "Name\na");
}

#[test]
fn conditions() {
    let rows = rows(&[("a", Some(1)), ("b", None), ("c", Some(3))]);
    let met = |condition: &str| {
        let filter =
            RowFilter::new(condition, &rows.schema()).unwrap_or_else(|error| panic!("{condition}: {error}"));
        let met = filter.met(&rows).unwrap();
        assert_eq!(met.len(), 3);
        (0..3).filter(|row| met.value(*row)).collect::<Vec<_>>()
    };
    assert_eq!(met("N > 1"), [2]);
    assert_eq!(met("n IS NULL OR name = 'a'"), [0, 1]);
    assert_eq!(met("NOT (n = 1)"), [2]);
    assert_eq!(met("true"), [0, 1, 2]);
    for wrong in [
        "n",
        "nothing = 1",
        "true) AS met, (false",
        "n = 1; SELECT 2",
        "",
        "n = ",
    ] {
        RowFilter::new(wrong, &rows.schema()).expect_err(wrong);
    }
}
