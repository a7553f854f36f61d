//! SQL over rows as they pass: what can be said row by row, `SELECT` and `WHERE`, with no plan a batch.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{cast, filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider, SchemaProvider,
};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::empty::EmptyTable;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{Ident, Query, SelectItem, SetExpr, Statement, TableFactor};
use event::{ROW_COLUMN, Udf, UdfError, UdfErrorKind};

use crate::catalog::{CATALOG, PUBLIC};
use crate::engine::{check_size, one};
use crate::rewrite::{Catalog, Found, parse, rewrite_statement};
use crate::{Error, Result};

/// What rows are called in a step, whatever their dataset is called.
const ROWS: &str = "events";

/// `SELECT … FROM events WHERE …` over batches: each row in gives one row or none.
///
/// Names resolve as in queries. The text is compiled for the columns of a batch, and again only when they are others. What
/// needs more than one row is refused: `GROUP BY`, `ORDER BY`, `LIMIT`, `DISTINCT`, joins, aggregates, windows; so are
/// sub-queries within an expression, and functions that do not give the same each time (`now()`, `random()`).
pub struct RowQuery {
    statement: Statement,
    table: String,
    compiled: Mutex<Option<(SchemaRef, Arc<Node>)>>,
}

/// What is done with a batch.
#[derive(Debug)]
enum Node {
    Rows,
    Filter(Box<Node>, Arc<dyn PhysicalExpr>),
    Project(Box<Node>, Vec<(String, Arc<dyn PhysicalExpr>)>),
}

impl RowQuery {
    /// Parses the text of a query. Names are looked at when rows come.
    ///
    /// # Errors
    /// `Invalid`: it does not parse, or is more than `SELECT … FROM events WHERE …`.
    pub fn parse(sql: &str) -> Result<Self> {
        let statement = one(parse(check_size(sql)?)?)?;
        let table = match &statement {
            Statement::Query(query) => table_of(query)?,
            _ => return Err(Error::invalid("a step is a SELECT … FROM events WHERE …")),
        };
        Ok(Self {
            statement,
            table,
            compiled: Mutex::default(),
        })
    }

    /// The name in its innermost FROM.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The rows that come out. A batch that has [`ROW_COLUMN`] keeps it.
    ///
    /// # Errors
    /// `Invalid`: the text does not fit the batch's columns, or a value cannot be computed.
    pub fn apply(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        self.compiled(&rows.schema())?.apply(rows)
    }

    /// Compiles it for these columns, unless it is already.
    ///
    /// # Errors
    /// As [`RowQuery::apply`].
    pub fn check(&self, schema: &SchemaRef) -> Result<()> {
        self.compiled(schema).map(|_| ())
    }

    fn compiled(&self, schema: &SchemaRef) -> Result<Arc<Node>> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        match &*compiled {
            Some((known, node)) if Arc::ptr_eq(known, schema) || known == schema => Ok(node.clone()),
            _ => {
                let node = Arc::new(compile(&self.statement, schema)?);
                *compiled = Some((schema.clone(), node.clone()));
                Ok(node)
            }
        }
    }
}

impl fmt::Debug for RowQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RowQuery")
            .field(&self.statement.to_string())
            .finish()
    }
}

/// A condition on rows, as it stands after WHERE.
#[derive(Debug)]
pub struct RowFilter(RowQuery);

impl RowFilter {
    /// A condition for rows with these columns.
    ///
    /// # Errors
    /// `Invalid`: it does not parse, names a column that there is not, or is no condition.
    pub fn new(condition: &str, schema: &SchemaRef) -> Result<Self> {
        let text = format!("SELECT ({condition}\n) AS met FROM {ROWS}");
        let query = RowQuery::parse(&text)?;
        // More than an expression would have become more than one column.
        let empty = query.apply(&RecordBatch::new_empty(schema.clone()))?;
        match empty.schema().fields().as_ref() {
            [one] if one.data_type() == &DataType::Boolean => Ok(Self(query)),
            [one] => Err(Error::invalid(format!(
                "not a condition: it must be true or false type={} condition={condition:?}",
                one.data_type()
            ))),
            _ => Err(Error::invalid(format!(
                "not one condition condition={condition:?}"
            ))),
        }
    }

