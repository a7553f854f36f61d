//! Statements about the session rather than the data: transactions, `SET`, `SHOW`.

use std::time::Duration;

use datafusion::sql::sqlparser::ast::{Reset, Set, Statement};
use datafusion_postgres::pgwire::api::results::{Response, Tag};
use datafusion_postgres::pgwire::error::PgWireResult;

use super::cancel::Connection;
use super::encode::{single, state};

/// What `SHOW` answers, by name in lower case.
const SHOWN: [(&str, &str); 12] = [
    ("application_name", ""),
    ("client_encoding", "UTF8"),
    ("datestyle", "ISO, MDY"),
    ("integer_datetimes", "on"),
    ("intervalstyle", "postgres"),
    ("search_path", "public"),
    ("server_version", "16.6"),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("timezone", "UTC"),
    ("time zone", "UTC"),
    ("transaction_isolation", "repeatable read"),
];

/// What clients set of their own accord when they connect; acknowledged without effect.
const SETTABLE: [&str; 10] = [
    "application_name",
    "bytea_output",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "extra_float_digits",
    "intervalstyle",
    "standard_conforming_strings",
    "statement_timeout",
    "timezone",
];

/// The answer, if the statement is one of these.
pub(crate) fn respond(
    statement: &Statement,
    connection: Option<&Connection>,
) -> Option<PgWireResult<Response>> {
    let done = |tag: &str| Some(Ok(Response::Execution(Tag::new(tag))));
    match statement {
        Statement::StartTransaction { .. } => Some(Ok(Response::TransactionStart(Tag::new("BEGIN")))),
        Statement::Commit { .. } => Some(Ok(Response::TransactionEnd(Tag::new("COMMIT")))),
        // Nothing is written, so a savepoint is a place to go on from after an error.
        Statement::Savepoint { .. } => done("SAVEPOINT"),
        Statement::ReleaseSavepoint { .. } => done("RELEASE"),
        Statement::Rollback {
            savepoint: Some(_), ..
        } => Some(Ok(Response::TransactionStart(Tag::new("ROLLBACK")))),
        Statement::Rollback { .. } => Some(Ok(Response::TransactionEnd(Tag::new("ROLLBACK")))),
        Statement::Discard { .. } => done("DISCARD ALL"),
        Statement::Reset(reset) => {
            let is_timeout = match &reset.reset {
                Reset::ALL => true,
                Reset::ConfigurationParameter(name) => {
                    name.to_string().eq_ignore_ascii_case("statement_timeout")
                }
            };
            if let Some(connection) = connection
                && is_timeout
            {
                connection.set_timeout(None);
            }
            done("RESET")
        }
        Statement::Set(set) => Some(assign(set, connection)),
        Statement::ShowVariable { .. } => {
            let (name, value) = shown(statement, connection)?;
            Some(single(&name, &value).map(Response::Query))
        }
        _ => None,
    }
}

/// Whether the statement is one of these.
pub(crate) fn is_own(statement: &Statement) -> bool {
    use Statement as S;
    matches!(
        statement,
        S::StartTransaction { .. }
            | S::Commit { .. }
            | S::Rollback { .. }
            | S::Savepoint { .. }
            | S::ReleaseSavepoint { .. }
            | S::Discard { .. }
            | S::Reset(_)
            | S::Set(_)
    ) || shown(statement, None).is_some()
}

/// Name and value of a `SHOW` that is answered here.
pub(crate) fn shown(statement: &Statement, connection: Option<&Connection>) -> Option<(String, String)> {
    let Statement::ShowVariable { variable } = statement else {
        return None;
    };
    let words: Vec<String> = variable.iter().map(|word| word.value.to_lowercase()).collect();
    let name = words
        .join(" ")
        .replace("transaction isolation level", "transaction_isolation");
    let (_, value) = SHOWN.iter().find(|(known, _)| *known == name)?;
    let timeout = connection.and_then(Connection::timeout);
    let value = match timeout.filter(|_| name == "statement_timeout") {
        Some(timeout) => format!("{}ms", timeout.as_millis()),
        None => (*value).to_owned(),
    };
    Some((name.replace("time zone", "TimeZone"), value))
}

/// Whether the statement ends a transaction, and so is let through after an error in one.
pub(crate) fn ends_transaction(statement: &Statement) -> bool {
    matches!(statement, Statement::Commit { .. } | Statement::Rollback { .. })
}

fn assign(set: &Set, connection: Option<&Connection>) -> PgWireResult<Response> {
    let done = Ok(Response::Execution(Tag::new("SET")));
    match set {
        Set::SingleAssignment { variable, values, .. } => {
            let name = variable.to_string().to_lowercase();
            if name == "statement_timeout" {
                let value = values.first().map(ToString::to_string).unwrap_or_default();
                let timeout = timeout(value.trim_matches('\'')).map_err(|why| state("22023", &why))?;
                if let Some(connection) = connection {
                    connection.set_timeout(timeout);
                }
            }
            match SETTABLE.contains(&name.as_str()) {
                true => done,
                false => Err(state(
                    "42704",
                    &format!("this setting cannot be changed setting={name}"),
                )),
            }
        }
        Set::SetTimeZone { .. } | Set::SetNames { .. } | Set::SetNamesDefault { .. } => done,
        Set::SetTransaction { .. } | Set::SetSessionParam(_) | Set::SetRole { .. } => done,
        other => Err(state(
            "42704",
            &format!("this setting cannot be changed setting={other}"),
        )),
    }
}

/// What `statement_timeout` is set to: milliseconds, or a number with a unit; `None` for 0 and `DEFAULT`, the
/// server's own limit.
pub(crate) fn timeout(written: &str) -> Result<Option<Duration>, String> {
    const UNITS: [(&str, u64); 6] = [
        ("ms", 1),
        ("min", 60_000),
        ("s", 1_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
        ("", 1),
    ];
    let written = written.trim().to_lowercase();
    if written == "default" {
        return Ok(None);
    }
    let ms = UNITS.iter().find_map(|(unit, ms)| {
        let number = written.strip_suffix(unit)?.trim().parse::<u64>().ok()?;
        number.checked_mul(*ms)
    });
    match ms {
        Some(0) => Ok(None),
        Some(ms) => Ok(Some(Duration::from_millis(ms))),
        None => Err(format!(
            "write statement_timeout as milliseconds or with ms, s, min, h or d statement_timeout={written}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_read_as_postgres_does() {
        let ms = |ms| Ok(Some(Duration::from_millis(ms)));
        for (written, expected) in [
            ("250", ms(250)),
            ("5s", ms(5_000)),
            ("250 ms", ms(250)),
            ("2min", ms(120_000)),
            ("1h", ms(3_600_000)),
            ("0", Ok(None)),
            ("DEFAULT", Ok(None)),
        ] {
            assert_eq!(timeout(written), expected, "{written}");
        }
        for wrong in ["", "soon", "-1", "5 weeks"] {
            assert!(timeout(wrong).is_err(), "{wrong}");
        }
    }
}
