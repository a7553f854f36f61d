//! Work that may take its time: threads of their own, which the system runs behind those on which rows come in.

use thread_priority::{ThreadPriority, ThreadPriorityValue, set_current_thread_priority};
use tokio::sync::oneshot;

use crate::{Error, ErrorKind};

/// How long work may wait for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Until no other thread wants the processor.
    Idle,
    /// As long as there is other work, but a little is done all the same.
    Low,
    /// Not for long: somebody will soon wait for it.
    Soon,
}

/// The work did not come to its end.
#[derive(Debug, thiserror::Error)]
#[error("its thread ended early or could not be started")]
pub(crate) struct Broken;

impl From<Broken> for Error {
    fn from(broken: Broken) -> Self {
        Self::new(ErrorKind::Retry, format_args!("work on rows broke off: {broken}")).with_source(broken)
    }
}

/// Runs a function on a thread of its own, with a name. It must begin no threads, and no work of the runtime that does:
/// those would inherit its priority.
pub(crate) async fn run<T: Send + 'static>(
    name: &str,
    urgency: Urgency,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Broken> {
    let (done, result) = oneshot::channel();
    let run = move || {
        lower_priority(urgency);
        // Whoever waited may have gone.
        let _ = done.send(work());
    };
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(run).map_err(|_| Broken)?;
    result.await.map_err(|_| Broken)
}

/// Without it the work is done all the same.
fn lower_priority(urgency: Urgency) {
    // Of 0 to 99, where 50 is what threads have: on Linux a niceness of about 19 and 5.
    let priority: u8 = match urgency {
        Urgency::Idle if idle() => return,
        Urgency::Idle | Urgency::Low => 0,
        Urgency::Soon => 37,
    };
    if let Ok(priority) = ThreadPriorityValue::try_from(priority) {
        let _ = set_current_thread_priority(ThreadPriority::Crossplatform(priority));
    }
}

/// Leaves the processor to every other thread as soon as that wants it (`SCHED_IDLE`), which niceness alone does not.
/// A thread without privileges cannot come back from it, and the threads that it begins inherit it.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn idle() -> bool {
    use thread_priority::unix::{
        NormalThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
    };
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy).is_ok()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn idle() -> bool {
    false
}
