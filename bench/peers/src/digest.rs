//! A digest of sums by key that does not depend on their order.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde_json::{Value, json};
use twox_hash::XxHash3_128;

/// The sum of the hashes of all lines `key,sum`, modulo 2¹²⁸; with how many there are.
#[derive(Default)]
pub(crate) struct Digest {
    keys: u64,
    hashes: u128,
    line: Vec<u8>,
}

impl Digest {
    /// Adds one sum.
    pub(crate) fn add(&mut self, key: &impl Display, sum: u64) {
        use io::Write;
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        write!(line, "{key},{sum}").expect("a vector takes what is written");
        self.add_line(&line);
        self.line = line;
    }

    /// Adds the lines of a file.
    pub(crate) fn add_file(&mut self, path: &Path) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(1 << 20, File::open(path)?);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            self.add_line(line.trim_ascii_end());
            line.clear();
        }
        Ok(())
    }

    fn add_line(&mut self, line: &[u8]) {
        self.keys += 1;
        self.hashes = self.hashes.wrapping_add(XxHash3_128::oneshot(line));
    }

    /// As it is printed.
    pub(crate) fn json(&self) -> Value {
        json!({ "keys": self.keys, "digest": format!("{:032x}", self.hashes) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_any_order_is_what_was_added_and_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let of_file = |text: &str| {
            let path = folder.path().join("sums");
            std::fs::write(&path, text).expect("written");
            let mut digest = Digest::default();
            digest.add_file(&path).expect("read");
            digest.json()
        };
        let mut added = Digest::default();
        added.add(&"to", 2);
        added.add(&"be", 3);
        assert_eq!(of_file("be,3\nto,2\n"), added.json());
        assert_ne!(of_file("be,2\nto,3\n"), added.json());
        assert_ne!(of_file("be,3\n"), added.json());
    }
}
