//! Time, given by argument: nothing in this crate reads a clock or sleeps by itself.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

/// What tells the time and waits. Its times are since some start, and never go back.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The time since the clock's start.
    fn now(&self) -> Duration;

    /// Returns once so much time has passed.
    async fn sleep(&self, time: Duration);
}

#[async_trait]
impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Duration {
        (**self).now()
    }

    async fn sleep(&self, time: Duration) {
        (**self).sleep(time).await;
    }
}

/// The runtime's clock, from when it was made.
pub struct TokioClock(tokio::time::Instant);

impl Default for TokioClock {
    fn default() -> Self {
        Self(tokio::time::Instant::now())
    }
}

#[async_trait]
impl Clock for TokioClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// A clock that stands until it is moved; a sleep moves it and returns. For tests and simulations. Clones are
/// handles of the same clock.
#[derive(Clone, Default)]
pub struct ManualClock(Arc<Mutex<Duration>>);

impl ManualClock {
    /// Moves the time on.
    pub fn advance(&self, time: Duration) {
        let mut now = self.0.lock().expect("nothing panics while it holds the lock");
        *now = now.saturating_add(time);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Duration {
        *self.0.lock().expect("nothing panics while it holds the lock")
    }

    async fn sleep(&self, time: Duration) {
        self.advance(time);
    }
}
