//! What a name can mean at one place of a query.

use arrow::datatypes::{DataType, Field};
use datafusion::sql::sqlparser::ast::Ident;

use super::{match_name, same};
use crate::{Error, Result};

/// A column or an alias; the type is known where it matters, for structs and lists that come from tables.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) data_type: Option<DataType>,
}

impl From<&Field> for Column {
    fn from(field: &Field) -> Self {
        Self {
            name: field.name().clone(),
            data_type: Some(field.data_type().clone()),
        }
    }
}

/// Something in a FROM.
#[derive(Clone, Debug)]
pub(crate) struct Relation {
    pub(crate) schema: Option<String>,
    pub(crate) name: Option<String>,
    /// `None` where they are not known, as of the tables of `information_schema`.
    pub(crate) columns: Option<Vec<Column>>,
}

/// Which aliases of the select list a clause can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aliases {
    /// WHERE, ON.
    Hidden,
    /// GROUP BY, HAVING: after columns.
    After,
    /// ORDER BY: before columns.
    Before,
}

/// The relations and aliases that names are looked up in, and the scope around it.
#[derive(Clone, Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) relations: Vec<Relation>,
    pub(crate) aliases: Vec<Column>,
    pub(crate) outer: Option<&'a Scope<'a>>,
}

/// What a path of names means.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resolved {
    /// How the column is written: with its relation if it was.
    pub(crate) path: Vec<String>,
    /// The column's type, if known.
    pub(crate) data_type: Option<DataType>,
    /// How many of the path's names it took; the rest are fields within it.
    pub(crate) taken: usize,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(outer: Option<&'a Scope<'a>>) -> Self {
        Self {
            relations: Vec::new(),
            aliases: Vec::new(),
            outer,
        }
    }

    /// What the path means here or around; `None` if nothing fits.
    pub(crate) fn resolve(&self, path: &[Ident], aliases: Aliases) -> Result<Option<Resolved>> {
        let Some(first) = path.first() else {
            return Ok(None);
        };
        if let Some(found) = self.qualified(path)? {
            return Ok(Some(found));
        }
        let exact = |columns: &[Column]| columns.iter().find(|column| column.name == first.value).map(bare);
        let columns: Vec<Column> = self
            .relations
            .iter()
            .filter_map(|relation| relation.columns.clone())
            .flatten()
            .collect();
        let lists: &[&[Column]] = match aliases {
            Aliases::Hidden => &[&columns],
            Aliases::After => &[&columns, &self.aliases],
            Aliases::Before => &[&self.aliases, &columns],
        };
        if let Some(found) = lists.iter().find_map(|list| exact(list)) {
            return Ok(Some(found));
        }
        for list in lists {
            if let Some(column) = find(list, &first.value)? {
                return Ok(Some(bare(column)));
            }
        }
        match self.outer {
            Some(outer) => outer.resolve(path, Aliases::Hidden),
            None => Ok(None),
        }
    }

    /// `relation.column…` or `schema.relation.column…`.
    fn qualified(&self, path: &[Ident]) -> Result<Option<Resolved>> {
        if path.len() < 2 {
            return Ok(None);
        }
        let named = |name: &str, equal: fn(&str, &str) -> bool| {
            self.relations
                .iter()
                .find(|relation| relation.name.as_deref().is_some_and(|n| equal(n, name)))
        };
        let exactly = |a: &str, b: &str| a == b;
        let relation = named(&path[0].value, exactly).or_else(|| named(&path[0].value, same));
        if let Some(relation) = relation
            && let Some(found) = relation.column(&path[1], 2)?
        {
            return Ok(Some(found));
        }
        if path.len() < 3 {
            return Ok(None);
        }
        let relation = self.relations.iter().find(|relation| {
            relation
                .schema
                .as_deref()
                .is_some_and(|n| same(n, &path[0].value))
                && relation.name.as_deref().is_some_and(|n| same(n, &path[1].value))
        });
        match relation {
            Some(relation) => relation.column(&path[2], 3),
            None => Ok(None),
        }
    }

    /// The relation of this name.
    pub(crate) fn relation(&self, name: &str) -> Option<&Relation> {
        self.relations
            .iter()
            .find(|relation| relation.name.as_deref().is_some_and(|n| same(n, name)))
    }

    /// Whether some relation's columns are not known, here or around.
    pub(crate) fn is_open(&self) -> bool {
        self.relations.iter().any(|relation| relation.columns.is_none())
            || self.outer.is_some_and(Scope::is_open)
    }
}

impl Relation {
    fn column(&self, name: &Ident, taken: usize) -> Result<Option<Resolved>> {
        let relation = self.name.clone().unwrap_or_default();
        let Some(columns) = &self.columns else {
            return Ok(Some(Resolved {
                path: vec![relation, lowered(name)],
                data_type: None,
                taken,
            }));
        };
        Ok(find(columns, &name.value)?.map(|column| Resolved {
            path: vec![relation, column.name.clone()],
            data_type: column.data_type.clone(),
            taken,
        }))
    }
}

fn bare(column: &Column) -> Resolved {
    Resolved {
        path: vec![column.name.clone()],
        data_type: column.data_type.clone(),
        taken: 1,
    }
}

fn find<'c>(columns: &'c [Column], name: &str) -> Result<Option<&'c Column>> {
    let spelled = match_name(name, columns.iter().map(|column| column.name.as_str()), "column")?;
    Ok(spelled.and_then(|spelled| columns.iter().find(|column| column.name == spelled)))
}

/// A name as Postgres takes it: lower case unless it is quoted.
pub(crate) fn lowered(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}

/// The spelling and the type of a struct's field; `None` if the type is not known or is no struct.
pub(crate) fn field(data_type: Option<&DataType>, name: &str) -> Result<Option<Column>> {
    let Some(DataType::Struct(fields)) = data_type else {
        return Ok(None);
    };
    match match_name(name, fields.iter().map(|field| field.name().as_str()), "field")? {
        Some(spelled) => Ok(fields
            .iter()
            .find(|f| f.name() == spelled)
            .map(|f| Column::from(f.as_ref()))),
        None => {
            let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
            Err(Error::unknown("field", name, name, &names).with_sqlstate("42703"))
        }
    }
}
