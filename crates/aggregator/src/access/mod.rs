//! Who may come in: tokens from a file, scopes, and where a request carries its token.
//!
//! A token is random text of 196 bits that a request carries as `Authorization: Bearer <token>`, or in
//! `Authorization: Basic` as the password, or as the user when the password is empty (as Segment's libraries send
//! their write key). The file has its SHA-256 alone: whoever reads the file cannot come in with it. Passwords are
//! hashed slowly because they can be guessed; nobody guesses 196 random bits, so a fast hash is right here, and a
//! slow one would only make each request slow.
//!
//! ```toml
//! [[tokens]]
//! name = "ci"
//! sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
//! scopes = ["send:clicks", "send:web_*", "query"]
//! expires = "2027-01-31T00:00:00Z"
//! ```
//!
//! | scope | allows |
//! |---|---|
//! | `send:clicks`, `send:web_*`, `send:*` | sending events to the datasets that fit |
//! | `query` | reading: SQL, datasets' streams, stores, jobs, metrics |
//! | `store:words`, `store:*` | writing the stores that fit: a job whose sums the server keeps |
//! | `admin` | everything |
//!
//! Not here: users and groups, tokens of another party (OIDC, JWT), what a client's certificate says of who it is.

mod binding;
mod credentials;
mod put;
mod scope;
mod token;
mod tokens;
mod web;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, StatusCode};
use futures::{FutureExt, Stream, StreamExt};
use jiff::Timestamp;
use tonic::Status;
use tonic::metadata::MetadataMap;

pub use binding::Binding;
pub use scope::Scope;
pub use token::Token;
pub use web::{require, scope_of};

use crate::limits::ACCESS_LOOK_EVERY;
use crate::reloaded::Reloaded;
use crate::{Clock, Result};
use tokens::{Hash, Tokens};

/// Decides who may come in. Clones share everything.
#[derive(Clone)]
pub struct Access {
    /// `None`: nobody is asked.
    shared: Option<Arc<Shared>>,
}

struct Shared {
    tokens: Reloaded<Tokens>,
    clock: Clock,
    unknown: AtomicU64,
    beyond_scope: AtomicU64,
}

/// Who was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The name of the token; `anyone` where nobody is asked.
    pub name: Arc<str>,
    hash: Option<Hash>,
}

/// Why somebody was not let in. The text never holds what was given as token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// The request has no token.
    #[error("no token, send the header authorization: Bearer <token>")]
    Missing,
    /// The token is not in the file, or not any more.
    #[error("token is not known, ask who runs this server for one")]
    Unknown,
    /// Its time is over.
    #[error("token has expired, ask who runs this server for a new one token={name}")]
    Expired {
        /// The token's name.
        name: Arc<str>,
    },
    /// It is not for this.
    #[error("token is not for this, it needs a scope token={name} scope={needed}")]
    Scope {
        /// The token's name.
        name: Arc<str>,
        /// The scope it would need.
        needed: Scope,
    },
}

/// How often nobody was let in, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeniedCounts {
    /// Without a token that is known and has not expired.
    pub unknown: u64,
    /// With one that is not for what was asked.
    pub beyond_scope: u64,
}

impl Access {
    /// Lets everybody do everything: for doors that only this machine reaches.
    pub fn open() -> Self {
        Self { shared: None }
    }

    /// Tokens from a file. It is looked at once a second at most, when somebody asks; while what has changed
    /// cannot be used, the tokens before stay, and the log says why.
    ///
    /// # Errors
    /// `Invalid`: names the file, and the line or the token that is wrong.
    pub fn from_file(path: impl Into<PathBuf>) -> Result<Self> {
        Self::from_file_with(path, Arc::new(Timestamp::now))
    }

    /// As [`Access::from_file`], with the clock by which tokens expire.
    ///
    /// # Errors
    /// As [`Access::from_file`].
    pub fn from_file_with(path: impl Into<PathBuf>, clock: Clock) -> Result<Self> {
        let path = path.into();
        let tokens = Reloaded::new("file of tokens", vec![path.clone()], move || Tokens::read(&path))?;
        let shared = Shared {
            tokens,
            clock,
            unknown: AtomicU64::new(0),
            beyond_scope: AtomicU64::new(0),
        };
        Ok(Self {
            shared: Some(Arc::new(shared)),
        })
    }

    /// Whether a token lets its bearer do something. The time it takes does not depend on how much of a token is
    /// right; it grows with the number of tokens (1,000 at most).
    ///
    /// # Errors
    /// [`Denied`].
    pub fn check(&self, token: Option<&str>, scope: &Scope) -> Result<Who, Denied> {
        self.let_in(token, Some(scope))
    }

