//! Work that may take its time: threads of their own, which the system runs behind those on which rows come in.

use thread_priority::{ThreadPriority, ThreadPriorityValue};
use tokio::sync::oneshot;

/// How long work may wait for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Rows are held in memory until it is done.
    Flush,
    /// Files are only made better.
    Rewrite,
}

impl Urgency {
    /// Of 0 to 99, where 50 is what threads have; on Linux a niceness of about 5 and of 19.
    fn priority(self) -> u8 {
        match self {
            Self::Flush => 37,
            Self::Rewrite => 0,
        }
    }
}

/// The work did not come to its end.
#[derive(Debug, thiserror::Error)]
#[error("its thread ended early or could not be started")]
pub(crate) struct Broken;

/// Runs a function on a thread of its own.
pub(crate) async fn run<T: Send + 'static>(
    urgency: Urgency,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Broken> {
    let (done, result) = oneshot::channel();
    let run = move || {
        lower_priority(urgency);
        // Whoever waited may have gone.
        let _ = done.send(work());
    };
    let thread = std::thread::Builder::new().name("warehouse".to_owned());
    thread.spawn(run).map_err(|_| Broken)?;
    result.await.map_err(|_| Broken)
}

/// Without it the work is done all the same.
fn lower_priority(urgency: Urgency) {
    if let Ok(priority) = ThreadPriorityValue::try_from(urgency.priority()) {
        let _ = thread_priority::set_current_thread_priority(ThreadPriority::Crossplatform(priority));
    }
}
