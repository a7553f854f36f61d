//! The laws of [`Source`] as a suite that each implementation runs:
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use flow::{Timestamp, VecSource};
//! let items = [(Timestamp(0), "to"), (Timestamp(1), "be")];
//! let read = flow::laws::source(async || VecSource::new(items)).await;
//! assert_eq!(read["0"], items);
//! # });
//! ```

use std::collections::BTreeMap;
use std::fmt::Debug;

use futures::FutureExt;
use store::Progress;

use crate::{Element, Slice, Source, Timestamp};

/// The elements of each part, in order.
pub type Parts<T> = BTreeMap<String, Vec<(Timestamp, T)>>;

/// Sizes of reads: all at once, one element after the other, and between.
const READ_BYTES: [usize; 5] = [usize::MAX, 0, 1, 100, 4_000];
/// The positions from which is gone on, and the pairs of positions that are read between: the suite is quadratic.
const POSITIONS_MAX: usize = 12;

/// Checks every law on a source that ends; `make` opens the same one each time. Gives what it read, for a comparison
/// with what it should.
///
/// # Panics
/// When a law does not hold; the text names it.
pub async fn source<T: Element + Debug + PartialEq, S: Source<T>>(make: impl AsyncFn() -> S) -> Parts<T> {
    let start = make().await.start().await.expect("start answers");
    let whole = read_all(&make().await, &start, None, READ_BYTES[0]).await;
    let mut finest = Vec::new();
    for bytes_max in READ_BYTES {
        let read = read_all(&make().await, &start, None, bytes_max).await;
        assert_eq!(
            read.parts, whole.parts,
            "law same elements: whatever the size of a read bytes_max={bytes_max}"
        );
        if read.positions.len() > finest.len() {
            finest = read.positions;
        }
    }
    let step = finest.len().div_ceil(POSITIONS_MAX).max(1);
    let end = finest.last().cloned().expect("the start is a position");
    let mut positions: Vec<_> = finest.into_iter().step_by(step).collect();
    positions.push(end);
    let kept = make().await;
    for (i, position) in positions.iter().enumerate() {
        let fresh = read_all(&make().await, position, None, 100).await;
        let again = read_all(&kept, position, None, 100).await;
        assert_eq!(
            fresh.parts, again.parts,
            "law same elements: also from one source, going back from={position}"
        );
        for until in &positions[i..] {
            let between = read_all(&kept, position, Some(until), 100).await;
            let after = read_all(&make().await, until, None, usize::MAX).await;
            let joined = join(between.parts, after.parts);
            assert_eq!(joined, fresh.parts, "law until: from={position} until={until}");
        }
        dropped(&kept, position, &fresh.parts).await;
    }
    whole.parts
}

struct ReadAll<T> {
    parts: Parts<T>,
    /// After each slice.
    positions: Vec<Progress>,
}

async fn read_all<T: Element>(
    source: &impl Source<T>,
    from: &Progress,
    until: Option<&Progress>,
    bytes_max: usize,
) -> ReadAll<T> {
    let mut at = from.clone();
    let (mut parts, mut positions) = (Parts::new(), vec![at.clone()]);
    while let Some(slices) = source.read(&at, until, bytes_max).await.expect("a read answers") {
        assert!(
            !slices.is_empty(),
            "law wait: a read gives something or ends from={at}"
        );
        let asked = at.clone();
        for slice in slices {
            take(&mut at, &asked, until, &slice);
            let part = parts.entry(slice.part).or_default();
            part.extend(slice.items);
            positions.push(at.clone());
        }
    }
    let ended = source.read(&at, until, bytes_max).await.expect("a read answers");
    assert!(ended.is_none(), "law end: what has ended stays so from={at}");
    if let Some(until) = until {
        let open = until
            .0
            .iter()
            .find(|(part, next)| at.of(part) < **next && !is_empty(&parts, part));
        assert_eq!(open, None, "law until: all before it is read at={at}");
    }
    parts.retain(|_, items| !items.is_empty());
    ReadAll { parts, positions }
}

fn is_empty<T>(parts: &Parts<T>, part: &str) -> bool {
    parts.get(part).is_none_or(Vec::is_empty)
}

fn take<T>(at: &mut Progress, asked: &Progress, until: Option<&Progress>, slice: &Slice<T>) {
    let Slice { part, next, .. } = slice;
    assert_eq!(
        at.of(part),
        asked.of(part),
        "law slices: at most one a part part={part:?}"
    );
    assert!(
        *next > at.of(part),
        "law slices: they go on part={part:?} next={next} at={at}"
    );
    if let Some(until) = until {
        assert!(
            *next <= until.of(part),
            "law until: nothing from there on part={part:?} next={next} until={until}"
        );
    }
    at.advance(part, *next);
}

fn join<T>(mut first: Parts<T>, then: Parts<T>) -> Parts<T> {
    for (part, items) in then {
        first.entry(part).or_default().extend(items);
    }
    first
}

/// A read that is dropped, at once or while it waits, loses nothing.
async fn dropped<T: Element + Debug + PartialEq>(source: &impl Source<T>, from: &Progress, rest: &Parts<T>) {
    drop(source.read(from, None, 1));
    for _ in 0..3 {
        // Polled once.
        if let Some(read) = source.read(from, None, 1).now_or_never() {
            read.expect("a read answers");
        }
    }
    let after = read_all(source, from, None, 1).await;
    assert_eq!(
        after.parts, *rest,
        "law dropped reads: they lose nothing from={from}"
    );
}
