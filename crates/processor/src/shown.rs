//! Rows as JSON, for people.

use arrow::array::RecordBatch;
use arrow::json::LineDelimitedWriter;
use serde_json::{Map, Value};

/// Each row as a JSON object; fields that are null are left out. Rows that JSON cannot show are objects that say so.
pub(crate) fn json_rows(rows: &RecordBatch) -> Vec<Map<String, Value>> {
    let mut text = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut text);
    if let Err(error) = writer.write(rows).and_then(|()| writer.finish()) {
        let unshown = Map::from_iter([("unshown".to_owned(), error.to_string().into())]);
        return vec![unshown; rows.num_rows()];
    }
    let lines = text.split(|byte| *byte == b'\n').take(rows.num_rows());
    lines
        .map(|line| serde_json::from_slice(line).unwrap_or_default())
        .collect()
}
