//! The loop that flushes the tables that are due.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Weak;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::limits::FLUSHES_MAX;
use crate::table::{Due, Shared};
use crate::warehouse::Tables;

/// Runs until the tables are closed or gone. One flush at a time per table; a table whose flushes fail or hang takes
/// one place of [`FLUSHES_MAX`] at most.
///
/// While all tails together are large, places that are free go to the largest ones.
pub(crate) async fn run(tables: Weak<Tables>, shared: Shared) {
    let mut running = JoinSet::new();
    let mut in_flight = HashMap::new();
    loop {
        let mut next = None;
        {
            let Some(tables) = tables.upgrade() else { return };
            if tables.is_closed() {
                break;
            }
            let now = Instant::now();
            let mut all = tables.all();
            all.retain(|table| !in_flight.values().any(|name: &String| name == table.name()));
            let pressed = shared.hot.is_pressed();
            if pressed {
                all.sort_by_cached_key(|table| Reverse(table.freeable(now)));
            }
            for table in all {
                let due = match table.due(now) {
                    Due::At(_) if pressed && table.freeable(now) > 0 => Due::Now,
                    due => due,
                };
                match due {
                    Due::Now if running.len() < FLUSHES_MAX => {
                        let name = table.name().to_owned();
                        // A failure is kept in the table's stats and tried again.
                        let task = running.spawn(async move { table.flush().await.is_ok() });
                        in_flight.insert(task.id(), name);
                    }
                    Due::At(at) => next = Some(next.map_or(at, |next: Instant| next.min(at))),
                    // Without a place it is seen again when one is free.
                    Due::Now | Due::Never => {}
                }
            }
        }
        let next = next.unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600));
        tokio::select! {
            () = shared.wake.notified() => {}
            () = tokio::time::sleep_until(next) => {}
            Some(done) = running.join_next_with_id() => {
                let id = match done {
                    Ok((id, _)) => id,
                    Err(error) => {
                        tracing::error!(%error, "a flush broke off");
                        error.id()
                    }
                };
                in_flight.remove(&id);
            }
        }
    }
    while running.join_next().await.is_some() {}
}