    /// For each row whether it is met; where the condition is null it is not.
    ///
    /// # Errors
    /// `Invalid`: a value cannot be computed.
    pub fn met(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        let met = self.0.apply(rows)?;
        let met = met.column(0).as_boolean();
        Ok(match met.null_count() {
            0 => met.clone(),
            _ => prep_null_mask_filter(met),
        })
    }
}

/// A step of a dataset's chain in SQL; see [`RowQuery`] and [`event::Udf`].
///
/// [`ROW_COLUMN`] comes along by itself; within a sub-query in FROM it has to be selected. A column that no event has had
/// yet is not there, unless the dataset's schema declares it.
#[derive(Debug)]
pub struct SqlUdf {
    name: String,
    /// As it was written, for what it says of errors.
    written: RowQuery,
    query: RowQuery,
}

impl SqlUdf {
    /// A step.
    ///
    /// # Errors
    /// As [`RowQuery::parse`].
    pub fn new(name: impl Into<String>, sql: &str) -> Result<Self> {
        let (written, mut query) = (RowQuery::parse(sql)?, RowQuery::parse(sql)?);
        if let Statement::Query(query) = &mut query.statement {
            carry_row(query);
        }
        Ok(Self {
            name: name.into(),
            written,
            query,
        })
    }
}

impl Udf for SqlUdf {
    fn name(&self) -> &str {
        &self.name
    }

    fn apply(&self, rows: &RecordBatch) -> Result<RecordBatch, UdfError> {
        let schema = rows.schema();
        let node = self.query.compiled(&schema).map_err(|error| {
            let error = self.written.check(&schema).err().unwrap_or(error);
            UdfError::new(UdfErrorKind::Broken, error)
        })?;
        node.apply(rows)
            .map_err(|error| UdfError::new(UdfErrorKind::Row, error))
    }
}

impl Node {
    fn apply(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        match self {
            Self::Rows => Ok(rows.clone()),
            Self::Filter(input, predicate) => {
                let rows = input.apply(rows)?;
                let met = predicate.evaluate(&rows)?.into_array(rows.num_rows())?;
                // WHERE NULL is of no type.
                let met = cast(&met, &DataType::Boolean).map_err(DataFusionError::from)?;
                Ok(filter_record_batch(&rows, met.as_boolean()).map_err(DataFusionError::from)?)
            }
            Self::Project(input, expressions) => {
                let rows = input.apply(rows)?;
                let (mut fields, mut columns) = (Vec::new(), Vec::<ArrayRef>::new());
                for (name, expression) in expressions {
                    let column = expression.evaluate(&rows)?.into_array(rows.num_rows())?;
                    fields.push(Field::new(name, column.data_type().clone(), name != ROW_COLUMN));
                    columns.push(column);
                }
                let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
                let schema = Arc::new(Schema::new(fields));
                Ok(RecordBatch::try_new_with_options(schema, columns, &options)
                    .map_err(DataFusionError::from)?)
            }
        }
    }
}

/// The functions and settings of steps.
static STATE: LazyLock<SessionState> = LazyLock::new(|| {
    let mut config = SessionConfig::new()
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, PUBLIC);
    // Names are resolved by `rewrite`, in the case that they are stored in.
    config.options_mut().sql_parser.enable_ident_normalization = false;
    let context = SessionContext::new_with_config(config);
    crate::sketch::register(&context);
    context.state()
});

/// The one table of a step, whatever it is called.
struct Rows(SchemaRef);

impl Catalog for Rows {
    fn find(&self, _: Option<&str>, _: &str) -> Result<Option<Found>> {
        Ok(Some(Found {
            schema: PUBLIC.to_owned(),
            name: ROWS.to_owned(),
            columns: self.0.fields().clone(),
        }))
    }

    fn names(&self, _: Option<&str>) -> Vec<String> {
        vec![ROWS.to_owned()]
    }
}

fn compile(statement: &Statement, schema: &SchemaRef) -> Result<Node> {
    let statement = rewrite_statement(statement.clone(), &Rows(schema.clone()))?;
    let tables = MemorySchemaProvider::new();
    tables.register_table(ROWS.to_owned(), Arc::new(EmptyTable::new(schema.clone())))?;
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(PUBLIC, Arc::new(tables))?;
    let list = MemoryCatalogProviderList::new();
    list.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
    let state = SessionStateBuilder::new_from_existing(STATE.clone())
        .with_catalog_list(Arc::new(list))
        .build();
    let statement = DfStatement::Statement(Box::new(statement));
    // The one table is in memory: planning waits for nothing.
    let plan = futures::executor::block_on(state.statement_to_plan(statement))?;
    node(&plan, &state)
}

