//! Why a component did not become a function.

use std::fmt;

/// What can be done about a [`LoadError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadErrorKind {
    /// The file cannot be read, or this machine cannot run WebAssembly.
    Unavailable,
    /// It is no component, or none that can be a step: build it anew.
    Invalid,
    /// The component refused its settings, or was beyond a limit while it started: change settings or limits.
    Refused,
}

/// A component could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LoadError {
    kind: LoadErrorKind,
    message: String,
}

impl LoadError {
    pub(crate) fn new(kind: LoadErrorKind, message: impl fmt::Display) -> Self {
        let message = message.to_string();
        Self { kind, message }
    }

    pub(crate) fn invalid(message: impl fmt::Display) -> Self {
        Self::new(LoadErrorKind::Invalid, message)
    }

    /// What can be done about it.
    pub fn kind(&self) -> LoadErrorKind {
        self.kind
    }
}
