//! BigQuery's functions that DataFusion has under other names.
//!
//! | written | becomes |
//! |---|---|
//! | `TIMESTAMP_ADD(t, INTERVAL n UNIT)`, `TIMESTAMP_SUB`, `DATE_ADD`, `DATE_SUB` … | `t + i`, `t - i` |
//! | `TIMESTAMP_TRUNC(t, HOUR)`, `DATE_TRUNC(t, HOUR)` | `date_trunc('hour', t)` |
//! | `COUNTIF(x)` | `count(*) FILTER (WHERE x)` |
//! | `APPROX_COUNT_DISTINCT(x)` | `approx_distinct(x)` |
//! | `IF(c, a, b)` | `CASE WHEN c THEN a ELSE b END` |
//! | of times, `SAFE_DIVIDE`, `REGEXP_CONTAINS`, … | see [`super::bigquery`] |

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, Spanned, Value,
};

/// Rewrites one call, if it is one of these, and the types of casts.
pub(crate) fn rewrite(expr: &mut Expr) {
    if let Expr::Cast { data_type, .. } = expr {
        match data_type {
            DataType::Int64 => *data_type = DataType::BigInt(None),
            DataType::Float64 => *data_type = DataType::Float8,
            DataType::Bytes(_) => *data_type = DataType::Bytea,
            _ => {}
        }
    }
    let Expr::Function(function) = expr else { return };
    let Some(name) = single_name(&function.name) else {
        return;
    };
    match name.as_str() {
        "timestamp_add" | "datetime_add" | "date_add" => add(expr, BinaryOperator::Plus),
        "timestamp_sub" | "datetime_sub" | "date_sub" => add(expr, BinaryOperator::Minus),
        "timestamp_trunc" | "datetime_trunc" | "date_trunc" => truncate(function),
        "countif" => count_if(function),
        "approx_count_distinct" => rename(function, "approx_distinct"),
        "if" => choose(expr),
        other => {
            if let Some(written) = super::bigquery::written(other, &args_of(function)) {
                *expr = written;
            }
        }
    }
}

/// A call of a function with these arguments.
pub(crate) fn call(name: &str, args: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: arguments(args.into_iter().map(FunctionArgExpr::Expr)),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// A piece of text as an expression.
pub(crate) fn text(text: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.to_owned()).into())
}

/// The function's name in lower case, if it is one unquoted name.
pub(crate) fn single_name(name: &ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [part] => part
            .as_ident()
            .filter(|i| i.quote_style.is_none())
            .map(|i| i.value.to_lowercase()),
        _ => None,
    }
}

fn arguments(args: impl Iterator<Item = FunctionArgExpr>) -> FunctionArguments {
    FunctionArguments::List(FunctionArgumentList {
        duplicate_treatment: None,
        args: args.map(FunctionArg::Unnamed).collect(),
        clauses: Vec::new(),
    })
}

/// The plain arguments.
pub(crate) fn args_of(function: &Function) -> Vec<Expr> {
    let FunctionArguments::List(list) = &function.args else {
        return Vec::new();
    };
    let plain = list.args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    });
    plain.collect::<Option<Vec<_>>>().unwrap_or_default()
}

fn rename(function: &mut Function, name: &str) {
    let place = function.name.span();
    function.name = ObjectName::from(vec![Ident::with_span(place, name)]);
}

fn add(expr: &mut Expr, op: BinaryOperator) {
    let Expr::Function(function) = expr else { return };
    if let [time, interval @ Expr::Interval(_)] = args_of(function).as_slice() {
        let sum = Expr::BinaryOp {
            left: Box::new(time.clone()),
            op,
            right: Box::new(interval.clone()),
        };
        *expr = Expr::Nested(Box::new(sum));
    }
}

fn truncate(function: &mut Function) {
    const UNITS: [&str; 9] = [
        "microsecond",
        "millisecond",
        "second",
        "minute",
        "hour",
        "day",
        "week",
        "month",
        "year",
    ];
    if let [time, Expr::Identifier(unit)] = args_of(function).as_slice() {
        let unit = unit.value.to_lowercase();
        if UNITS.contains(&unit.as_str()) || unit == "quarter" {
            let args = [text(&unit), time.clone()];
            rename(function, "date_trunc");
            function.args = arguments(args.into_iter().map(FunctionArgExpr::Expr));
        }
    }
}

fn count_if(function: &mut Function) {
    if let [condition] = args_of(function).as_slice() {
        let condition = match function.filter.take() {
            Some(filter) => Expr::BinaryOp {
                left: filter,
                op: BinaryOperator::And,
                right: Box::new(condition.clone()),
            },
            None => condition.clone(),
        };
        function.filter = Some(Box::new(condition));
        function.args = arguments(std::iter::once(FunctionArgExpr::Wildcard));
        rename(function, "count");
    }
}

fn choose(expr: &mut Expr) {
    let Expr::Function(function) = expr else { return };
    if let [condition, then, otherwise] = args_of(function).as_slice() {
        *expr = Expr::Case {
            case_token: AttachedToken::empty(),
            end_token: AttachedToken::empty(),
            operand: None,
            conditions: vec![CaseWhen {
                condition: condition.clone(),
                result: then.clone(),
            }],
            else_result: Some(Box::new(otherwise.clone())),
        };
    }
}
