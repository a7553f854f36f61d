//! Leaves out the events of robots: those whose agent has `bot` in its name. Events without an agent stay.
//!
//! Settings: the name of the column, `agent` if they are empty. A dataset that has no such column passes unchanged.

use udf_guest::array::{Array, BooleanArray, StringArray};
use udf_guest::select::filter::filter_record_batch;
use udf_guest::{RecordBatch, Udf};

struct Bots {
    column: String,
}

impl Udf for Bots {
    fn new(settings: &str) -> Result<Self, String> {
        let column = match settings.trim() {
            "" => "agent".to_owned(),
            name => name.to_owned(),
        };
        Ok(Self { column })
    }

    fn apply(&self, rows: &RecordBatch) -> Result<RecordBatch, String> {
        let Some(agents) = rows.column_by_name(&self.column) else {
            return Ok(rows.clone());
        };
        let agents = agents.as_any().downcast_ref::<StringArray>().ok_or_else(|| {
            format!(
                "the column must be text column={} type={}",
                self.column,
                agents.data_type()
            )
        })?;
        let people: BooleanArray = agents
            .iter()
            .map(|agent| Some(!agent.is_some_and(|agent| agent.contains("bot"))))
            .collect();
        filter_record_batch(rows, &people).map_err(|error| error.to_string())
    }
}

udf_guest::udf!(Bots);
