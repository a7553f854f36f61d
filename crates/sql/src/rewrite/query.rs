//! The names of a query: its tables, what they are called in it, and what it selects.

use datafusion::sql::sqlparser::ast::{
    GroupByExpr, Ident, JoinConstraint, JoinOperator, ObjectName, Query, Select, SetExpr, TableAlias,
    TableFactor, TableWithJoins,
};

use super::expr::resolve;
use super::function::single_name;
use super::scope::{Aliases, Column, Relation, Scope, lowered};
use super::{Catalog, idents, match_name, quoted, spelled};
use crate::{Error, Result};

/// The columns of something, if known.
pub(crate) type Columns = Option<Vec<Column>>;

/// The queries that WITH has named, innermost first.
#[derive(Default)]
pub(crate) struct With<'a> {
    named: Vec<Relation>,
    outer: Option<&'a With<'a>>,
}

impl With<'_> {
    fn find(&self, name: &str) -> Result<Option<&Relation>> {
        let names = self.named.iter().filter_map(|relation| relation.name.as_deref());
        if let Some(spelled) = match_name(name, names, "table")? {
            return Ok(self
                .named
                .iter()
                .rev()
                .find(|relation| relation.name.as_deref() == Some(spelled)));
        }
        self.outer.map_or(Ok(None), |outer| outer.find(name))
    }
}

/// Resolves statements against a catalog.
pub(crate) struct Resolver<'a> {
    pub(crate) catalog: &'a dyn Catalog,
}

