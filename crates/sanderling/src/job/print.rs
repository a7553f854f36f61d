//! Sums on standard output: a table, JSON lines or CSV.

use std::cmp::Ordering;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::util::pretty::pretty_format_batches;
use flow::Timestamp;
use serde_json::{Value as Json, json};

use super::answers::{Answers, Covered, Pair};
use super::arguments::{Format, Print};
use super::error::Failure;

/// What is printed of a store.
struct Printed {
    store: &'static str,
    pairs: Vec<Pair>,
    covered: Option<Covered>,
}

/// Prints the sums of all stores.
pub(super) async fn sums(
    stores: &[Box<dyn Answers>],
    at: Option<Timestamp>,
    print: Print,
    format: Format,
) -> Result<(), Failure> {
    if print == Print::Some(0) {
        return Ok(());
    }
    let mut all = Vec::new();
    for store in stores {
        let mut best = Best::new(print);
        let covered = store.each(at, &mut |pair| best.see(pair)).await?;
        all.push(Printed {
            store: store.name(),
            pairs: best.pairs(),
            covered,
        });
    }
    write(&all, format)
}

/// Prints the sum of one key, in each store that takes such a key.
pub(super) async fn one(
    stores: &[Box<dyn Answers>],
    key: &str,
    at: Option<Timestamp>,
    format: Format,
) -> Result<(), Failure> {
    let (mut all, mut refused) = (Vec::new(), None);
    for store in stores {
        match store.get(key, at).await {
            Ok((pair, covered)) => all.push(Printed {
                store: store.name(),
                pairs: pair.into_iter().collect(),
                covered,
            }),
            Err(error) if error.kind() == flow::ErrorKind::Invalid => refused = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    match refused {
        Some(error) if all.is_empty() => return Err(error.into()),
        _ => write(&all, format)?,
    }
    if all.iter().all(|printed| printed.pairs.is_empty()) {
        return Err(Failure::Other(
            format!("no sum has been kept for it key={key}").into(),
        ));
    }
    Ok(())
}

fn write(all: &[Printed], format: Format) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match format {
        Format::Json => {
            for printed in all {
                for Pair { key, value } in &printed.pairs {
                    let mut line = json!({ "key": key, "value": value });
                    if all.len() > 1 {
                        line["store"] = json!(printed.store);
                    }
                    if let Some(covered) = &printed.covered {
                        line["coverage"] = serde_json::to_value(covered)?;
                    }
                    writeln!(out, "{line}")?;
                }
            }
        }
        Format::Table => {
            let rows = rows(all)?;
            if rows.num_rows() > 0 {
                writeln!(out, "{}", pretty_format_batches(&[rows])?)?;
            }
        }
        Format::Csv => {
            let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(&mut out);
            writer.write(&rows(all)?)?;
        }
    }
    if format != Format::Json {
        for printed in all {
            if let Some(covered) = &printed.covered {
                eprintln!("{}: {covered}", printed.store);
            }
        }
    }
    Ok(())
}

/// Text in columns; that of the store when there are several.
fn rows(all: &[Printed]) -> Result<RecordBatch, Failure> {
    let pairs = || {
        all.iter()
            .flat_map(|printed| printed.pairs.iter().map(move |pair| (printed.store, pair)))
    };
    let stores: StringArray = pairs().map(|(store, _)| Some(store)).collect();
    let keys: StringArray = pairs().map(|(_, pair)| Some(cell(&pair.key))).collect();
    let values: StringArray = pairs().map(|(_, pair)| Some(cell(&pair.value))).collect();
    let mut columns: Vec<(&str, ArrayRef)> = vec![("key", Arc::new(keys)), ("value", Arc::new(values))];
    if all.len() > 1 {
        columns.insert(0, ("store", Arc::new(stores)));
    }
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// Text as it stands, all else as JSON.
fn cell(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Keeps the pairs to be printed, of all that it sees.
struct Best {
    pairs: Vec<Pair>,
    /// `None` for all.
    count: Option<usize>,
}

impl Best {
    fn new(print: Print) -> Self {
        let count = match print {
            Print::All => None,
            Print::Some(count) => Some(count),
        };
        Self {
            pairs: Vec::new(),
            count,
        }
    }

    fn see(&mut self, pair: Pair) {
        self.pairs.push(pair);
        if let Some(count) = self.count
            && self.pairs.len() >= count.saturating_mul(2).max(1_024)
        {
            self.pairs.sort_unstable_by(order);
            self.pairs.truncate(count);
        }
    }

    fn pairs(mut self) -> Vec<Pair> {
        match self.count {
            None => self.pairs.sort_unstable_by(|a, b| compare(&a.key, &b.key)),
            Some(count) => {
                self.pairs.sort_unstable_by(order);
                self.pairs.truncate(count);
            }
        }
        self.pairs
    }
}

/// Larger numbers first, then keys as they rise.
fn order(a: &Pair, b: &Pair) -> Ordering {
    let by_value = match (&a.value, &b.value) {
        (Json::Number(_), Json::Number(_)) => compare(&b.value, &a.value),
        (a, b) => b.is_number().cmp(&a.is_number()),
    };
    by_value.then_with(|| compare(&a.key, &b.key))
}

/// Numbers before text before lists before all else; numbers as numbers, lists item by item, all else as JSON text.
fn compare(a: &Json, b: &Json) -> Ordering {
    let rank = |value: &Json| match value {
        Json::Number(_) => 0,
        Json::String(_) => 1,
        Json::Array(_) => 2,
        _ => 3,
    };
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => {
            // Large whole numbers may be one as floating point.
            let whole = |number: &serde_json::Number| number.as_i128();
            let float = |number: &serde_json::Number| number.as_f64().unwrap_or(f64::NAN);
            float(a)
                .total_cmp(&float(b))
                .then_with(|| whole(a).cmp(&whole(b)))
        }
        (Json::String(a), Json::String(b)) => a.cmp(b),
        (Json::Array(a), Json::Array(b)) => {
            let different = a
                .iter()
                .zip(b)
                .map(|(a, b)| compare(a, b))
                .find(|order| order.is_ne());
            different.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (a, b) => rank(a)
            .cmp(&rank(b))
            .then_with(|| a.to_string().cmp(&b.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn best(print: Print, pairs: &[(String, i64)]) -> Vec<(String, i64)> {
        let mut best = Best::new(print);
        for (key, value) in pairs {
            best.see(Pair {
                key: json!(key),
                value: json!(value),
            });
        }
        let pair = |pair: Pair| (cell(&pair.key), pair.value.as_i64().unwrap());
        best.pairs().into_iter().map(pair).collect()
    }

    proptest! {
        #[test]
        fn the_largest_are_printed(
            pairs in prop::collection::btree_map("[a-c]{1,6}", -5i64..5, 0..3_000),
            count in 0usize..20,
        ) {
            let pairs: Vec<_> = pairs.into_iter().collect();
            prop_assert_eq!(&best(Print::All, &pairs), &pairs);
            let mut twin = pairs.clone();
            twin.sort_by_key(|(key, value)| (-value, key.clone()));
            twin.truncate(count);
            prop_assert_eq!(best(Print::Some(count), &pairs), twin);
        }
    }

    #[test]
    fn keys_are_in_their_own_order() {
        let mut keys = [
            json!(10),
            json!(9),
            json!(["b", 1]),
            json!(["a", 10]),
            json!(["a", 9]),
        ];
        keys[..2].sort_by(compare);
        keys[2..].sort_by(compare);
        assert_eq!(
            keys,
            [
                json!(9),
                json!(10),
                json!(["a", 9]),
                json!(["a", 10]),
                json!(["b", 1])
            ]
        );
        assert!(compare(&json!(u64::MAX), &json!(u64::MAX - 1)).is_gt());
        assert!(compare(&json!(1.5), &json!(1)).is_gt());
    }
}
