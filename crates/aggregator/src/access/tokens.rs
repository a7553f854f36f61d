//! The file of tokens.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::scope::Granted;
use crate::limits::{TOKENS_BYTES_MAX, TOKENS_MAX};
use crate::reloaded::read;
use crate::{Error, Result};

/// SHA-256 of a token's text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Hash([u8; 32]);

/// Those that are known.
pub(super) struct Tokens(Vec<Known>);

pub(super) struct Known {
    pub(super) name: Arc<str>,
    hash: Hash,
    pub(super) scopes: Vec<Granted>,
    pub(super) expires: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    tokens: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    sha256: String,
    scopes: Vec<String>,
    #[serde(default)]
    expires: Option<Expires>,
}

/// TOML has dates of its own.
#[derive(Deserialize)]
#[serde(untagged)]
enum Expires {
    Text(String),
    Date(toml::value::Datetime),
}

impl Hash {
    pub(super) fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    fn parse(hex: &str) -> Option<Self> {
        let mut hash = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        for (at, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(at * 2..at * 2 + 2)?, 16).ok()?;
        }
        Some(Self(hash))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash(…)")
    }
}

impl Tokens {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let bytes = read(path, TOKENS_BYTES_MAX)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| Error::invalid("not text in UTF-8"));
        text.and_then(Self::parse)
            .map_err(|error| Error::invalid(format_args!("{error} file={}", path.display())))
    }

    fn parse(text: &str) -> Result<Self> {
        let file: File = toml::from_str(text).map_err(|error| {
            let before = error
                .span()
                .and_then(|span| text.get(..span.start))
                .unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            Error::invalid(format_args!("{} line={line}", error.message()))
        })?;
        if file.tokens.len() > TOKENS_MAX {
            return Err(Error::invalid(format_args!(
                "too many tokens tokens={} tokens_max={TOKENS_MAX}",
                file.tokens.len()
            )));
        }
        let mut tokens: Vec<Known> = Vec::with_capacity(file.tokens.len());
        for entry in file.tokens {
            let name = entry.name.clone();
            let known =
                Known::of(entry).map_err(|error| Error::invalid(format_args!("{error} token={name:?}")))?;
            if let Some(other) = tokens
                .iter()
                .find(|other| other.name == known.name || other.hash == known.hash)
            {
                return Err(Error::invalid(format_args!(
                    "two tokens have one name or one sha256 token={name:?} other={:?}",
                    other.name
                )));
            }
            tokens.push(known);
        }
        Ok(Self(tokens))
    }

    /// Looks at all of them, whichever it is.
    pub(super) fn find(&self, hash: &Hash) -> Option<&Known> {
        let mut found = u32::MAX;
        for (at, known) in (0u32..).zip(&self.0) {
            let is_it: Choice = known.hash.0.ct_eq(&hash.0);
            found.conditional_assign(&at, is_it);
        }
        self.0.get(found as usize)
    }
}

impl Known {
    fn of(entry: Entry) -> Result<Self> {
        if entry.name.is_empty() {
            return Err(Error::invalid("a token has no name"));
        }
        let hash = Hash::parse(&entry.sha256).ok_or_else(|| {
            Error::invalid("sha256 is not 64 hexadecimal digits, write the hash and not the token")
        })?;
        if entry.scopes.is_empty() {
            return Err(Error::invalid(
                "a token without scopes may do nothing, give it one",
            ));
        }
        let scopes = entry.scopes.iter().map(|scope| Granted::parse(scope));
        Ok(Self {
            name: entry.name.as_str().into(),
            hash,
            scopes: scopes.collect::<Result<_>>()?,
            expires: entry.expires.map(Expires::time).transpose()?,
        })
    }
}

impl Expires {
    /// A day alone is its beginning in UTC.
    fn time(self) -> Result<Timestamp> {
        let text = match self {
            Self::Text(text) => text,
            Self::Date(date) => date.to_string(),
        };
        let day = || {
            let day = text.parse::<Date>().ok().filter(|_| text.len() == 10)?;
            day.to_zoned(TimeZone::UTC).ok().map(|day| day.timestamp())
        };
        text.parse::<Timestamp>().ok().or_else(day).ok_or_else(|| {
            Error::invalid(format_args!(
                "not a time, write 2027-01-31 or 2027-01-31T12:00:00Z expires={text:?}"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_token_is_found_by_its_hash() {
        let text = format!(
            "[[tokens]]\nname = \"a\"\nsha256 = \"{}\"\nscopes = [\"query\"]\n\
             [[tokens]]\nname = \"b\"\nsha256 = \"{ABC}\"\nscopes = [\"query\"]\nexpires = 2027-01-31",
            "0".repeat(64)
        );
        let tokens = Tokens::parse(&text).unwrap();
        let found = tokens.find(&Hash::of("abc")).unwrap();
        assert_eq!((&*found.name, Hash::of("abc").to_string().as_str()), ("b", ABC));
        assert_eq!(found.expires.unwrap().to_string(), "2027-01-31T00:00:00Z");
        assert!(tokens.find(&Hash::of("abd")).is_none());
        assert!(Tokens::parse("").unwrap().find(&Hash::of("abc")).is_none());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let of = |more: &str| format!("[[tokens]]\nname = \"ci\"\n{more}");
        let hash = format!("sha256 = \"{ABC}\"\n");
        for (text, expected) in [
            (of("scope = []"), "unknown field `scope`"),
            (of("scope = []"), "line=3"),
            (
                of("sha256 = \"sdl_secret\"\nscopes = [\"query\"]"),
                "token=\"ci\"",
            ),
            (of(&format!("{hash}scopes = [\"write\"]")), "scope=\"write\""),
            (of(&format!("{hash}scopes = []")), "without scopes"),
            (
                of(&format!("{hash}scopes = [\"query\"]\nexpires = \"soon\"")),
                "expires=\"soon\"",
            ),
            (
                of(&format!(
                    "{hash}scopes = [\"query\"]\nexpires = 2027-01-31T12:00:00"
                )),
                "not a time",
            ),
            (
                of(&format!("{hash}scopes = [\"query\"]"))
                    .repeat(2)
                    .replace("[\"query\"][[", "[\"query\"]\n[["),
                "two tokens",
            ),
        ] {
            let Err(error) = Tokens::parse(&text) else {
                panic!("taken: {text}");
            };
            let error = error.to_string();
            assert!(error.contains(expected), "{expected}: {error}");
            assert!(!error.contains("sdl_secret"), "{error}");
        }
    }
}
