//! Chains tried on given events: what goes in, what is to come out, and a report of what differs.

use std::fmt;
use std::sync::Arc;

use event::{
    Batch, BatchHeader, BatchKey, DatasetSchema, DatasetSettings, EmitterId, Encoding, Epoch, Sequence,
    SystemColumn,
};
use jiff::Timestamp;
use queue::{Offset, Partition, Record};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::chain::Chains;
use crate::limits::FIXTURE_ROWS_ALIGNED_MAX;
use crate::shown::json_rows;
use crate::{Chain, Error, ErrorKind, Result};

/// Events that go into a chain, as one batch into an empty dataset, and the rows and rejects that are to come out.
///
/// ```
/// # use processor::{Chain, ChainTest};
/// let test: ChainTest = serde_json::from_str(r#"{
///     "events": ["{\"n\":1}", "oh no"],
///     "rows": [{"n": 2}],
///     "rejects": [{"line": 2, "stage": "decode", "reason": "expected"}]
/// }"#)?;
/// let report = test.run(&Chain::default(), &Default::default())?;
/// assert_eq!(report.to_string(), "rows:\n- {\"n\":2}\n+ {\"n\":1}  (line 1)\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChainTest {
    /// The events, each a line of JSON.
    pub events: Vec<String>,
    /// When they are received, by default in the year 2100: so no event is from the future.
    pub received: Option<Timestamp>,
    /// The rows in their order, as JSON. Fields that are null may be left out. Of the system's columns those are compared
    /// that stand in the row, such as `eventTime`.
    pub rows: Vec<Map<String, Value>>,
    /// The rejected events, by their lines.
    pub rejects: Vec<ExpectedReject>,
}

/// A reject that is to come out of a [`ChainTest`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedReject {
    /// The event, from 1.
    pub line: u32,
    /// Where it fails: `decode`, `validate` or `udf`. Left out: anywhere.
    pub stage: Option<String>,
    /// In which step. Left out: in any or none.
    pub step: Option<String>,
    /// What the reason contains. Left out: anything.
    #[serde(default)]
    pub reason: String,
}

/// What differs; its text is a diff, with `-` before what was expected and did not come, `+` before what came instead, and
/// nothing at all where all is as expected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainReport {
    rows: Vec<String>,
    rejects: Vec<String>,
}

impl ChainReport {
    /// Whether all is as expected.
    pub fn is_good(&self) -> bool {
        self.rows.is_empty() && self.rejects.is_empty()
    }
}

impl fmt::Display for ChainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, lines) in [("rows", &self.rows), ("rejects", &self.rejects)] {
            if !lines.is_empty() {
                writeln!(f, "{title}:")?;
            }
            lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        }
        Ok(())
    }
}

impl ChainTest {
    /// Runs the chain on the events. May take as long as the chain does; call it where blocking is fine.
    ///
    /// # Errors
    /// `Invalid` when an event has more than one line, or the settings name a time that cannot be.
    pub fn run(&self, chain: &Chain, settings: &DatasetSettings) -> Result<ChainReport> {
        if let Some(at) = self.events.iter().position(|event| event.contains('\n')) {
            let text = format_args!(
                "an event of the test has more than one line, write it in one event={}",
                at + 1
            );
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let chains = Chains::new(Arc::new(DatasetSchema::empty()), settings, chain, Arc::default())?;
        let (parts, rejects) = chains.begin(self.record()).finish_parts();
        let mut rows = Vec::new();
        for (batch, lines) in parts {
            rows.extend(json_rows(&batch).into_iter().zip(lines));
        }
        let rejects: Vec<Got> = rejects
            .iter()
            .map(|reject| Got {
                line: reject.line,
                stage: reject.stage,
                step: reject.step.as_deref(),
                reason: &reject.reason,
            })
            .collect();
        Ok(ChainReport {
            rows: diff_rows(&self.rows, &rows),
            rejects: diff_rejects(&self.rejects, &rejects),
        })
    }

    fn record(&self) -> Record {
        let year_2100 = Timestamp::from_second(4_102_444_800).expect("it is in the range of times");
        let at = self.received.unwrap_or(year_2100);
        Record {
            partition: Partition(0),
            offset: Offset(0),
            batch: Batch {
                dataset: "test".parse().expect("it is a name"),
                header: BatchHeader {
                    key: BatchKey {
                        emitter: EmitterId(uuid::Uuid::nil()),
                        epoch: Epoch(0),
                        sequence: Sequence(0),
                    },
                    events: self.events.len() as u32,
                    encoding: Encoding::Ndjson,
                    generated_at: at,
                    received_at: at,
                },
                payload: self.events.join("\n").into(),
            },
        }
    }
}

struct Got<'a> {
    line: u32,
    stage: &'a str,
    step: Option<&'a str>,
    reason: &'a str,
}

