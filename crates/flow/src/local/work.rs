//! Elements on their way through the fused functions, on this task or on several cores.

use std::sync::Arc;

use futures::future::try_join_all;

use super::plan::{Lowered, Outlet, Push};
use super::slots::Slots;
use super::workers::Threads;
use crate::counter::counting;
use crate::limits::{CHUNK_BYTES_MIN, INLINE_BYTES_MAX};
use crate::platform::Timed;
use crate::{Element, Error, ErrorKind, Result, Timestamp};

/// A run of elements and where they go.
pub(super) trait Work: Send {
    fn items(&self) -> usize;
    fn bytes(&self) -> usize;
    /// The largest time of its elements.
    fn newest(&self) -> Option<Timestamp>;
    /// Splits off the first elements: about `bytes` of them, one at least.
    fn front(&mut self, bytes: usize) -> Box<dyn Work>;
    fn run(self: Box<Self>, slots: &mut Slots);
}

pub(super) struct Run<T> {
    pub(super) items: Vec<Timed<T>>,
    pub(super) bytes: usize,
    pub(super) push: Option<Push<T>>,
}

impl<T: Element> Run<T> {
    /// Elements that come from inside: their weight is what their structs take.
    pub(super) fn new(items: Vec<Timed<T>>, outlet: &Outlet<T>) -> Self {
        Self {
            bytes: items.len() * size_of::<Timed<T>>(),
            items,
            push: outlet.push().cloned(),
        }
    }
}

