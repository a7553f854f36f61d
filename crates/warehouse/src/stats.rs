//! A file's statistics in the Delta log: its rows and the ranges of its times.

use arrow::datatypes::SchemaRef;
use object_store::path::Path;

use crate::DataFile;
use crate::encode::hour_column;

/// Statistics as Delta wants them. Times that it has no text for are left out.
pub(crate) fn write_stats(file: &DataFile, schema: &SchemaRef) -> String {
    let (mut least, mut greatest, mut nulls) = (
        serde_json::Map::new(),
        serde_json::Map::new(),
        serde_json::Map::new(),
    );
    let received = event::SystemColumn::ReceivedTime;
    for (column, range) in [
        (received, file.received_time),
        (hour_column(schema), file.event_time),
    ] {
        if let (Some(from), Some(to)) = (time_text(range.0), time_text(range.1)) {
            least.insert(column.name().to_owned(), from.into());
            greatest.insert(column.name().to_owned(), to.into());
        }
        nulls.insert(column.name().to_owned(), 0.into());
    }
    serde_json::json!({
        "numRecords": file.rows, "minValues": least, "maxValues": greatest, "nullCount": nulls,
    })
    .to_string()
}

/// Years 1 to 9999, which every reader can parse.
fn time_text(us: i64) -> Option<String> {
    let time = jiff::Timestamp::from_microsecond(us).ok()?;
    (-62_135_596_800..253_402_207_200)
        .contains(&time.as_second())
        .then(|| time.to_string())
}

/// The time ranges of a file; those that its statistics do not tell are as wide as can be.
pub(crate) fn read_stats(stats: Option<&str>, schema: &SchemaRef) -> DataFile {
    let stats: serde_json::Value = stats
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let time = |of: &str, column: event::SystemColumn| {
        let text = stats.get(of)?.get(column.name())?.as_str()?;
        Some(text.parse::<jiff::Timestamp>().ok()?.as_microsecond())
    };
    let range = |column| {
        (
            time("minValues", column).unwrap_or(i64::MIN),
            time("maxValues", column).unwrap_or(i64::MAX),
        )
    };
    DataFile {
        path: Path::default(),
        bytes: 0,
        rows: 0,
        hour: String::new(),
        event_time: range(hour_column(schema)),
        received_time: range(event::SystemColumn::ReceivedTime),
    }
}
