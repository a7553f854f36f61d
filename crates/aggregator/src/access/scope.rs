//! What somebody may do.

use std::fmt;

use event::DatasetName;

use crate::{Error, Result};

/// What a request needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// To send events to a dataset.
    Send(DatasetName),
    /// To read.
    Query,
    /// To write a store.
    Store(String),
    /// To do what only those may who run the server.
    Admin,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(dataset) => write!(f, "send:{dataset}"),
            Self::Query => f.write_str("query"),
            Self::Store(name) => write!(f, "store:{name}"),
            Self::Admin => f.write_str("admin"),
        }
    }
}

/// What a token grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Granted {
    Send(Pattern),
    Query,
    Store(Pattern),
    Admin,
}

/// A name, or what names begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    Name(String),
    Prefix(String),
}

impl Granted {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let bad = |what: &str| {
            Error::invalid(format_args!(
                "{what}, use send:<dataset>, query, store:<name> or admin, with * at the end of a name for all that begin so scope={text:?}"
            ))
        };
        let pattern = |text: &str| match text.strip_suffix('*') {
            Some(prefix) if prefix.contains('*') => Err(bad("a scope has * only at its end")),
            Some(prefix) => Ok(Pattern::Prefix(prefix.to_owned())),
            None if text.contains('*') => Err(bad("a scope has * only at its end")),
            None if text.is_empty() => Err(bad("a scope has no name")),
            None => Ok(Pattern::Name(text.to_owned())),
        };
        match text.split_once(':') {
            None if text == "query" => Ok(Self::Query),
            None if text == "admin" => Ok(Self::Admin),
            Some(("send", name)) => {
                let pattern = pattern(name)?;
                if let Pattern::Name(name) = &pattern {
                    name.parse::<DatasetName>()?;
                }
                Ok(Self::Send(pattern))
            }
            Some(("store", name)) => pattern(name).map(Self::Store),
            _ => Err(bad("no such scope")),
        }
    }

    pub(super) fn allows(&self, scope: &Scope) -> bool {
        match (self, scope) {
            (Self::Admin, _) | (Self::Query, Scope::Query) => true,
            (Self::Send(pattern), Scope::Send(dataset)) => pattern.fits(dataset.as_str()),
            (Self::Store(pattern), Scope::Store(name)) => pattern.fits(name),
            _ => false,
        }
    }
}

impl Pattern {
    fn fits(&self, name: &str) -> bool {
        match self {
            Self::Name(known) => known == name,
            Self::Prefix(prefix) => name.starts_with(prefix.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_allows_what_it_says_and_nothing_else() {
        let send = |dataset: &str| Scope::Send(dataset.parse().unwrap());
        let store = |name: &str| Scope::Store(name.to_owned());
        let asked = [
            send("clicks"),
            send("web_a"),
            send("web"),
            Scope::Query,
            store("words"),
            Scope::Admin,
        ];
        for (granted, allowed) in [
            ("send:clicks", "yes no no no no no"),
            ("send:web_*", "no yes no no no no"),
            ("send:*", "yes yes yes no no no"),
            ("query", "no no no yes no no"),
            ("store:wor*", "no no no no yes no"),
            ("admin", "yes yes yes yes yes yes"),
        ] {
            let scope = Granted::parse(granted).unwrap();
            let answers = asked
                .iter()
                .map(|asked| if scope.allows(asked) { "yes" } else { "no" });
            assert_eq!(answers.collect::<Vec<_>>().join(" "), allowed, "{granted}");
        }
    }

    #[test]
    fn what_is_no_scope_is_refused_with_its_text() {
        for bad in [
            "", "send", "send:", "send:*a", "send:a**", "send:a b", "read", "query:a", "store:",
        ] {
            let error = Granted::parse(bad).unwrap_err().to_string();
            assert!(
                error.contains("scope=") || error.contains("dataset"),
                "{bad}: {error}"
            );
        }
    }
}
