//! Which query a Postgres connection runs, and requests from elsewhere to cancel it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion_postgres::pgwire::api::ClientInfo;
use datafusion_postgres::pgwire::api::cancel::CancelHandler;
use datafusion_postgres::pgwire::messages::cancel::CancelRequest;
use datafusion_postgres::pgwire::messages::startup::SecretKey;

use crate::RunningQuery;

/// What a connection has been given to be cancelled by.
type Key = (i32, Bytes);

/// The connections that were let in.
#[derive(Default)]
pub(crate) struct Connections {
    by_key: Mutex<HashMap<Key, Weak<Connection>>>,
}

/// What is known of one connection, from when it was let in to its end.
pub(crate) struct Connection {
    key: Key,
    connections: Arc<Connections>,
    own: Mutex<Own>,
}

#[derive(Default)]
struct Own {
    running: Weak<RunningQuery>,
    timeout: Option<Duration>,
}

impl Connections {
    pub(crate) fn add(self: &Arc<Self>, pid: i32, secret: &SecretKey) -> Arc<Connection> {
        let key = (pid, secret.to_bytes());
        let connection = Arc::new(Connection {
            key: key.clone(),
            connections: self.clone(),
            own: Mutex::default(),
        });
        let mut by_key = self
            .by_key
            .lock()
            .expect("nothing panics while it holds the lock");
        by_key.insert(key, Arc::downgrade(&connection));
        connection
    }
}

impl Connection {
    /// The connection of a client that was let in.
    pub(crate) fn of(client: &(impl ClientInfo + ?Sized)) -> Option<Arc<Self>> {
        let held = client.session_extensions().get::<Arc<Self>>()?;
        Some(Arc::clone(&held))
    }

    /// The query that runs now.
    pub(crate) fn runs(&self, query: &Arc<RunningQuery>) {
        self.own().running = Arc::downgrade(query);
    }

    /// `SET statement_timeout`; `None`: the server's.
    pub(crate) fn set_timeout(&self, timeout: Option<Duration>) {
        self.own().timeout = timeout;
    }

    /// What `statement_timeout` was set to.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.own().timeout
    }

    fn own(&self) -> std::sync::MutexGuard<'_, Own> {
        self.own.lock().expect("nothing panics while it holds the lock")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut by_key = self
            .connections
            .by_key
            .lock()
            .expect("nothing panics while it holds the lock");
        // Another connection may have been given the same key, however unlikely that is.
        if by_key.get(&self.key).is_some_and(|held| held.strong_count() == 0) {
            by_key.remove(&self.key);
        }
    }
}

#[async_trait]
impl CancelHandler for Connections {
    async fn on_cancel_request(&self, request: CancelRequest) {
        let key = (request.pid, request.secret_key.to_bytes());
        let connection = {
            let by_key = self
                .by_key
                .lock()
                .expect("nothing panics while it holds the lock");
            by_key.get(&key).and_then(Weak::upgrade)
        };
        let running = connection.and_then(|connection| connection.own().running.upgrade());
        if let Some(query) = running {
            query.cancel();
        }
    }
}
