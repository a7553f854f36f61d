//! Plain files as tests read them.

use std::path::Path;

use serde_json::Value;

/// The numbers `n` in all plain files of a dataset that are JSON by line in gzip, in ascending order.
pub(crate) fn plain_numbers(data_dir: &Path, dataset: &str) -> Vec<u64> {
    let mut folders = vec![data_dir.join("plain").join(dataset)];
    let mut numbers = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "gz") {
                let file = flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap());
                for line in std::io::BufRead::lines(std::io::BufReader::new(file)) {
                    let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
                    numbers.push(event["n"].as_u64().unwrap());
                }
            }
        }
    }
    numbers.sort_unstable();
    numbers
}
