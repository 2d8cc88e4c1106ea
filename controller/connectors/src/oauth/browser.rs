//! The browser of a login. Somebody sees in it which organization wants what, and goes on from there; only the same browser ends
//! the login. So nobody gives away an account by opening an address that somebody else has sent.
//!
//! The browser has a random word in a cookie. The state that an authorization server sees is bound to that word, which it is not told,
//! and neither is whoever has begun the login.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cofferdam_core::random;
use sha2::{Digest, Sha256};

use crate::error::ConnectorError;

/// The characters of a word: 32 bytes in base64.
const WORD_LENGTH: usize = 43;

/// The word of a browser.
#[derive(Clone, PartialEq, Eq)]
pub struct Browser(String);

impl Browser {
    /// A browser that was not here before.
    ///
    /// # Errors
    /// The operating system returned no random bytes.
    pub fn new() -> Result<Self, ConnectorError> {
        Ok(Self(BASE64_URL_SAFE_NO_PAD.encode(random::<32>()?)))
    }

    /// The word that a cookie brings back.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (text.len() == WORD_LENGTH && text.bytes().all(plain)).then(|| Self(text.to_owned()))
    }

    /// The word for the cookie.
    pub fn word(&self) -> &str {
        &self.0
    }

    /// The proof that this browser was shown the login: only a page that it has loaded knows it.
    pub(crate) fn shown(&self, ticket: &str) -> String {
        self.bound("shown", ticket)
    }

    /// The state of a login that goes on in this browser.
    pub(crate) fn state(&self, ticket: &str) -> String {
        format!("{ticket}.{}", self.bound("state", ticket))
    }

    /// The login that a state is of, if it was this browser's.
    pub(crate) fn ticket<'a>(&self, state: &'a str) -> Option<&'a str> {
        let (ticket, bound) = state.split_once('.')?;
        (bound == self.bound("state", ticket)).then_some(ticket)
    }

    fn bound(&self, kind: &str, ticket: &str) -> String {
        let text = format!("connector-login\0{kind}\0{}\0{ticket}", self.0);
        BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_of_one_browser() {
        let (own, other) = (Browser::new().unwrap(), Browser::new().unwrap());
        let state = own.state("t");
        assert_eq!((own.ticket(&state), other.ticket(&state)), (Some("t"), None));
        assert!(own.ticket("t").is_none() && own.ticket(&format!("t.{}", own.shown("t"))).is_none());
        assert_eq!(Browser::parse(own.word()).map(|found| found == own), Some(true));
        for odd in ["", "x", &"x".repeat(44), &"ä".repeat(21), &" ".repeat(43)] {
            assert!(Browser::parse(odd).is_none(), "{odd}");
        }
    }
}