fn node(plan: &LogicalPlan, state: &SessionState) -> Result<Node> {
    match plan {
        LogicalPlan::TableScan(_) => Ok(Node::Rows),
        LogicalPlan::SubqueryAlias(alias) => node(&alias.input, state),
        LogicalPlan::Filter(filter) => {
            let input = node(&filter.input, state)?;
            let predicate = physical(&filter.predicate, &filter.input, state)?;
            Ok(Node::Filter(Box::new(input), predicate))
        }
        LogicalPlan::Projection(projection) => {
            let input = node(&projection.input, state)?;
            let names = projection
                .schema
                .fields()
                .iter()
                .map(|field| field.name().clone());
            let expressions = names
                .zip(&projection.expr)
                .map(|(name, expression)| Ok((name, physical(expression, &projection.input, state)?)));
            let expressions = expressions.collect::<Result<Vec<_>>>()?;
            let mut seen = HashSet::new();
            if let Some((name, _)) = expressions.iter().find(|(name, _)| !seen.insert(name)) {
                return Err(Error::invalid(format!(
                    "two columns have one name, rename one with AS column={name}"
                )));
            }
            Ok(Node::Project(Box::new(input), expressions))
        }
        other => {
            let what = other.display().to_string();
            let what = what.split([':', ' ']).next().unwrap_or_default().to_owned();
            Err(Error::invalid(format!(
                "a step goes row by row, so it has SELECT and WHERE alone: no GROUP BY, ORDER BY, LIMIT, DISTINCT, joins, UNNEST, aggregates or windows found={what}"
            )))
        }
    }
}

fn physical(expression: &Expr, input: &LogicalPlan, state: &SessionState) -> Result<Arc<dyn PhysicalExpr>> {
    let mut refused = None;
    expression.apply(|part| {
        match part {
            Expr::ScalarFunction(call) => {
                let volatility = call.func.signature().volatility;
                // What depends on the session alone (a time zone) is the same each time.
                let changes = volatility == Volatility::Volatile
                    || (volatility == Volatility::Stable && call.args.is_empty());
                if changes {
                    let text = format!(
                        "a step must give the same rows each time, so it cannot call this; take the times of the events' own columns function={}",
                        call.func.name()
                    );
                    refused.get_or_insert(text);
                }
            }
            Expr::InSubquery(_) | Expr::Exists(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_) => {
                refused.get_or_insert_with(|| "a step has no sub-queries within an expression".to_owned());
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    match refused {
        Some(text) => Err(Error::invalid(text)),
        None => {
            // Some functions are there only until they are simplified: `coalesce` becomes CASE.
            let schema = input.schema();
            let context = SimplifyContext::builder().with_schema(schema.clone()).build();
            let simplifier = ExprSimplifier::new(context);
            let expression = simplifier.simplify(simplifier.coerce(expression.clone(), schema)?)?;
            Ok(state.create_physical_expr(expression, schema)?)
        }
    }
}

/// The name in the innermost FROM.
fn table_of(query: &Query) -> Result<String> {
    let bad = || Error::invalid("a step is a SELECT … FROM events WHERE …, of one table");
    let SetExpr::Select(select) = query.body.as_ref() else {
        return Err(bad());
    };
    match select.from.as_slice() {
        [from] if from.joins.is_empty() => match &from.relation {
            TableFactor::Table { name, args: None, .. } => {
                let part = name.0.last().and_then(|part| part.as_ident());
                part.map(|name| name.value.clone()).ok_or_else(bad)
            }
            TableFactor::Derived { subquery, .. } => table_of(subquery),
            _ => Err(bad()),
        },
        _ => Err(bad()),
    }
}

/// Adds the rows' places to what is selected, unless a `*` brings them.
fn carry_row(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else {
        return;
    };
    let has_it = select.projection.iter().any(|item| match item {
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => true,
        SelectItem::UnnamedExpr(expression) => expression.to_string() == ROW_COLUMN,
        SelectItem::ExprWithAlias { alias, .. } => alias.value == ROW_COLUMN,
        _ => false,
    });
    if !has_it {
        let row = datafusion::sql::sqlparser::ast::Expr::Identifier(Ident::new(ROW_COLUMN));
        select.projection.push(SelectItem::UnnamedExpr(row));
    }
}