impl Resolver<'_> {
    /// Resolves a query, and says what it selects.
    pub(crate) fn query(
        &self,
        query: &mut Query,
        outer: &With<'_>,
        around: Option<&Scope<'_>>,
    ) -> Result<Columns> {
        let mut with = With {
            named: Vec::new(),
            outer: Some(outer),
        };
        if let Some(clause) = &mut query.with {
            for cte in &mut clause.cte_tables {
                let name = Some(cte.alias.name.value.clone());
                if clause.recursive {
                    with.named.push(Relation {
                        schema: None,
                        name: name.clone(),
                        columns: None,
                    });
                }
                let columns = self.query(&mut cte.query, &with, around)?;
                let columns = renamed(columns, &mut cte.alias);
                if clause.recursive {
                    with.named.pop();
                }
                with.named.push(Relation {
                    schema: None,
                    name,
                    columns,
                });
            }
        }
        let (columns, mut scope) = self.body(&mut query.body, &with, around)?;
        scope.aliases = columns.clone().unwrap_or_default();
        if let Some(order) = &mut query.order_by {
            resolve(order, self, &with, &scope, Aliases::Before)?;
        }
        Ok(columns)
    }

    /// Resolves a table's name in place.
    pub(crate) fn table(&self, name: &mut ObjectName) -> Result<Relation> {
        let mut path = idents(name);
        // BigQuery quotes a whole path at once.
        if let [whole] = path.as_slice()
            && whole.quote_style.is_some()
            && whole.value.contains('.')
            && self.catalog.find(None, &whole.value)?.is_none()
        {
            path = whole.value.split('.').map(quoted).collect();
        }
        let (schema, table) = match path.as_slice() {
            [table] => (None, table.clone()),
            [.., schema, table] => (Some(schema.value.clone()), table.clone()),
            [] => {
                return Err(Error::invalid(format!(
                    "a table is called by its name table={name}"
                )));
            }
        };
        let system = schema.as_deref().map(str::to_lowercase);
        if matches!(system.as_deref(), Some("information_schema" | "pg_catalog")) {
            let lower = lowered(&table);
            *name = ObjectName::from(vec![quoted(&system.unwrap_or_default()), quoted(&lower)]);
            return Ok(Relation {
                schema: None,
                name: Some(lower),
                columns: None,
            });
        }
        let found = self.catalog.find(schema.as_deref(), &table.value);
        let Some(found) = found.map_err(|error| error.at(table.span))? else {
            let names = self.catalog.names(schema.as_deref());
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            return Err(Error::unknown("table", &name.to_string(), &table.value, &names)
                .with_sqlstate("42P01")
                .at(idents(name).first().map_or(table.span, |first| first.span)));
        };
        *name = ObjectName::from(vec![quoted(&found.schema), spelled(&found.name, table.span)]);
        let columns = found
            .columns
            .iter()
            .map(|field| Column::from(field.as_ref()))
            .collect();
        Ok(Relation {
            schema: Some(found.schema),
            name: Some(found.name),
            columns: Some(columns),
        })
    }

    fn body<'s>(
        &self,
        body: &mut SetExpr,
        with: &With<'_>,
        around: Option<&'s Scope<'s>>,
    ) -> Result<(Columns, Scope<'s>)> {
        match body {
            SetExpr::Select(select) => self.select(select, with, around),
            SetExpr::Query(query) => Ok((self.query(query, with, around)?, Scope::new(around))),
            SetExpr::SetOperation { left, right, .. } => {
                let (columns, _) = self.body(left, with, around)?;
                self.body(right, with, around)?;
                Ok((columns, Scope::new(around)))
            }
            SetExpr::Values(values) => {
                let scope = Scope::new(around);
                resolve(values, self, with, &scope, Aliases::Hidden)?;
                Ok((None, scope))
            }
            SetExpr::Table(_) => Err(Error::invalid("write SELECT * FROM instead of TABLE")),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                Err(Error::invalid("a query can only read"))
            }
        }
    }

    fn select<'s>(
        &self,
        select: &mut Select,
        with: &With<'_>,
        around: Option<&'s Scope<'s>>,
    ) -> Result<(Columns, Scope<'s>)> {
        if select.into.is_some() {
            return Err(Error::invalid("a query can only read, leave out INTO"));
        }
        let mut scope = Scope::new(around);
        for from in &mut select.from {
            self.from(from, with, &mut scope)?;
        }
        let columns = self.projection(&mut select.projection, with, &scope)?;
        for clause in [&mut select.prewhere, &mut select.selection] {
            resolve(clause, self, with, &scope, Aliases::Hidden)?;
        }
        scope.aliases = columns.clone().unwrap_or_default();
        if let GroupByExpr::Expressions(..) = &select.group_by {
            resolve(&mut select.group_by, self, with, &scope, Aliases::After)?;
        }
        resolve(&mut select.having, self, with, &scope, Aliases::After)?;
        resolve(&mut select.qualify, self, with, &scope, Aliases::After)?;
        resolve(&mut select.distinct, self, with, &scope, Aliases::After)?;
        resolve(&mut select.named_window, self, with, &scope, Aliases::Hidden)?;
        resolve(&mut select.sort_by, self, with, &scope, Aliases::Before)?;
        Ok((columns, scope))
    }

    fn from(&self, from: &mut TableWithJoins, with: &With<'_>, scope: &mut Scope<'_>) -> Result<()> {
        self.factor(&mut from.relation, with, scope)?;
        for join in &mut from.joins {
            self.factor(&mut join.relation, with, scope)?;
            if let Some(JoinConstraint::Using(names)) = constraint(&mut join.join_operator) {
                for name in names {
                    if let Some(found) = scope.resolve(&idents(name), Aliases::Hidden)?
                        && let Some(spelled) = found.path.last()
                    {
                        *name = ObjectName::from(vec![quoted(spelled)]);
                    }
                }
            }
            resolve(&mut join.join_operator, self, with, scope, Aliases::Hidden)?;
        }
        Ok(())
    }

    /// Adds what stands in a FROM to the scope.
    fn factor(&self, factor: &mut TableFactor, with: &With<'_>, scope: &mut Scope<'_>) -> Result<()> {
        let relation = match factor {
            TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
                return Err(Error::invalid(
                    "TABLESAMPLE is not supported, write WHERE random() < 0.1",
                ));
            }
            TableFactor::Table {
                name,
                alias,
                args: None,
                ..
            } => {
                let mut relation = match named(name, with)? {
                    Some(relation) => {
                        *name = ObjectName::from(vec![quoted(relation.name.as_deref().unwrap_or_default())]);
                        relation
                    }
                    None => self.table(name)?,
                };
                if let Some(alias) = alias {
                    relation = aliased(relation.columns, Some(alias));
                }
                relation
            }
            TableFactor::Derived {
                subquery,
                alias,
                lateral,
                ..
            } => {
                let around = if *lateral { Some(&*scope) } else { scope.outer };
                aliased(self.query(subquery, with, around)?, alias.as_mut())
            }
            TableFactor::NestedJoin {
                table_with_joins,
                alias,
            } => {
                if alias.is_none() {
                    return self.from(table_with_joins, with, scope);
                }
                let mut inner = Scope::new(scope.outer);
                self.from(table_with_joins, with, &mut inner)?;
                let columns = inner
                    .relations
                    .into_iter()
                    .map(|r| r.columns)
                    .collect::<Option<Vec<_>>>();
                aliased(columns.map(|columns| columns.concat()), alias.as_mut())
            }
            TableFactor::Table {
                name,
                alias,
                args: Some(args),
                ..
            } => {
                resolve(&mut args.args, self, with, scope, Aliases::Hidden)?;
                let function = single_name(name);
                if let Some(function) = &function {
                    *name = ObjectName::from(vec![Ident::new(function)]);
                }
                let mut relation = aliased(None, alias.as_mut());
                relation.name = relation.name.or(function);
                relation
            }
            TableFactor::UNNEST {
                alias, array_exprs, ..
            } => {
                resolve(array_exprs, self, with, scope, Aliases::Hidden)?;
                aliased(None, alias.as_mut())
            }
            other => {
                resolve(other, self, with, scope, Aliases::Hidden)?;
                Relation {
                    schema: None,
                    name: None,
                    columns: None,
                }
            }
        };
        scope.relations.push(relation);
        Ok(())
    }
}

