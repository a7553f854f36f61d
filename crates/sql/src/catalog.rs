//! Which tables there are: the warehouse's and the stores', found by name without regard to case.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::error::Result as DataFusionResult;
use store::Embedded;
use warehouse::Warehouse;

use crate::rewrite::{Catalog, Found, match_name};
use crate::store_table::StoreTable;
use crate::system::System;
use crate::table::WarehouseTable;
use crate::{Error, Result};

/// The catalog's name, which is the database's name for Postgres clients.
pub(crate) const CATALOG: &str = "sanderling";
/// The schema of the datasets.
pub(crate) const PUBLIC: &str = "public";
/// The schema of the stores.
pub(crate) const STORES: &str = "stores";
/// The schemas that tables are in.
pub(crate) const SCHEMAS: [&str; 3] = [PUBLIC, STORES, SYSTEM];
/// The schema of what the system tells of itself; `sanderling.x` may also be the dataset `sanderling_x`.
pub(crate) const SYSTEM: &str = "sanderling";

/// How long a table stays at the version it was first met with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pinning {
    /// As long as the [`Tables`] live: for one query.
    Once,
    /// Not at all: for listing.
    Never,
}

/// The tables met so far, by schema and name.
type Pinned = HashMap<(&'static str, String), Arc<dyn TableProvider>>;

/// All tables, by schema and name.
pub(crate) struct Tables {
    warehouse: Arc<Warehouse>,
    stores: Arc<Embedded>,
    system: System,
    pinning: Pinning,
    pinned: Mutex<Pinned>,
}

impl Tables {
    pub(crate) fn new(system: System, stores: Arc<Embedded>, pinning: Pinning) -> Arc<Self> {
        Arc::new(Self {
            warehouse: system.warehouse.clone(),
            stores,
            system,
            pinning,
            pinned: Mutex::default(),
        })
    }

    fn names(&self, schema: &str) -> Vec<String> {
        match schema {
            PUBLIC => self
                .warehouse
                .tables()
                .iter()
                .map(|table| table.name().to_owned())
                .collect(),
            SYSTEM => self.system.names(),
            _ => self.stores.names(),
        }
    }

    /// The table of exactly this name.
    fn open(&self, schema: &'static str, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let mut pinned = self
            .pinned
            .lock()
            .expect("nothing panics while it holds the lock");
        if let Some(table) = pinned.get(&(schema, name.to_owned())) {
            return Ok(Some(table.clone()));
        }
        let table: Arc<dyn TableProvider> = match schema {
            PUBLIC => match self.warehouse.table(name) {
                Some(table) => Arc::new(WarehouseTable::new(table.version(), table.store())),
                None => return Ok(None),
            },
            SYSTEM => match self.system.open(name)? {
                Some(table) => table,
                None => return Ok(None),
            },
            // A store that is asked for by name is made, so look first.
            _ if !self.stores.names().iter().any(|n| n == name) => return Ok(None),
            _ => {
                let shape = self.stores.shape(name)?;
                Arc::new(StoreTable::new(name, self.stores.store(name)?, shape.as_ref()))
            }
        };
        if self.pinning == Pinning::Once {
            pinned.insert((schema, name.to_owned()), table.clone());
        }
        Ok(Some(table))
    }
}

impl Catalog for Tables {
    fn find(&self, schema: Option<&str>, name: &str) -> Result<Option<Found>> {
        let of_system;
        let (schema, name) = match schema {
            None => (PUBLIC, name),
            Some(schema) if schema.eq_ignore_ascii_case(PUBLIC) => (PUBLIC, name),
            Some(schema) if schema.eq_ignore_ascii_case(SYSTEM) && self.system.has(name) => (SYSTEM, name),
            Some(schema) if schema.eq_ignore_ascii_case(SYSTEM) => {
                of_system = format!("{SYSTEM}_{name}");
                (PUBLIC, of_system.as_str())
            }
            Some(schema) if schema.eq_ignore_ascii_case(STORES) => (STORES, name),
            Some(_) => return Ok(None),
        };
        let names = self.names(schema);
        let Some(name) = match_name(name, names.iter().map(String::as_str), "table")? else {
            return Ok(None);
        };
        let table = self.open(schema, name)?;
        Ok(table.map(|table| Found {
            schema: schema.to_owned(),
            name: name.to_owned(),
            columns: table.schema().fields().clone(),
        }))
    }

    fn names(&self, schema: Option<&str>) -> Vec<String> {
        match schema {
            Some(schema) if schema.eq_ignore_ascii_case(STORES) => Tables::names(self, STORES),
            Some(schema) if schema.eq_ignore_ascii_case(SYSTEM) => Tables::names(self, SYSTEM),
            _ => Tables::names(self, PUBLIC),
        }
    }
}

/// One schema of [`Tables`], for DataFusion.
#[derive(Clone)]
pub(crate) struct TablesIn {
    pub(crate) schema: &'static str,
    pub(crate) tables: Arc<Tables>,
}

impl fmt::Debug for TablesIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TablesIn")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl SchemaProvider for TablesIn {
    fn table_names(&self) -> Vec<String> {
        self.tables.names(self.schema)
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        self.tables.open(self.schema, name).map_err(Error::into)
    }

    fn table_exist(&self, name: &str) -> bool {
        self.tables.names(self.schema).iter().any(|n| n == name)
    }
}