    /// Without a scope, anybody with a token that is known and has not expired.
    fn let_in(&self, token: Option<&str>, scope: Option<&Scope>) -> Result<Who, Denied> {
        let Some(shared) = &self.shared else {
            return Ok(Who {
                name: "anyone".into(),
                hash: None,
            });
        };
        let checked = match token.map(Hash::of) {
            None => Err(Denied::Missing),
            Some(hash) => shared.check(hash, scope),
        };
        checked.inspect_err(|denied| shared.count(denied))
    }

    /// As [`Access::check`], for an HTTP request.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn check_headers(&self, headers: &HeaderMap, scope: &Scope) -> Result<Who, Denied> {
        let given = headers.get("authorization").and_then(|value| value.to_str().ok());
        self.check(given.and_then(credentials::token_of).as_deref(), scope)
    }

    /// As [`Access::check`], for a gRPC call: `UNAUTHENTICATED` or `PERMISSION_DENIED`.
    ///
    /// # Errors
    /// [`Denied`], as a status.
    pub fn check_metadata(&self, metadata: &MetadataMap, scope: &Scope) -> Result<Who, Status> {
        let given = metadata
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        Ok(self.check(given.and_then(credentials::token_of).as_deref(), scope)?)
    }

    /// A stream that ends as `UNAUTHENTICATED` or `PERMISSION_DENIED` when whoever was let in is not any more: the
    /// token has expired, was taken out of the file, or has lost the scope. It is looked every
    /// [`crate::limits::ACCESS_LOOK_EVERY`].
    pub fn while_allowed<T, S>(
        &self,
        who: Who,
        scope: Scope,
        stream: S,
    ) -> impl Stream<Item = Result<T, Status>> + Send + use<T, S>
    where
        S: Stream<Item = Result<T, Status>> + Send + 'static,
        T: Send + 'static,
    {
        let access = self.clone();
        let over = async move { access.over(&who, &scope).await };
        futures::stream::unfold(Some((over.boxed(), stream.boxed())), |open| async move {
            let (mut over, mut stream) = open?;
            tokio::select! {
                biased;
                denied = &mut over => Some((Err(denied.into()), None)),
                item = stream.next() => item.map(|item| (item, Some((over, stream)))),
            }
        })
    }

    /// Returns when the bearer is not let in any more.
    async fn over(&self, who: &Who, scope: &Scope) -> Denied {
        let (Some(shared), Some(hash)) = (&self.shared, who.hash) else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(ACCESS_LOOK_EVERY).await;
            if let Err(denied) = shared.check(hash, Some(scope)) {
                return denied;
            }
        }
    }

    /// Whether nobody is asked.
    pub fn is_open(&self) -> bool {
        self.shared.is_none()
    }

    /// Reads the file now.
    ///
    /// # Errors
    /// As [`Access::from_file`]; the tokens before stay.
    pub fn reload(&self) -> Result<()> {
        self.shared
            .as_ref()
            .map_or(Ok(()), |shared| shared.tokens.reload())
    }

    /// How often nobody was let in.
    pub fn denied(&self) -> DeniedCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = self.shared.as_ref().map(|shared| DeniedCounts {
            unknown: of(&shared.unknown),
            beyond_scope: of(&shared.beyond_scope),
        });
        counts.unwrap_or_default()
    }
}

impl Shared {
    fn check(&self, hash: Hash, scope: Option<&Scope>) -> Result<Who, Denied> {
        let tokens = self.tokens.get();
        let known = tokens.find(&hash).ok_or(Denied::Unknown)?;
        let name = Arc::clone(&known.name);
        if known.expires.is_some_and(|expires| expires <= (self.clock)()) {
            return Err(Denied::Expired { name });
        }
        let allows = |scope: &&Scope| known.scopes.iter().any(|granted| granted.allows(scope));
        if let Some(needed) = scope.filter(|scope| !allows(scope)).cloned() {
            return Err(Denied::Scope { name, needed });
        }
        Ok(Who {
            name,
            hash: Some(hash),
        })
    }

    fn count(&self, denied: &Denied) {
        let counter = match denied {
            Denied::Scope { .. } => &self.beyond_scope,
            _ => &self.unknown,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asks = if self.is_open() { "nobody" } else { "tokens" };
        f.debug_struct("Access")
            .field("asks", &asks)
            .finish_non_exhaustive()
    }
}

impl Denied {
    /// 401 or 403.
    pub fn http_status(&self) -> StatusCode {
        match self {
            Self::Scope { .. } => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        }
    }
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Scope { .. } => Self::permission_denied(denied.to_string()),
            _ => Self::unauthenticated(denied.to_string()),
        }
    }
}
