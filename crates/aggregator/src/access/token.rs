//! Making a token.

use std::fmt;

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
