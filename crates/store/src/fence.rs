//! The decision whether a commit applies: the law *fenced* of [`Store`](crate::Store) as a function.

use crate::{Error, ErrorKind, Progress, Result};

/// Whether a commit from `expected` to `next` was applied before (`true`: there is nothing to do) or is to be
/// applied (`false`), given the progress held.
///
/// # Errors
/// `Conflict` when the store holds neither.
pub(crate) fn is_retry(
    store: &str,
    held: Option<&Progress>,
    expected: Option<&Progress>,
    next: &Progress,
) -> Result<bool> {
    if held == expected {
        return Ok(false);
    }
    if held == Some(next) {
        return Ok(true);
    }
    let shown = |progress: Option<&Progress>| progress.map_or("none".to_owned(), |p| format!("{{{p}}}"));
    Err(Error::new(
        ErrorKind::Conflict,
        format!(
            "another run of the job has written to its store: read the progress and go on from there, with one \
             run at a time store={store} held={} expected={}",
            shown(held),
            shown(expected)
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case() {
        let at = |n: u64| Progress::from_iter([("0", n)]);
        let (one, two, three) = (at(1), at(2), at(3));
        let decide = |held, expected, next| is_retry("s", held, expected, next).map_err(|e| e.kind());

        assert_eq!(decide(None, None, &one), Ok(false));
        assert_eq!(decide(Some(&one), Some(&one), &two), Ok(false));
        // Values alone change, the progress stands: it is applied each time.
        assert_eq!(decide(Some(&one), Some(&one), &one), Ok(false));

        assert_eq!(decide(Some(&one), None, &one), Ok(true));
        assert_eq!(decide(Some(&two), Some(&one), &two), Ok(true));

        assert_eq!(decide(None, Some(&one), &two), Err(ErrorKind::Conflict));
        assert_eq!(decide(Some(&one), None, &two), Err(ErrorKind::Conflict));
        assert_eq!(decide(Some(&three), Some(&one), &two), Err(ErrorKind::Conflict));
    }

    #[test]
    fn says_what_is_held() {
        let held = Progress::from_iter([("0", 7), ("1", 2)]);
        let text = is_retry("counts", Some(&held), None, &Progress::default())
            .unwrap_err()
            .to_string();
        assert!(
            text.ends_with("store=counts held={0:7 1:2} expected=none"),
            "{text}"
        );
    }
}
