//! The names within one expression.

use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Ident, Query, Subscript, Value, ValueWithSpan, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::function::{self, args_of, call, single_name, text};
use super::query::{Resolver, With};
use super::scope::{Aliases, Scope, field, lowered};
use super::{quoted, spelled};
use crate::{Error, Result};

/// Resolves every name of `node`: an expression, or what holds expressions but no SELECT of its own.
pub(crate) fn resolve<N: VisitMut>(
    node: &mut N,
    resolver: &Resolver<'_>,
    with: &With<'_>,
    scope: &Scope<'_>,
    aliases: Aliases,
) -> Result<()> {
    let mut names = Names {
        resolver,
        with,
        scope,
        aliases,
        within: 0,
    };
    match node.visit(&mut names) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Names<'a> {
    resolver: &'a Resolver<'a>,
    with: &'a With<'a>,
    scope: &'a Scope<'a>,
    aliases: Aliases,
    /// How many queries the visit is in: those are resolved in their own scope.
    within: usize,
}

impl VisitorMut for Names<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        self.within += 1;
        if self.within == 1
            && let Err(error) = self.resolver.query(query, self.with, Some(self.scope))
        {
            return ControlFlow::Break(error);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.within -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if self.within > 0 {
            return ControlFlow::Continue(());
        }
        function::rewrite(expr);
        match self.name(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Names<'_> {
    fn name(&mut self, expr: &mut Expr) -> Result<()> {
        let resolved = match expr {
            Expr::Identifier(name) => self.path(std::slice::from_ref(name))?,
            Expr::CompoundIdentifier(path) => self.path(path)?,
            Expr::CompoundFieldAccess { root, access_chain } => {
                resolve(root.as_mut(), self.resolver, self.with, self.scope, self.aliases)?;
                Some(self.accesses(root, access_chain)?)
            }
            // An interval that is not a number or text is made from text at run time.
            Expr::Interval(interval) => match (&*interval.value, &interval.leading_field) {
                (Expr::Value(_) | Expr::UnaryOp { .. }, _) | (_, None) => None,
                (value, Some(unit)) => {
                    let written = call("concat", vec![value.clone(), text(&format!(" {unit}"))]);
                    Some(call("arrow_cast", vec![written, text("Interval(MonthDayNano)")]))
                }
            },
            _ => None,
        };
        if let Some(resolved) = resolved {
            *expr = resolved;
        }
        Ok(())
    }

    /// The expression that a path means.
    fn path(&self, path: &[Ident]) -> Result<Option<Expr>> {
        let place = path.first().map_or(Span::empty(), |name| name.span);
        let resolved = self.scope.resolve(path, self.aliases);
        let Some(resolved) = resolved.map_err(|error| error.at(place))? else {
            let lower = self.scope.is_open() && path.iter().any(|name| name.quote_style.is_none());
            let names = path.iter().map(|name| spelled(&lowered(name), name.span));
            return Ok(lower.then(|| written(names.collect())));
        };
        let mut expr = written(resolved.path.iter().map(|name| spelled(name, place)).collect());
        let mut data_type = resolved.data_type;
        for name in &path[resolved.taken..] {
            let (next, spelled) = step(data_type.as_ref(), name)?;
            expr = call("get_field", vec![expr, text(&spelled)]);
            data_type = next;
        }
        Ok(Some(expr))
    }

    /// `root[1].name['x']`, with the root resolved.
    fn accesses(&self, root: &Expr, chain: &[AccessExpr]) -> Result<Expr> {
        let mut expr = root.clone();
        for access in chain {
            let data_type = type_of(&expr, self.scope);
            let name = match access {
                AccessExpr::Dot(Expr::Identifier(name)) => Some(name.clone()),
                AccessExpr::Subscript(Subscript::Index {
                    index:
                        Expr::Value(ValueWithSpan {
                            value: Value::SingleQuotedString(name),
                            ..
                        }),
                }) => Some(quoted(name)),
                _ => None,
            };
            expr = match name {
                Some(name) => {
                    let (_, spelled) = step(data_type.as_ref(), &name)?;
                    call("get_field", vec![expr, text(&spelled)])
                }
                None => Expr::CompoundFieldAccess {
                    root: Box::new(expr),
                    access_chain: vec![access.clone()],
                },
            };
        }
        if let Expr::CompoundFieldAccess { access_chain, .. } = &mut expr {
            resolve(access_chain, self.resolver, self.with, self.scope, self.aliases)?;
        }
        Ok(expr)
    }
}

fn step(data_type: Option<&DataType>, name: &Ident) -> Result<(Option<DataType>, String)> {
    let found = field(data_type, &name.value).map_err(|error| error.at(name.span))?;
    Ok(match found {
        Some(field) => (field.data_type, field.name),
        None => (None, name.value.clone()),
    })
}

fn written(mut path: Vec<Ident>) -> Expr {
    match path.len() {
        1 => Expr::Identifier(path.remove(0)),
        _ => Expr::CompoundIdentifier(path),
    }
}

/// The type of a resolved expression, where it is a column or leads into one.
pub(crate) fn type_of(expr: &Expr, scope: &Scope<'_>) -> Option<DataType> {
    match expr {
        Expr::Identifier(name) => {
            scope
                .resolve(std::slice::from_ref(name), Aliases::Hidden)
                .ok()??
                .data_type
        }
        Expr::CompoundIdentifier(path) => scope.resolve(path, Aliases::Hidden).ok()??.data_type,
        Expr::Nested(inner) => type_of(inner, scope),
        Expr::CompoundFieldAccess { root, access_chain } => match access_chain.as_slice() {
            [AccessExpr::Subscript(Subscript::Index { .. })] => element(&type_of(root, scope)?),
            _ => None,
        },
        Expr::Function(function) => {
            let args = args_of(function);
            match (single_name(&function.name)?.as_str(), args.as_slice()) {
                ("get_field", [root, Expr::Value(name)]) => {
                    let name = name.clone().into_string()?;
                    field(Some(&type_of(root, scope)?), &name).ok()??.data_type
                }
                ("unnest", [list]) => element(&type_of(list, scope)?),
                _ => None,
            }
        }
        _ => None,
    }
}

fn element(list: &DataType) -> Option<DataType> {
    match list {
        DataType::List(item) | DataType::LargeList(item) | DataType::ListView(item) => {
            Some(item.data_type().clone())
        }
        _ => None,
    }
}
