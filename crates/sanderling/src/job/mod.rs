//! A job as a program: one generic function and a few lines are a command line that runs it in memory, live, over
//! history in batches, or as batch and live in one; over files or a running server's datasets; into memory, a folder
//! or the server's stores.
//!
//! ```no_run
//! use sanderling::prelude::*;
//!
//! #[derive(Clone, serde::Deserialize)]
//! struct Tweet { text: String, created_at: jiff::Timestamp }
//!
//! fn word_count<P: Platform>(tweets: Producer<P, Tweet>, counts: P::Store<String, u64>) -> impl Tail<P> {
//!     tweets
//!         .flat_map(|tweet| tweet.text.split_whitespace().map(|word| (word.to_owned(), 1)).collect::<Vec<_>>())
//!         .sum_by_key(counts)
//! }
//!
//! sanderling::job! {
//!     /// Counts the words of tweets.
//!     word_count {
//!         source tweets: Tweet, time = |tweet| tweet.created_at;
//!         store counts: String => u64;
//!     }
//! }
//! ```
//!
//! The program says what it can do with `--help`. Its exit code is 0 when it did what it was asked, also when it was told
//! to end (SIGINT, SIGTERM) and its epoch was done; 1 for an error; 78 for arguments that cannot be.
//!
//! The function's arguments are its sources and then its stores, in the order of the lines. A job with flags of its
//! own is written as a [`Program`] by hand.
//!
//! Not here: counters of the batch side; services and sinks (such a job is a program of its own, with [`flow::Local`]); backfills while the live
//! side goes on; sources that follow a growing file.

mod answers;
mod arguments;
mod cut;
mod declared;
mod error;
mod hybrid;
mod local;
mod look;
mod memory;
mod place;
mod plan;
mod print;
mod progress;
mod run;
mod session;
mod sources;
mod stores;
mod watched;

use std::process::ExitCode;

use ::files::EventTime;
pub use flow::Result;
use flow::{Element, Key, Platform, Producer, Tail, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A job with its sources and stores by name; [`job!`](crate::job!) writes one.
pub trait Program: 'static {
    /// The job's name.
    const NAME: &'static str;
    /// What it does, for `--help`.
    const ABOUT: &'static str;
    /// Flags of its own, beside those that all jobs have.
    type Flags: clap::Args + Send + Sync + 'static;

    /// The job. Asks for each source and each store once.
    ///
    /// # Errors
    /// What the ports report.
    fn tail<P: Platform, I: Ports<P>>(
        flags: &Self::Flags,
        ports: &mut I,
    ) -> Result<impl Tail<P> + use<Self, P, I>>;
}

/// The sources and stores of a job on a platform, by name.
pub trait Ports<P: Platform> {
    /// The elements of a source. Files give a `T` for each record and `time` its event time; a server's dataset has
    /// columns with the names of `T`'s fields, and times of its own. A line of a text file is a `T` that is text, or
    /// a `T` with a field `line`.
    ///
    /// # Errors
    /// What keeps the source from being opened.
    fn source<T, R>(
        &mut self,
        name: &'static str,
        time: impl Fn(&T) -> R + Send + Sync + 'static,
    ) -> Result<Producer<P, T>>
    where
        T: Element + DeserializeOwned,
        R: EventTime;

    /// A store, whose values are printed as `show` has them.
    ///
    /// # Errors
    /// What keeps the store from being opened.
    fn store_shown<K, V, S>(
        &mut self,
        name: &'static str,
        show: impl Fn(&V) -> S + Send + Sync + 'static,
    ) -> Result<P::Store<K, V>>
    where
        K: Key + Serialize + DeserializeOwned,
        V: Value + Serialize + DeserializeOwned,
        S: Serialize;

    /// A store, whose values are printed as they are kept.
    ///
    /// # Errors
    /// As [`store_shown`](Self::store_shown).
    fn store<K, V>(&mut self, name: &'static str) -> Result<P::Store<K, V>>
    where
        K: Key + Serialize + DeserializeOwned,
        V: Value + Serialize + DeserializeOwned,
    {
        self.store_shown(name, V::clone)
    }
}

/// How values are printed, as JSON.
fn shown_as_json<V, S: Serialize>(
    show: impl Fn(&V) -> S + Send + Sync + 'static,
) -> std::sync::Arc<dyn Fn(&V) -> serde_json::Value + Send + Sync> {
    std::sync::Arc::new(move |value| match serde_json::to_value(show(value)) {
        Ok(shown) => shown,
        Err(error) => serde_json::Value::from(format!("cannot be shown: {error}")),
    })
}

/// For programs without flags of their own.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct NoFlags {}

/// Reads the process's arguments, does what they say, and gives the exit code. Errors go to standard error.
pub fn main<J: Program>() -> ExitCode {
    run::main::<J>()
}

/// What [`job!`](crate::job!) writes.
#[doc(hidden)]
pub mod written {
    pub use flow::{Platform, Result, Tail};
}

/// Writes `fn main` for a job: a function that is generic over its platform, its sources with their elements and event
/// times, and its stores with their keys and values. See [`job`](crate::job) for an example.
///
/// `time` is a function from an element to its event time: a [`flow::Timestamp`], a [`jiff::Timestamp`], or an option or
/// result of one; an element without a time is malformed. `show = |value| …` after a store says how its values are
/// printed.
#[macro_export]
macro_rules! job {
    (
        $(#[doc = $about:literal])*
        $job:ident {
            $(source $source:ident: $element:ty, time = $time:expr;)+
            $(store $store:ident: $key:ty => $value:ty $(, show = $show:expr)?;)+
        }
    ) => {
        fn main() -> ::std::process::ExitCode {
            enum Entry {}

            impl $crate::job::Program for Entry {
                const NAME: &'static str = stringify!($job);
                const ABOUT: &'static str = concat!($($about, "\n"),*);
                type Flags = $crate::job::NoFlags;

                fn tail<P: $crate::job::written::Platform, I: $crate::job::Ports<P>>(
                    _: &$crate::job::NoFlags,
                    ports: &mut I,
                ) -> $crate::job::written::Result<impl $crate::job::written::Tail<P> + use<P, I>> {
                    $(let $source = ports.source::<$element, _>(stringify!($source), $time)?;)+
                    $(let $store = $crate::job!(@store ports, $store, $key, $value $(, $show)?)?;)+
                    ::std::result::Result::Ok($job::<P>($($source,)+ $($store,)+))
                }
            }

            $crate::job::main::<Entry>()
        }
    };
    (@store $ports:ident, $store:ident, $key:ty, $value:ty) => {
        $ports.store::<$key, $value>(stringify!($store))
    };
    (@store $ports:ident, $store:ident, $key:ty, $value:ty, $show:expr) => {
        $ports.store_shown::<$key, $value, _>(stringify!($store), $show)
    };
}
