//! Places in a query's text, and how an error shows them.

use datafusion::sql::sqlparser::tokenizer::{Location, Span};

/// Characters of a line that are shown around a place.
const SHOWN_CHARS: usize = 100;

/// Where in a query's text an error is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: u64,
    /// The character in the line, from 1.
    pub column: u64,
    /// The character in the whole text, from 1.
    pub position: usize,
    /// The line (a part of it, if it is long), and under it a caret.
    pub shown: String,
}

impl Place {
    /// The place in this text; `None` if it has no such line.
    pub(crate) fn find(at: Location, text: &str) -> Option<Self> {
        let (line, column) = (usize::try_from(at.line).ok()?, usize::try_from(at.column).ok()?);
        let before = text.split('\n').take(line.checked_sub(1)?);
        let before: usize = before.map(|line| line.chars().count() + 1).sum();
        let written: Vec<char> = text
            .split('\n')
            .nth(line - 1)?
            .trim_end_matches('\r')
            .chars()
            .collect();
        let offset = column.checked_sub(1).filter(|offset| *offset <= written.len())?;
        let from = offset.saturating_sub(SHOWN_CHARS / 2);
        let until = written.len().min(from + SHOWN_CHARS);
        let (cut_before, cut_after) = (from > 0, until < written.len());
        let mut shown = String::from("  ");
        shown.extend(cut_before.then_some('…'));
        shown.extend(&written[from..until]);
        shown.extend(cut_after.then_some('…'));
        shown.push_str("\n  ");
        shown.extend(cut_before.then_some(' '));
        // A tab is as wide below as it is above.
        shown.extend(
            written[from..offset]
                .iter()
                .map(|c| if *c == '\t' { '\t' } else { ' ' }),
        );
        shown.push('^');
        Some(Self {
            line: at.line,
            column: at.column,
            position: before + column,
            shown,
        })
    }
}

/// Where a span begins, if it is known.
pub(crate) fn start(span: Span) -> Option<Location> {
    (span.start.line > 0).then_some(span.start)
}

/// Where a text ends.
pub(crate) fn end(text: &str) -> Location {
    let text = text.trim_end();
    let last = text.rsplit('\n').next().unwrap_or_default();
    Location::new(
        text.matches('\n').count() as u64 + 1,
        last.chars().count() as u64 + 1,
    )
}

/// The name that was meant by this one, if one is near: a third of the letters may be wrong and one more, but no more
/// than half.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let letters = name.chars().count();
    known
        .into_iter()
        .map(|known| (strsim::osa_distance(&known.to_lowercase(), &name), known))
        .filter(|(distance, _)| *distance <= (1 + letters / 3).min(letters / 2))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_shown_under_its_line() {
        let place = |line, column, text: &str| Place::find(Location::new(line, column), text);
        let second = place(2, 4, "é\n\t ab\r\nc").unwrap();
        assert_eq!((second.position, second.shown.as_str()), (6, "  \t ab\n  \t  ^"));
        assert_eq!(place(1, 1, "").unwrap().shown, "  \n  ^");
        let long = format!("{}x{}", "a".repeat(200), "b".repeat(200));
        let long = place(1, 201, &long).unwrap();
        let (line, caret) = long.shown.split_once('\n').unwrap();
        assert_eq!(line.chars().nth(caret.chars().count() - 1), Some('x'), "{line}");
        assert!(line.chars().count() < 110, "{line}");
        for outside in [place(0, 1, "a"), place(1, 9, "a"), place(7, 1, "a")] {
            assert_eq!(outside, None);
        }
        assert_eq!(end("ab\ncd \n"), Location::new(2, 3));
    }

    #[test]
    fn the_nearest_name_is_near() {
        let names = ["clientName", "userId", "eventTime"];
        assert_eq!(nearest("clinetname", names), Some("clientName"));
        assert_eq!(nearest("user_id", names), Some("userId"));
        assert_eq!(nearest("zebra", names), None);
        assert_eq!(nearest("x", ["y"]), None);
    }
}
