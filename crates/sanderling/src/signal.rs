//! Waiting to be told what to do next.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a process was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// To end: SIGINT (Ctrl-C) or SIGTERM.
    End,
    /// To read its settings again: SIGHUP.
    Reload,
}

/// The signals of this process from when it was made. To be made in a tokio runtime.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Listens.
    ///
    /// # Errors
    /// What keeps the process from hearing signals.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next.
    pub async fn told(&mut self) -> Told {
        tokio::select! {
            _ = self.interrupt.recv() => Told::End,
            _ = self.terminate.recv() => Told::End,
            _ = self.hang_up.recv() => Told::Reload,
        }
    }
}

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
