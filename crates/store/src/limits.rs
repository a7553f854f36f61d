//! The maxima of stores. Everything that input can grow names one of these.

use bytes::Bytes;

use crate::{Commit, Error, ErrorKind, Result};

/// A store's name, in characters (ASCII).
pub const NAME_CHARS_MAX: usize = 128;
/// One key as bytes.
pub const KEY_BYTES_MAX: usize = 32 << 10;
/// One value as bytes.
pub const VALUE_BYTES_MAX: usize = 64 << 20;
/// The keys and values of one commit, together.
pub const COMMIT_BYTES_MAX: usize = 256 << 20;
/// Deltas that are gathered before they are put apart by the hashes of their keys.
pub(crate) const DELTAS_TOGETHER_MAX: usize = 4 << 10;
/// Deltas that stand apart before those of one key are joined, by each thread that gathers.
pub(crate) const DELTAS_UNMERGED_MAX: usize = 512 << 10;
/// Keys whose last delta is found again: 8 bytes each, in all less than a core's own cache.
pub(crate) const RECENT_KEYS_MAX: usize = 32 << 10;
/// Additions of up to so many deltas are done where they are asked for, on one thread; larger ones leave the runtime's
/// threads free.
pub(crate) const ADDED_HERE_MAX: usize = 8 << 10;
/// Keys that a store in memory notes for a walk that may not go on, beyond as many as it has.
pub(crate) const ORDER_SPARE_KEYS: usize = 1 << 10;
/// The pairs of one page, where a whole store is walked through.
pub const PAGE_KEYS: usize = 1_000;

const _: () = assert!(RECENT_KEYS_MAX.is_power_of_two() && DELTAS_TOGETHER_MAX * 8 == RECENT_KEYS_MAX);
const _: () = assert!(DELTAS_TOGETHER_MAX < ADDED_HERE_MAX && RECENT_KEYS_MAX < DELTAS_UNMERGED_MAX);
// The backend counts a key's length in 16 bits, a tag of ours included.
const _: () = assert!(KEY_BYTES_MAX < u16::MAX as usize);
const _: () = assert!(KEY_BYTES_MAX + VALUE_BYTES_MAX <= COMMIT_BYTES_MAX);
// The backend counts the length of a value in 32 bits.
const _: () = assert!(COMMIT_BYTES_MAX <= u32::MAX as usize);

/// Refuses a name that is not 1 to 128 characters of `A-Z a-z 0-9 _ -`.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(allowed) {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "a store's name must be 1 to {NAME_CHARS_MAX} characters of A-Z a-z 0-9 _ -: rename the job \
                 name={name:?}"
            ),
        ));
    }
    Ok(())
}

/// Refuses a commit with a key or value that is too large, or that is too large as a whole.
pub(crate) fn check_commit(store: &str, commit: &Commit<Bytes, Bytes>) -> Result<()> {
    let mut total = 0;
    for (key, value) in &commit.writes {
        let value_bytes = value.as_ref().map_or(0, Bytes::len);
        total += key.len() + value_bytes;
        if key.len() > KEY_BYTES_MAX {
            return Err(too_large(
                "key",
                "use shorter keys, for instance a hash",
                store,
                key.len(),
                KEY_BYTES_MAX,
            ));
        }
        if value_bytes > VALUE_BYTES_MAX {
            let mend = "split the value over several keys or bound its size";
            return Err(too_large("value", mend, store, value_bytes, VALUE_BYTES_MAX));
        }
    }
    if total > COMMIT_BYTES_MAX {
        let mend = "commit fewer keys at a time, by shorter epochs";
        return Err(too_large("commit", mend, store, total, COMMIT_BYTES_MAX));
    }
    Ok(())
}

fn too_large(what: &str, mend: &str, store: &str, bytes: usize, bytes_max: usize) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!("the {what} is too large: {mend} store={store} bytes={bytes} bytes_max={bytes_max}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["a", "word_count-2", &"x".repeat(NAME_CHARS_MAX)] {
            check_name(good).unwrap();
        }
        for bad in [
            "",
            "a b",
            "a/b",
            "..",
            "ä",
            "a$failed",
            &"x".repeat(NAME_CHARS_MAX + 1),
        ] {
            let error = check_name(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains("1 to 128 characters"), "{error}");
        }
    }

    #[test]
    fn sizes_are_checked() {
        let commit = |key: usize, value: usize, count: usize| Commit {
            writes: vec![(Bytes::from(vec![0; key]), Some(Bytes::from(vec![0; value]))); count],
            expected: None,
            progress: Default::default(),
        };
        check_commit("s", &commit(KEY_BYTES_MAX, VALUE_BYTES_MAX, 3)).unwrap();
        for (bad, text) in [
            (commit(KEY_BYTES_MAX + 1, 0, 1), "the key is too large"),
            (commit(1, VALUE_BYTES_MAX + 1, 1), "the value is too large"),
            (commit(1, VALUE_BYTES_MAX, 4), "the commit is too large"),
        ] {
            let error = check_commit("s", &bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().starts_with(text), "{error}");
        }
    }
}
