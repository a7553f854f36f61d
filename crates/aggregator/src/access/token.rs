//! Making a token.

use std::fmt;

use super::scope::Granted;
use super::tokens::Hash;
use crate::{Error, ErrorKind, Result};

const BEGIN: &str = "sdl_";
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 33 digits of base 62 hold 196 bits.
const LENGTH: usize = 33;

/// A new token: `sdl_` and 33 random letters and digits (196 bits). Its text is shown once, to whoever gets it;
/// only its hash is kept.
pub struct Token(String);

impl Token {
    /// A token by the system's randomness.
    ///
    /// # Errors
    /// `Retry` when the system has none to give.
    pub fn generate() -> Result<Self> {
        let mut text = BEGIN.to_owned();
        while text.len() < BEGIN.len() + LENGTH {
            let mut bytes = [0; 64];
            getrandom::fill(&mut bytes).map_err(|error| {
                Error::new(
                    ErrorKind::Retry,
                    format_args!("system gives no random numbers: {error}"),
                )
            })?;
            // 248 is a multiple of 62, so that each digit is as likely as any other.
            let digits = bytes.iter().filter(|byte| **byte < 248);
            let left = BEGIN.len() + LENGTH - text.len();
            text.extend(
                digits
                    .take(left)
                    .map(|byte| char::from(DIGITS[usize::from(byte % 62)])),
            );
        }
        Ok(Self(text))
    }

    /// The secret itself.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What to write into the file of tokens for it.
    ///
    /// # Errors
    /// `Invalid`: names the scope that is none.
    pub fn entry(&self, name: &str, scopes: &[String]) -> Result<String> {
        if name.trim().is_empty() {
            return Err(Error::invalid("a token has a name, for the log and for errors"));
        }
        for scope in scopes {
            Granted::parse(scope)?;
        }
        let quoted = |text: &String| toml::Value::String(text.clone()).to_string();
        let scopes: Vec<String> = scopes.iter().map(quoted).collect();
        Ok(format!(
            "[[tokens]]\nname = {}\nsha256 = \"{}\"\nscopes = [{}]\n",
            quoted(&name.to_owned()),
            self.sha256(),
            scopes.join(", ")
        ))
    }

    /// What the file keeps of it, as 64 hexadecimal digits.
    pub fn sha256(&self) -> String {
        Hash::of(&self.0).to_string()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_what_the_file_reads() {
        let token = Token::generate().unwrap();
        let scopes = ["send:web_*".to_owned(), "query".to_owned()];
        let entry = token.entry("the \"ci\"", &scopes).unwrap();
        let tokens = crate::access::tokens::Tokens::parse(&entry).unwrap();
        let found = tokens.find(&Hash::of(token.text())).unwrap();
        assert_eq!(&*found.name, "the \"ci\"");
        let wrong = token.entry("ci", &["send".to_owned()]).unwrap_err();
        assert!(wrong.to_string().contains("scope=\"send\""), "{wrong}");
        assert!(!entry.contains(token.text()));
    }

    #[test]
    fn tokens_are_long_and_differ_and_do_not_show_themselves() {
        let tokens: Vec<Token> = (0..100).map(|_| Token::generate().unwrap()).collect();
        let mut texts: Vec<&str> = tokens.iter().map(Token::text).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), 100);
        for token in &tokens {
            assert_eq!(token.text().len(), 37);
            assert!(token.text()[4..].bytes().all(|byte| byte.is_ascii_alphanumeric()));
            assert!(!format!("{token:?}").contains(token.text()));
        }
        let all: String = texts.iter().map(|text| &text[4..]).collect();
        assert!(DIGITS.iter().all(|digit| all.contains(char::from(*digit))));
    }
}
