//! Tells tables how rows get in and how long they are kept, as the settings of their datasets say now.

use std::sync::Arc;
use std::time::Duration;

use event::{DatasetName, FAILED_SUFFIX};
use processor::REPLAYS;
use tokio::sync::watch;
use warehouse::{AutoOptions, Costs, InsertMode, Table, Warehouse};

use crate::Settings;
use crate::live::Live;
use crate::settings::Insert;

/// How soon a table follows its settings.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What `auto` takes rows and commits to cost: in a build without optimisation on a busy machine a row cost 25.9 µs of CPU
/// streamed and 15.6 µs in micro-batches, a commit 10.2 ms (`insert_costs` of the crate `processor`). The ratios count.
fn costs(streaming_commit_age: Duration) -> Costs {
    Costs {
        streaming_row: Duration::from_nanos(25_900),
        micro_batch_row: Duration::from_nanos(15_600),
        commit: Duration::from_micros(10_200),
        streaming_commit_age,
    }
}

/// Runs until `stop` is true.
pub(crate) async fn follow(live: Arc<Live>, warehouse: Arc<Warehouse>, mut stop: watch::Receiver<bool>) {
    let mut every = tokio::time::interval(LOOK_EVERY);
    loop {
        let settings = live.now();
        for table in warehouse.tables() {
            tell(&table, &settings);
        }
        tokio::select! {
            _ = every.tick() => {}
            // An error means that the server is gone, which is the same.
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

fn tell(table: &Table, settings: &Settings) {
    let dataset = table.name().strip_suffix(FAILED_SUFFIX).unwrap_or(table.name());
    let dataset = dataset.parse::<DatasetName>().ok();
    let own = dataset.and_then(|dataset| settings.datasets.get(&dataset));
    let retention = own.and_then(|own| own.table_retention);
    let retention = retention.unwrap_or(settings.warehouse.retention).limit();
    // What was sent again must be known for as long as there are rejects.
    table.set_retention(retention.filter(|_| table.name() != REPLAYS));
    // The table of rejects follows that of the rows by itself.
    if !table.name().ends_with(FAILED_SUFFIX) {
        table.set_insert_mode(match own.map(|own| own.insert).unwrap_or_default() {
            Insert::Streaming => InsertMode::Streaming,
            Insert::MicroBatch(window) => InsertMode::MicroBatch { window },
            Insert::Auto => InsertMode::Auto(AutoOptions::new(costs(settings.warehouse.flush_age))),
        });
    }
}
