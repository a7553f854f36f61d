//! Waiting to be told to end.

use tokio::signal::unix::{SignalKind, signal};

/// Ends at the first SIGINT (Ctrl-C) or SIGTERM. To be called in a tokio runtime.
///
/// # Errors
/// What keeps the process from hearing signals.
pub async fn told_to_end() -> std::io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}