impl<T: Element> Work for Run<T> {
    fn items(&self) -> usize {
        self.items.len()
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn newest(&self) -> Option<Timestamp> {
        self.items.iter().map(|(time, _)| *time).max()
    }

    fn front(&mut self, bytes: usize) -> Box<dyn Work> {
        let (all, items) = (self.bytes.max(1), self.items.len());
        let count = (items as u128 * bytes as u128)
            .div_ceil(all as u128)
            .clamp(1, items.max(1) as u128);
        let rest = self.items.split_off(items.min(count as usize));
        let rest_bytes = (self.bytes as u128 * rest.len() as u128 / items.max(1) as u128) as usize;
        let front = std::mem::replace(&mut self.items, rest);
        let front = Self {
            items: front,
            bytes: self.bytes - rest_bytes,
            push: self.push.clone(),
        };
        self.bytes = rest_bytes;
        Box::new(front)
    }

    fn run(self: Box<Self>, slots: &mut Slots) {
        if let Some(push) = self.push {
            self.items
                .into_iter()
                .for_each(|(time, item)| push(slots, time, item));
        }
    }
}

/// Puts work through and adds its results to `slots`, as if it had run from first to last on one thread.
pub(super) async fn run(
    plan: &Arc<Lowered>,
    work: Vec<Box<dyn Work>>,
    mut slots: Slots,
    threads: Threads<'_>,
) -> Result<Slots> {
    let bytes: usize = work.iter().map(|work| work.bytes()).sum();
    let items: usize = work.iter().map(|work| work.items()).sum();
    if threads.workers.is_none() && (bytes <= INLINE_BYTES_MAX || items <= 1) {
        run_chunk(plan, work, &mut slots);
        return Ok(slots);
    }
    let mut chunks = divide(work, share(bytes, threads.most)).into_iter();
    // The first chunk goes on from what has gathered before, so that one chunk alone needs no joining.
    let first = chunk(plan, chunks.next().unwrap_or_default(), Some(slots), &threads);
    let all = std::iter::once(first).chain(chunks.map(|work| chunk(plan, work, None, &threads)));
    let mut gathered = try_join_all(all).await?.into_iter();
    let mut slots = gathered.next().expect("there is a first chunk");
    if gathered.len() == 0 {
        return Ok(slots);
    }
    let plan = plan.clone();
    let join = move || {
        gathered.for_each(|later| slots.absorb(&plan.slots, later));
        slots
    };
    threads.run(join).await
}

fn run_chunk(plan: &Lowered, work: Vec<Box<dyn Work>>, slots: &mut Slots) {
    let mut counts = std::mem::take(&mut slots.counts);
    counting(&mut counts, || {
        work.into_iter().for_each(|work| work.run(slots));
        plan.drain(slots);
    });
    slots.counts = counts;
}

async fn chunk(
    plan: &Arc<Lowered>,
    work: Vec<Box<dyn Work>>,
    slots: Option<Slots>,
    threads: &Threads<'_>,
) -> Result<Slots> {
    let plan = plan.clone();
    let run = move || {
        let mut slots = slots.unwrap_or_else(|| Slots::fresh(&plan.slots));
        run_chunk(&plan, work, &mut slots);
        slots
    };
    threads.run(run).await
}

/// How many bytes of them each thread is given.
fn share(bytes: usize, parallelism: usize) -> usize {
    bytes.div_ceil(parallelism).max(CHUNK_BYTES_MIN)
}

/// Contiguous chunks of `target` bytes or more each, the last one of less; what weighs nothing goes with what is before it.
/// So there are no more than all bytes divided by `target`, rounded up, and one at least if there are elements.
fn divide(work: Vec<Box<dyn Work>>, target: usize) -> Vec<Vec<Box<dyn Work>>> {
    let mut chunks = Vec::new();
    let (mut chunk, mut room) = (Vec::new(), target);
    for mut work in work {
        while work.items() > 0 {
            if room == 0 && work.bytes() > 0 {
                chunks.push(std::mem::take(&mut chunk));
                room = target;
            }
            let piece = if work.bytes() > room && work.items() > 1 {
                work.front(room)
            } else {
                work.front(usize::MAX)
            };
            room = room.saturating_sub(piece.bytes());
            chunk.push(piece);
        }
    }
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    chunks
}

pub(super) fn panicked(error: tokio::task::JoinError) -> Error {
    match error.try_into_panic() {
        Ok(payload) => panic_error(payload.as_ref()),
        Err(error) => Error::new(ErrorKind::Retry, "the runtime is shutting down").with_source(error),
    }
}

/// The error for a panic in a function of the job.
pub(super) fn panic_error(payload: &(dyn std::any::Any + Send)) -> Error {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no text");
    Error::new(
        ErrorKind::Invalid,
        format!("a function of the job panicked: mend it and run again panic={text:?}"),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn chunks_are_contiguous_and_not_more_than_asked(
            runs in prop::collection::vec((0usize..20, prop_oneof![Just(0), Just(1), 0usize..1000]), 0..8),
            parallelism in 1usize..5,
        ) {
            let seen = Arc::new(Mutex::new(Vec::new()));
            let pushed = seen.clone();
            let push: Push<i64> = Arc::new(move |_, _, item| pushed.lock().unwrap().push(item));
            let (mut work, mut count) = (Vec::new(), 0);
            for (items, bytes) in &runs {
                let items: Vec<_> = (count..).take(*items).map(|n| (Timestamp(n), n)).collect();
                count += items.len() as i64;
                work.push(Box::new(Run { items, bytes: *bytes, push: Some(push.clone()) }) as Box<dyn Work>);
            }
            let bytes: usize = work.iter().map(|work| work.bytes()).sum();
            let chunks = divide(work, bytes.div_ceil(parallelism).max(1));
            prop_assert!(chunks.len() <= parallelism.max(1), "chunks={}", chunks.len());
            let mut slots = Slots::fresh(&[]);
            chunks.into_iter().flatten().for_each(|work| work.run(&mut slots));
            prop_assert_eq!(seen.lock().unwrap().clone(), (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn many_threads_do_not_make_small_chunks() {
        let chunks = |parallelism| {
            let items = (0..10_000).map(|n| (Timestamp(n), n)).collect();
            let (bytes, push) = (2 * INLINE_BYTES_MAX, None);
            let work = Box::new(Run { items, bytes, push });
            divide(vec![work], share(bytes, parallelism)).len()
        };
        let most = 2 * INLINE_BYTES_MAX / CHUNK_BYTES_MIN;
        assert_eq!([1, 2, most, usize::MAX].map(chunks), [1, 2, most, most]);
    }
}
