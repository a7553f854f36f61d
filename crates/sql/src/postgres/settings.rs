//! Statements about the session rather than the data: transactions, `SET`, `SHOW`.

use datafusion::sql::sqlparser::ast::{Set, Statement};
use datafusion_postgres::pgwire::api::results::{Response, Tag};
use datafusion_postgres::pgwire::error::PgWireResult;

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
pub(crate) fn respond(statement: &Statement) -> Option<PgWireResult<Response>> {
    let done = |tag: &str| Some(Ok(Response::Execution(Tag::new(tag))));
    match statement {
        Statement::StartTransaction { .. } => Some(Ok(Response::TransactionStart(Tag::new("BEGIN")))),
        Statement::Commit { .. } => Some(Ok(Response::TransactionEnd(Tag::new("COMMIT")))),
        Statement::Rollback { .. } => Some(Ok(Response::TransactionEnd(Tag::new("ROLLBACK")))),
        Statement::Discard { .. } => done("DISCARD ALL"),
        Statement::Reset(_) => done("RESET"),
        Statement::Set(set) => Some(assign(set)),
        Statement::ShowVariable { .. } => {
            let (name, value) = shown(statement)?;
            Some(single(&name, value).map(Response::Query))
        }
        _ => None,
    }
}

/// Name and value of a `SHOW` that is answered here.
pub(crate) fn shown(statement: &Statement) -> Option<(String, &'static str)> {
    let Statement::ShowVariable { variable } = statement else {
        return None;
    };
    let words: Vec<String> = variable.iter().map(|word| word.value.to_lowercase()).collect();
    let name = words
        .join(" ")
        .replace("transaction isolation level", "transaction_isolation");
    let (_, value) = SHOWN.iter().find(|(known, _)| *known == name)?;
    Some((name.replace("time zone", "TimeZone"), value))
}

/// Whether the statement ends a transaction, and so is let through after an error in one.
pub(crate) fn ends_transaction(statement: &Statement) -> bool {
    matches!(statement, Statement::Commit { .. } | Statement::Rollback { .. })
}

fn assign(set: &Set) -> PgWireResult<Response> {
    let done = Ok(Response::Execution(Tag::new("SET")));
    match set {
        Set::SingleAssignment { variable, .. } => {
            let name = variable.to_string().to_lowercase();
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
