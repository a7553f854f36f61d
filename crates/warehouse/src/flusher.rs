//! The loop that flushes the tables that are due, and sees to their files.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::Table;
use crate::background::Urgency;
use crate::limits::{FLUSHES_MAX, MAINTENANCE_MAX};
use crate::table::{Due, Shared};
use crate::warehouse::Tables;

/// Work on tables: one piece a table and `max` in all at a time.
struct Lane {
    max: usize,
    running: JoinSet<()>,
    in_flight: HashMap<tokio::task::Id, String>,
    /// The table that had a place last.
    last: String,
}

impl Lane {
    fn new(max: usize) -> Self {
        Self {
            max,
            running: JoinSet::new(),
            in_flight: HashMap::new(),
            last: String::new(),
        }
    }

    /// Begins what is due now, if there is a place; says when it will be due.
    fn look<F>(&mut self, table: &Arc<Table>, due: Due, work: impl FnOnce(Arc<Table>) -> F) -> Option<Instant>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if self.in_flight.values().any(|name| name == table.name()) {
            return None;
        }
        match due {
            Due::Now if self.running.len() < self.max => {
                let task = self.running.spawn(work(table.clone()));
                self.in_flight.insert(task.id(), table.name().to_owned());
                self.last = table.name().to_owned();
                None
            }
            Due::At(at) => Some(at),
            // Without a place it is seen again when one is free.
            Due::Now | Due::Never => None,
        }
    }

    fn ended(&mut self, done: Result<(tokio::task::Id, ()), JoinError>) {
        let id = match done {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "work on a table broke off");
                error.id()
            }
        };
        self.in_flight.remove(&id);
    }
}

/// Runs until the tables are closed or gone. One flush at a time per table; a table whose flushes fail or hang takes
/// one place of [`FLUSHES_MAX`] at most. Maintenance has places of its own, so that no flush waits for it; when the
/// tables are closed it is broken off.
///
/// While all tails together are large, places that are free go to the largest ones.
pub(crate) async fn run(tables: Weak<Tables>, shared: Shared) {
    let (mut flushes, mut maintenance) = (Lane::new(FLUSHES_MAX), Lane::new(MAINTENANCE_MAX));
    loop {
        let mut next = Instant::now() + Duration::from_secs(3_600);
        {
            let Some(tables) = tables.upgrade() else { return };
            if tables.is_closed() {
                break;
            }
            let now = Instant::now();
            let mut all = tables.all();
            // With few places, a table that always has work must not keep the others from them.
            let turn = all
                .iter()
                .position(|table| table.name() > maintenance.last.as_str());
            all.rotate_left(turn.unwrap_or(0));
            let pressed = shared.hot.is_pressed();
            if pressed {
                all.sort_by_cached_key(|table| Reverse(table.freeable(now)));
            }
            for table in all {
                let due = match table.due(now) {
                    Due::At(_) if pressed && table.freeable(now) > 0 => Due::Now,
                    due => due,
                };
                let flush = flushes.look(&table, due, |table| async move {
                    // A failure is kept in the table's stats and tried again.
                    let _ = table.flush_as(Urgency::Idle).await;
                });
                let maintain = maintenance.look(&table, table.maintenance_due(now), |table| async move {
                    table.maintain().await;
                });
                next = [flush, maintain].into_iter().flatten().fold(next, Instant::min);
            }
        }
        tokio::select! {
            () = shared.wake.notified() => {}
            () = tokio::time::sleep_until(next) => {}
            Some(done) = flushes.running.join_next_with_id() => flushes.ended(done),
            Some(done) = maintenance.running.join_next_with_id() => maintenance.ended(done),
        }
    }
    maintenance.running.shutdown().await;
    while flushes.running.join_next().await.is_some() {}
}
