//! BigQuery's functions that are a few of DataFusion's together.
//!
//! | written | becomes |
//! |---|---|
//! | `TIMESTAMP_DIFF(a, b, UNIT)` | whole units from `b` to `a`, up to `DAY` |
//! | `DATE_DIFF(a, b, DAY)`, `MONTH`, `YEAR` | days; turns of months or years between them |
//! | `FORMAT_TIMESTAMP(f, t)`, `FORMAT_DATE`, `FORMAT_DATETIME` | `to_char(t, f)` |
//! | `PARSE_TIMESTAMP(f, s)`, `PARSE_DATETIME`, `PARSE_DATE` | `to_timestamp(s, f)`, `to_date(s, f)` |
//! | `TIMESTAMP_SECONDS(n)`, `…MILLIS`, `…MICROS` | `to_timestamp_seconds(n)` … |
//! | `UNIX_SECONDS(t)`, `…MILLIS`, `…MICROS` | the whole number of them since 1970 |
//! | `DATE(t)`, `TIMESTAMP(x)` | casts |
//! | `REGEXP_CONTAINS(s, r)`, `REGEXP_EXTRACT(s, r)` | `regexp_like(s, r)`, the first of `regexp_match(s, r)` |
//! | `SAFE_DIVIDE(a, b)` | `a / b` as floating point, null where `b` is 0 |

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value};

use super::function::{call, text};

/// What a call of this name, in lower case, with these arguments becomes.
pub(super) fn written(name: &str, args: &[Expr]) -> Option<Expr> {
    Some(match (name, args) {
        ("timestamp_diff" | "datetime_diff", [later, earlier, Expr::Identifier(unit)]) => {
            let micros = match unit.value.to_lowercase().as_str() {
                "microsecond" => 1,
                "millisecond" => 1_000,
                "second" => 1_000_000,
                "minute" => 60_000_000,
                "hour" => 3_600_000_000,
                "day" => 86_400_000_000,
                _ => return None,
            };
            let between = binary(
                since_1970(later, "Microsecond"),
                BinaryOperator::Minus,
                since_1970(earlier, "Microsecond"),
            );
            binary(between, BinaryOperator::Divide, number(micros))
        }
        ("date_diff", [later, earlier, Expr::Identifier(unit)]) => {
            let count: fn(&Expr) -> Expr = match unit.value.to_lowercase().as_str() {
                "day" => days,
                "month" => months,
                "year" => years,
                _ => return None,
            };
            binary(count(later), BinaryOperator::Minus, count(earlier))
        }
        ("format_timestamp" | "format_date" | "format_datetime", [format, time]) => {
            call("to_char", vec![time.clone(), format.clone()])
        }
        ("parse_timestamp" | "parse_datetime", [format, written]) => {
            call("to_timestamp", vec![written.clone(), format.clone()])
        }
        ("parse_date", [format, written]) => call("to_date", vec![written.clone(), format.clone()]),
        ("timestamp_seconds", [n]) => call("to_timestamp_seconds", vec![n.clone()]),
        ("timestamp_millis", [n]) => call("to_timestamp_millis", vec![n.clone()]),
        ("timestamp_micros", [n]) => call("to_timestamp_micros", vec![n.clone()]),
        ("unix_seconds", [time]) => since_1970(time, "Second"),
        ("unix_millis", [time]) => since_1970(time, "Millisecond"),
        ("unix_micros", [time]) => since_1970(time, "Microsecond"),
        ("date", [time]) => cast(time.clone(), "Date32"),
        ("timestamp", [time]) => cast(time.clone(), "Timestamp(Microsecond, Some(\"UTC\"))"),
        ("regexp_contains", [within, pattern]) => call("regexp_like", vec![within.clone(), pattern.clone()]),
        ("regexp_extract", [within, pattern]) => {
            let found = call("regexp_match", vec![within.clone(), pattern.clone()]);
            call("array_element", vec![found, number(1)])
        }
        ("safe_divide", [dividend, divisor]) => {
            let divisor = call("nullif", vec![cast(divisor.clone(), "Float64"), number(0)]);
            binary(cast(dividend.clone(), "Float64"), BinaryOperator::Divide, divisor)
        }
        _ => return None,
    })
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::Nested(Box::new(Expr::BinaryOp {
        left: Box::new(left),
        op,
        right: Box::new(right),
    }))
}

fn number(n: i64) -> Expr {
    Expr::Value(Value::Number(n.to_string(), false).into())
}

fn cast(expr: Expr, to: &str) -> Expr {
    call("arrow_cast", vec![expr, text(to)])
}

fn since_1970(time: &Expr, unit: &str) -> Expr {
    let time = cast(time.clone(), &format!("Timestamp({unit}, Some(\"UTC\"))"));
    cast(time, "Int64")
}

fn days(time: &Expr) -> Expr {
    cast(cast(cast(time.clone(), "Date32"), "Int32"), "Int64")
}

fn years(time: &Expr) -> Expr {
    cast(call("date_part", vec![text("year"), time.clone()]), "Int64")
}

fn months(time: &Expr) -> Expr {
    let month = cast(call("date_part", vec![text("month"), time.clone()]), "Int64");
    let years = binary(years(time), BinaryOperator::Multiply, number(12));
    binary(years, BinaryOperator::Plus, month)
}