fn named(name: &ObjectName, with: &With<'_>) -> Result<Option<Relation>> {
    match idents(name).as_slice() {
        [name] => Ok(with.find(&name.value)?.cloned()),
        _ => Ok(None),
    }
}

/// A relation under its alias.
fn aliased(columns: Columns, alias: Option<&mut TableAlias>) -> Relation {
    match alias {
        Some(alias) => {
            let columns = renamed(columns, alias);
            Relation {
                schema: None,
                name: Some(alias.name.value.clone()),
                columns,
            }
        }
        None => Relation {
            schema: None,
            name: None,
            columns,
        },
    }
}

/// The columns as `AS name (a, b)` calls them; its names are kept as they are written.
fn renamed(columns: Columns, alias: &mut TableAlias) -> Columns {
    alias.name.quote_style = Some('"');
    for column in &mut alias.columns {
        column.name.quote_style = Some('"');
    }
    if alias.columns.is_empty() {
        return columns;
    }
    let mut types = columns
        .unwrap_or_default()
        .into_iter()
        .map(|column| column.data_type);
    let name = |name: &Ident| name.value.clone();
    let column = alias
        .columns
        .iter()
        .map(|c| (name(&c.name), types.next().flatten()));
    Some(
        column
            .map(|(name, data_type)| Column { name, data_type })
            .collect(),
    )
}

fn constraint(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    use JoinOperator as J;
    match operator {
        J::Join(c) | J::Inner(c) | J::Left(c) | J::LeftOuter(c) | J::Right(c) | J::RightOuter(c) => Some(c),
        J::FullOuter(c) | J::CrossJoin(c) | J::Semi(c) | J::LeftSemi(c) | J::RightSemi(c) => Some(c),
        J::Anti(c) | J::LeftAnti(c) | J::RightAnti(c) | J::StraightJoin(c) => Some(c),
        _ => None,
    }
}
