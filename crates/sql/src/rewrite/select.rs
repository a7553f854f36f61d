//! The names of what is selected, and what it is called.

use datafusion::sql::sqlparser::ast::{
    ExcludeSelectItem, Expr, Ident, ObjectName, SelectItem, SelectItemQualifiedWildcardKind,
    WildcardAdditionalOptions,
};

use super::expr::{resolve, type_of};
use super::function::{args_of, single_name};
use super::query::{Columns, Resolver, With};
use super::scope::{Aliases, Column, Scope};
use super::{idents, quoted, same, spelled};
use crate::Result;

impl Resolver<'_> {
    /// Resolves what is selected; `None` if a `*` stands for columns that are not known.
    pub(crate) fn projection(
        &self,
        items: &mut [SelectItem],
        with: &With<'_>,
        scope: &Scope<'_>,
    ) -> Result<Columns> {
        let mut columns: Columns = Some(Vec::new());
        let mut add = |more: Columns| match (&mut columns, more) {
            (Some(columns), Some(more)) => columns.extend(more),
            _ => columns = None,
        };
        let mut taken: Vec<String> = items.iter().filter_map(given_name).collect();
        for item in items {
            let text = written(item);
            resolve(item, self, with, scope, Aliases::Hidden)?;
            match item {
                SelectItem::UnnamedExpr(expr) => {
                    let data_type = type_of(expr, scope);
                    let name = match (&*expr, text) {
                        (Expr::Identifier(name), _) => name.value.clone(),
                        (Expr::CompoundIdentifier(path), _) => {
                            path.last().map(|name| name.value.clone()).unwrap_or_default()
                        }
                        // A field is called as it is stored, all else as it was written; what `unnest`
                        // makes may be several columns.
                        (_, Some(written)) if !written.to_lowercase().contains("unnest") => {
                            let name = free(field_name(expr).unwrap_or(written), &taken);
                            taken.push(name.clone());
                            *item = SelectItem::ExprWithAlias {
                                expr: expr.clone(),
                                alias: quoted(&name),
                            };
                            name
                        }
                        (other, _) => other.to_string(),
                    };
                    add(Some(vec![Column { name, data_type }]));
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    alias.quote_style = Some('"');
                    add(Some(vec![Column {
                        name: alias.value.clone(),
                        data_type: type_of(expr, scope),
                    }]));
                }
                SelectItem::Wildcard(options) => {
                    let all = scope.relations.iter().map(|relation| relation.columns.clone());
                    let all = all.collect::<Option<Vec<_>>>().map(|columns| columns.concat());
                    add(without(all, &spell(options, scope)?));
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    let relation = idents(name).last().and_then(|name| scope.relation(&name.value));
                    if let Some(spelled) = relation.and_then(|relation| relation.name.as_deref()) {
                        *name = ObjectName::from(vec![quoted(spelled)]);
                    }
                    let all = relation.and_then(|relation| relation.columns.clone());
                    add(without(all, &spell(options, scope)?));
                }
                SelectItem::QualifiedWildcard(..) | SelectItem::ExprWithAliases { .. } => add(None),
            }
        }
        Ok(columns)
    }
}

/// Spells the columns that `* EXCEPT (a) REPLACE (1 AS b)` names, and says which it leaves out.
fn spell(options: &mut WildcardAdditionalOptions, scope: &Scope<'_>) -> Result<Vec<String>> {
    let mut left_out = Vec::new();
    let spell = |name: &mut Ident| -> Result<String> {
        let found = scope.resolve(std::slice::from_ref(name), Aliases::Hidden);
        if let Some(stored) = found
            .map_err(|error| error.at(name.span))?
            .and_then(|found| found.path.last().cloned())
        {
            *name = spelled(&stored, name.span);
        }
        Ok(name.value.clone())
    };
    if let Some(except) = &mut options.opt_except {
        left_out.push(spell(&mut except.first_element)?);
        for name in &mut except.additional_elements {
            left_out.push(spell(name)?);
        }
    }
    let excluded = match &mut options.opt_exclude {
        Some(ExcludeSelectItem::Single(name)) => std::slice::from_mut(name),
        Some(ExcludeSelectItem::Multiple(names)) => names.as_mut_slice(),
        None => &mut [],
    };
    for name in excluded {
        if let [only] = idents(name).as_mut_slice() {
            left_out.push(spell(only)?);
            *name = ObjectName::from(vec![only.clone()]);
        }
    }
    for replaced in options
        .opt_replace
        .iter_mut()
        .flat_map(|replace| &mut replace.items)
    {
        spell(&mut replaced.column_name)?;
    }
    Ok(left_out)
}

fn without(columns: Columns, left_out: &[String]) -> Columns {
    let mut columns = columns?;
    columns.retain(|column| !left_out.contains(&column.name));
    Some(columns)
}

/// The name that an item certainly gets.
fn given_name(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(name.value.clone()),
        _ => None,
    }
}

/// The text of an expression that has no name of its own.
fn written(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(expr) => Some(expr.to_string()),
        _ => None,
    }
}

/// The field that `get_field` leads to, as it is stored.
fn field_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Function(function) if single_name(&function.name)? == "get_field" => {
            match args_of(function).as_slice() {
                [_, Expr::Value(name)] => name.clone().into_string(),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The name, with a number after it if it is taken.
fn free(name: String, taken: &[String]) -> String {
    let mut free = name.clone();
    let mut n = 0;
    while taken.iter().any(|t| same(t, &free)) {
        n += 1;
        free = format!("{name}_{n}");
    }
    free
}