/// Whether a row is the one expected.
fn is_row(expected: &Map<String, Value>, got: &Map<String, Value>) -> bool {
    let asked = |name: &str| !SystemColumn::is_reserved(name) || expected.contains_key(name);
    let given = expected.iter().filter(|(_, value)| !value.is_null());
    let came = got.iter().filter(|(name, value)| asked(name) && !value.is_null());
    given.clone().count() == came.count()
        && given
            .clone()
            .all(|(name, value)| got.get(name).is_some_and(|got| is_value(value, got)))
}

/// Equal, where numbers are equal as numbers and a field that is null is not there.
fn is_value(expected: &Value, got: &Value) -> bool {
    match (expected, got) {
        (Value::Number(expected), Value::Number(got)) => {
            expected == got
                || expected
                    .as_f64()
                    .is_some_and(|expected| got.as_f64() == Some(expected))
        }
        (Value::Array(expected), Value::Array(got)) => {
            expected.len() == got.len()
                && expected
                    .iter()
                    .zip(got)
                    .all(|(expected, got)| is_value(expected, got))
        }
        (Value::Object(expected), Value::Object(got)) => {
            let set = |object: &Map<String, Value>| object.values().filter(|value| !value.is_null()).count();
            let is_there =
                |name: &String, value: &Value| got.get(name).is_some_and(|got| is_value(value, got));
            set(expected) == set(got)
                && expected
                    .iter()
                    .all(|(name, value)| value.is_null() || is_there(name, value))
        }
        _ => expected == got,
    }
}

fn diff_rows(expected: &[Map<String, Value>], got: &[(Map<String, Value>, u32)]) -> Vec<String> {
    let missing = |row: &Map<String, Value>| format!("- {}", shown(row, |_| true));
    let came = |(row, line): &(Map<String, Value>, u32)| {
        let names = |name: &str| {
            !SystemColumn::is_reserved(name) || expected.iter().any(|row| row.contains_key(name))
        };
        format!("+ {}  (line {line})", shown(row, names))
    };
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    let aligned = Alignment::of(expected.len(), got.len(), |i, j| is_row(&expected[i], &got[j].0));
    while i < expected.len() || j < got.len() {
        if i < expected.len() && j < got.len() && is_row(&expected[i], &got[j].0) {
            (i, j) = (i + 1, j + 1);
        } else if i < expected.len() && (j == got.len() || aligned.skips_expected(i, j)) {
            lines.push(missing(&expected[i]));
            i += 1;
        } else {
            lines.push(came(&got[j]));
            j += 1;
        }
    }
    lines
}

fn shown(row: &Map<String, Value>, name: impl Fn(&str) -> bool) -> String {
    let fields = row.iter().filter(|(field, _)| name(field));
    Value::Object(
        fields
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    )
    .to_string()
}

/// Lengths of the longest common subsequences of the ends of two lists; of lists that are too long none.
struct Alignment {
    lengths: Vec<u32>,
    width: usize,
}

impl Alignment {
    fn of(left: usize, right: usize, equal: impl Fn(usize, usize) -> bool) -> Self {
        let width = right + 1;
        if left.max(right) > FIXTURE_ROWS_ALIGNED_MAX {
            return Self {
                lengths: Vec::new(),
                width,
            };
        }
        let mut lengths = vec![0; (left + 1) * width];
        for i in (0..left).rev() {
            for j in (0..right).rev() {
                lengths[i * width + j] = match equal(i, j) {
                    true => lengths[(i + 1) * width + j + 1] + 1,
                    false => lengths[(i + 1) * width + j].max(lengths[i * width + j + 1]),
                };
            }
        }
        Self { lengths, width }
    }

