//! SQL as users write it → a statement whose names are spelled as they are stored.
//!
//! * Names (tables, columns, struct fields, aliases) resolve without regard to case; the exact spelling wins, and
//!   two spellings that both fit are an error.
//! * `"x"` and `` `x` `` both quote a name; quoted names resolve in the same way.
//! * A path of names (`event.clientName`) may lead into structs; selected bare, its column is called as its last name.
//! * An expression without an alias is called as it was written (`COUNT(*)`).
//! * BigQuery's functions that DataFusion has under other names become those: see [`function`].
//! * `?` is a parameter as `$1` is, numbered by its place.
//! * Only statements that read are let through.
//!
//! A name that is not found is left as it is, so that DataFusion's error names it and its neighbours.

mod bigquery;
mod expr;
mod function;
mod query;
mod scope;
mod select;

use std::ops::ControlFlow;

use arrow::datatypes::Fields;
use datafusion::sql::sqlparser::ast::{
    Ident, ObjectName, ShowStatementIn, Statement, Value, ValueWithSpan, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, Tokenizer};

use crate::limits::{OPERATORS_MAX, TYPES_MAX};
use crate::{Error, Result};
use query::{Resolver, With};

/// The tables that names are resolved against.
pub trait Catalog {
    /// The table of this name without regard to case; the default schema if there is none given.
    ///
    /// # Errors
    /// `Invalid` if several fit and none exactly.
    fn find(&self, schema: Option<&str>, name: &str) -> Result<Option<Found>>;

    /// All tables of a schema, for error texts.
    fn names(&self, schema: Option<&str>) -> Vec<String>;
}

/// A table, spelled as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Fields,
}

/// Rewrites the text of one statement.
///
/// # Errors
/// `Invalid` if it does not parse, is not one that only reads, or has a name that fits several.
pub fn rewrite(sql: &str, catalog: &dyn Catalog) -> Result<Statement> {
    rewrite_statement(crate::engine::one(parse(sql)?)?, catalog).map_err(|error| error.within(sql))
}

/// Parses statements.
pub(crate) fn parse(sql: &str) -> Result<Vec<Statement>> {
    check_depth(sql)?;
    Parser::parse_sql(&GenericDialect {}, sql).map_err(|error| Error::syntax(error, sql))
}

/// Refuses what the parser, or the end of what it made, would need too much of a thread's stack for: it goes down into types
/// and operators without counting.
pub(crate) fn check_depth(sql: &str) -> Result<()> {
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).tokenize() else {
        return Ok(()); // the parser says what is wrong
    };
    let (mut types, mut operators) = (0, 0);
    for token in &tokens {
        match token {
            Token::Word(word) if word.quote_style.is_none() => match word.value.to_ascii_uppercase().as_str()
            {
                "ARRAY" | "STRUCT" | "MAP" | "NULLABLE" | "NESTED" | "TUPLE" => types += 1,
                "AND" | "OR" | "NOT" | "IS" | "LIKE" | "UNION" | "EXCEPT" | "INTERSECT" => operators += 1,
                _ => {}
            },
            Token::LBracket => types += 1,
            Token::Word(_)
            | Token::Whitespace(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::Comma
            | Token::Period
            | Token::LParen
            | Token::RParen
            | Token::RBracket
            | Token::SemiColon => {}
            _ => operators += 1,
        }
    }
    if types > TYPES_MAX || operators > OPERATORS_MAX {
        return Err(Error::invalid(format!(
            "query nests too much, split it or write IN (…) for many comparisons operators={operators} operators_max={OPERATORS_MAX} \
             arrays={types} arrays_max={TYPES_MAX}"
        )));
    }
    Ok(())
}

/// Rewrites one parsed statement.
pub(crate) fn rewrite_statement(mut statement: Statement, catalog: &dyn Catalog) -> Result<Statement> {
    number_placeholders(&mut statement);
    let resolver = Resolver { catalog };
    match &mut statement {
        Statement::Query(query) => {
            resolver.query(query, &With::default(), None)?;
        }
        Statement::Explain { statement: inner, .. } => {
            **inner = rewrite_statement((**inner).clone(), catalog)?;
        }
        Statement::ExplainTable { table_name, .. } => {
            resolver.table(table_name)?;
        }
        Statement::ShowTables { .. } => return one(SHOW_TABLES),
        Statement::ShowDatabases { .. } | Statement::ShowSchemas { .. } => return one(SHOW_SCHEMAS),
        Statement::ShowColumns { show_options, .. } => {
            if let Some(ShowStatementIn {
                parent_name: Some(name),
                ..
            }) = &mut show_options.show_in
            {
                resolver.table(name)?;
            }
        }
        Statement::ShowVariable { .. } | Statement::ShowFunctions { .. } => {}
        other => {
            let text = other.to_string();
            let verb = text.split_whitespace().next().unwrap_or_default().to_owned();
            return Err(Error::invalid(format!(
                "only statements that read can be run: SELECT, WITH, EXPLAIN, SHOW, DESCRIBE; statement={verb}"
            )));
        }
    }
    Ok(statement)
}

/// Each `?` becomes `$1`, `$2` … in the order that they stand in.
fn number_placeholders(statement: &mut Statement) {
    struct Numbers(usize);
    impl VisitorMut for Numbers {
        type Break = std::convert::Infallible;

        fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<Self::Break> {
            if let Value::Placeholder(name) = &mut value.value
                && name == "?"
            {
                self.0 += 1;
                *name = format!("${}", self.0);
            }
            ControlFlow::Continue(())
        }
    }
    let _: ControlFlow<_> = statement.visit(&mut Numbers(0));
}

const SHOW_TABLES: &str = "SELECT table_schema, table_name, table_type FROM information_schema.tables \
     WHERE table_schema IN ('public', 'stores') ORDER BY table_schema, table_name";
const SHOW_SCHEMAS: &str =
    "SELECT DISTINCT table_schema AS schema_name FROM information_schema.tables ORDER BY 1";

fn one(sql: &str) -> Result<Statement> {
    crate::engine::one(parse(sql)?)
}

/// The one of `names` that `name` means: the same, or the only one that is the same without regard to case.
pub(crate) fn match_name<'a>(
    name: &str,
    names: impl Iterator<Item = &'a str>,
    what: &str,
) -> Result<Option<&'a str>> {
    let mut fits: Vec<&str> = Vec::new();
    for candidate in names {
        if candidate == name {
            return Ok(Some(candidate));
        }
        if same(candidate, name) && !fits.contains(&candidate) {
            fits.push(candidate);
        }
    }
    match fits.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        several => Err(Error::invalid(format!(
            "{what} fits several names, spell it as one of them {what}={name} names={}",
            several.join(",")
        ))),
    }
}

/// Whether two names are the same without regard to case.
fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || (!a.is_ascii() && a.to_lowercase() == b.to_lowercase())
}

fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

/// A name as it is stored, at the place of what was written.
fn spelled(name: &str, written: Span) -> Ident {
    Ident::with_quote_and_span('"', written, name)
}

fn idents(name: &ObjectName) -> Vec<Ident> {
    name.0
        .iter()
        .filter_map(|part| part.as_ident().cloned())
        .collect()
}
