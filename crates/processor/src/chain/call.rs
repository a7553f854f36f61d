//! Calls of functions that may panic or never return: on threads of their own, with a limit of time.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::limits::CALL_THREADS_IDLE_MAX;

/// Threads that calls are made on; those that have nothing to do are kept for the next.
#[derive(Debug, Default)]
pub(crate) struct CallThreads(Arc<Mutex<Vec<SyncSender<Work>>>>);

/// A job, and the way to its thread, which is given back with it: a thread whose way nobody has ends.
struct Work {
    job: Job,
    thread: SyncSender<Work>,
}

/// Returns whether its thread may be used again.
type Job = Box<dyn FnOnce() -> After + Send>;

#[derive(PartialEq)]
enum After {
    Reuse,
    End,
}

/// Why a call gave nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    Panicked(String),
    /// It goes on, and counts as stuck until it returns.
    TooLong,
    NoThread(String),
}

enum State<R> {
    Running,
    Done(Result<R, NoAnswer>),
    Abandoned,
}

impl CallThreads {
    /// Calls `f` and waits for at most `limit`. While a call that was not waited for runs, it counts in `stuck`.
    ///
    /// On a thread of a tokio runtime of several threads, other tasks go on meanwhile.
    pub(crate) fn call<R: Send + 'static>(
        &self,
        limit: Duration,
        stuck: &Arc<AtomicU64>,
        f: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, NoAnswer> {
        let shared = Arc::new((Mutex::new(State::Running), Condvar::new()));
        let (answer, stuck_calls) = (shared.clone(), stuck.clone());
        let job: Job = Box::new(move || {
            let result =
                catch_unwind(AssertUnwindSafe(f)).map_err(|panic| NoAnswer::Panicked(text_of(panic)));
            let mut state = locked(&answer.0);
            if matches!(*state, State::Abandoned) {
                stuck_calls.fetch_sub(1, Ordering::Relaxed);
                return After::End;
            }
            *state = State::Done(result);
            answer.1.notify_one();
            After::Reuse
        });
        self.hand_over(job)?;
        let mut state = waiting(|| {
            let deadline = Instant::now() + limit;
            let mut state = locked(&shared.0);
            while let (State::Running, Some(rest)) =
                (&*state, deadline.checked_duration_since(Instant::now()))
            {
                state = shared
                    .1
                    .wait_timeout(state, rest)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
            state
        });
        match std::mem::replace(&mut *state, State::Abandoned) {
            State::Done(result) => result,
            _ => {
                stuck.fetch_add(1, Ordering::Relaxed);
                Err(NoAnswer::TooLong)
            }
        }
    }

    fn hand_over(&self, mut job: Job) -> Result<(), NoAnswer> {
        let idle = locked(&self.0).pop();
        if let Some(thread) = idle {
            match thread.try_send(Work {
                job,
                thread: thread.clone(),
            }) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(work) | TrySendError::Disconnected(work)) => job = work.job,
            }
        }
        let (thread, work) = sync_channel(1);
        // The channel is empty and has room for one.
        let _ = thread.try_send(Work {
            job,
            thread: thread.clone(),
        });
        let idle = Arc::downgrade(&self.0);
        let spawned = std::thread::Builder::new()
            .name("udf".to_owned())
            .spawn(move || serve(&work, &idle));
        spawned
            .map(drop)
            .map_err(|error| NoAnswer::NoThread(error.to_string()))
    }
}

/// Runs jobs; between them the thread stands among the idle ones, and ends when those are gone or many.
fn serve(work: &Receiver<Work>, idle: &Weak<Mutex<Vec<SyncSender<Work>>>>) {
    while let Ok(Work { job, thread }) = work.recv() {
        if job() == After::End {
            return;
        }
        let Some(idle) = idle.upgrade() else { return };
        let mut idle = locked(&idle);
        if idle.len() >= CALL_THREADS_IDLE_MAX {
            return;
        }
        idle.push(thread);
    }
}

/// Waits, and lets the other tasks of this thread go on where there are such.
fn waiting<R>(wait: impl FnOnce() -> R) -> R {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
        _ => wait(),
    }
}

fn text_of(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no text").to_owned()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_does_not_return_is_given_up_and_counted_until_it_does() {
        let (threads, stuck) = (CallThreads::default(), Arc::new(AtomicU64::new(0)));
        let (limit, long) = (Duration::from_millis(20), Duration::from_secs(60));
        let (release, released) = sync_channel::<()>(0);
        let gave = threads.call(limit, &stuck, move || released.recv().is_ok());
        assert_eq!(gave, Err(NoAnswer::TooLong));
        assert_eq!(stuck.load(Ordering::Relaxed), 1);
        assert_eq!(threads.call(long, &stuck, || 7), Ok(7), "others go on");
        release.send(()).expect("the call waits for it");
        while stuck.load(Ordering::Relaxed) > 0 {
            std::thread::yield_now();
        }
        let panicked = threads.call(long, &stuck, || -> u8 { panic!("oh {}", 1) });
        assert_eq!(panicked, Err(NoAnswer::Panicked("oh 1".to_owned())));
        assert_eq!(threads.call(long, &stuck, || 8), Ok(8));
    }

    #[test]
    fn threads_are_used_again() {
        let (threads, stuck) = (CallThreads::default(), Arc::new(AtomicU64::new(0)));
        let mut names = std::collections::HashSet::new();
        for _ in 0..200 {
            let id = threads.call(Duration::from_secs(60), &stuck, || std::thread::current().id());
            names.insert(id.expect("it returns"));
        }
        assert!(names.len() <= CALL_THREADS_IDLE_MAX, "threads={}", names.len());
    }
}