    fn skips_expected(&self, i: usize, j: usize) -> bool {
        let length = |i: usize, j: usize| self.lengths.get(i * self.width + j).copied().unwrap_or(0);
        length(i + 1, j) >= length(i, j + 1)
    }
}

fn diff_rejects(expected: &[ExpectedReject], got: &[Got<'_>]) -> Vec<String> {
    let is_it = |expected: &ExpectedReject, got: &Got<'_>| {
        expected.line == got.line
            && expected.stage.as_deref().is_none_or(|stage| stage == got.stage)
            && expected.step.as_deref().is_none_or(|step| Some(step) == got.step)
            && got.reason.contains(&expected.reason)
    };
    let text = |mark: char, line: u32, stage: Option<&str>, step: Option<&str>, reason: &str| {
        let stage = stage.map_or(String::new(), |stage| format!(" stage={stage}"));
        let step = step.map_or(String::new(), |step| format!(" step={step}"));
        format!("{mark} line={line}{stage}{step} reason={reason:?}")
    };
    let mut lines: Vec<(u32, String)> = Vec::new();
    for expected in expected
        .iter()
        .filter(|expected| !got.iter().any(|got| is_it(expected, got)))
    {
        let (stage, step) = (expected.stage.as_deref(), expected.step.as_deref());
        lines.push((
            expected.line,
            text('-', expected.line, stage, step, &expected.reason),
        ));
    }
    for got in got
        .iter()
        .filter(|got| !expected.iter().any(|expected| is_it(expected, got)))
    {
        lines.push((
            got.line,
            text('+', got.line, Some(got.stage), got.step, got.reason),
        ));
    }
    lines.sort_by_key(|(line, _)| *line);
    lines.into_iter().map(|(_, text)| text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NativeUdf;
    use event::{UdfError, UdfErrorKind};

    fn report(test: &str) -> String {
        let small = NativeUdf::new("small", |rows| {
            match rows.num_rows() > 1 || rows.schema().index_of("bad").is_ok() {
                true => Err(UdfError::new(UdfErrorKind::Row, "it is bad")),
                false => Ok(rows.clone()),
            }
        });
        let test: ChainTest = serde_json::from_str(test).expect("a test");
        let chain = Chain::new(vec![Arc::new(small)]).expect("a chain");
        let report = test
            .run(&chain, &DatasetSettings::default())
            .expect("it can be run");
        assert_eq!(report.is_good(), report.to_string().is_empty());
        report.to_string()
    }

    #[test]
    fn what_is_as_expected_has_no_report() {
        let good = r#"{"events":["{\"n\":1.0,\"o\":{\"x\":null,\"y\":[1]}}","{\"n\":2.5}"],
            "rows":[{"n":1,"z":null,"o":{"y":[1.0]}},{"n":2.5,"_sequence":0,"eventTime":"2100-01-01T00:00:00Z"}]}"#;
        assert_eq!(report(good), "");
        let bad = r#"{"events":["{\"bad\":1}"],"rejects":[{"line":1,"step":"small","reason":"bad"}]}"#;
        assert_eq!(report(bad), "");
    }

    #[test]
    fn a_report_is_a_diff() {
        let rows =
            r#"{"events":["{\"n\":1}","{\"n\":2}","{\"n\":3}"],"rows":[{"n":1},{"n":7},{"n":3},{"n":4}]}"#;
        assert_eq!(
            report(rows),
            "rows:\n- {\"n\":7}\n+ {\"n\":2}  (line 2)\n- {\"n\":4}\n"
        );
        let rejects = r#"{"events":["{\"bad\":1}","oh"],"rejects":[{"line":1,"stage":"decode"},{"line":3}]}"#;
        assert_eq!(
            report(rejects),
            "rejects:\n- line=1 stage=decode reason=\"\"\n+ line=1 stage=udf step=small reason=\"it is bad\"\n\
             + line=2 stage=decode reason=\"expected value at column 1\"\n- line=3 reason=\"\"\n"
        );
    }

    #[test]
    fn keys_that_are_not_known_are_refused() {
        let unknown = serde_json::from_str::<ChainTest>(r#"{"event":[]}"#).expect_err("it is `events`");
        assert!(unknown.to_string().contains("unknown field `event`"));
    }
}
