//! Takes an upstream's keys, in every spelling, out of what its callers are shown.

use std::sync::Arc;

use cofferdam_core::Secret;
use cofferdam_redact::{Effort, Matcher, Replacement, Replacer};
use zeroize::Zeroizing;

/// Servers on one's own machine want words like `none` or `ollama` for a key. Those are no secrets, and taking them out of a
/// text would break it.
pub const MIN_KEY_BYTES: usize = 12;
/// Stands in a key's place.
const MARK: &str = "[key]";

/// The keys of one upstream, and what they become.
#[derive(Clone)]
pub struct Scrub {
    matcher: Arc<Matcher>,
    with: Arc<Vec<Replacement>>,
}

impl Scrub {
    /// Looks for these texts; short ones are left out. `None`: there is nothing to look for.
    ///
    /// # Errors
    /// More or longer texts than can be looked for.
    pub(crate) fn new(texts: &[Secret]) -> Result<Option<Self>, String> {
        let long: Vec<&[u8]> =
            texts.iter().map(|text| text.expose().as_bytes()).filter(|text| text.len() >= MIN_KEY_BYTES).collect();
        if long.is_empty() {
            return Ok(None);
        }
        let with = long.iter().map(|_| Ok(Zeroizing::new(MARK.as_bytes().to_vec()))).collect();
        let matcher = Matcher::new(long).map_err(|why| why.to_string())?;
        Ok(Some(Self { matcher: Arc::new(matcher), with: Arc::new(with) }))
    }

    /// Takes the keys out of a stream.
    pub fn replacer(&self) -> Replacer {
        Replacer::new(Arc::clone(&self.matcher), Arc::clone(&self.with), usize::MAX)
    }

    /// True when the bytes hold a key, or resemble one too much to tell.
    pub fn holds_key(&self, bytes: &[u8]) -> bool {
        !matches!(self.matcher.replace_all(&self.with, bytes, &mut Effort::new(bytes.len())), Ok(None))
    }

    /// The text without keys; empty if it cannot be searched.
    pub fn text(&self, text: &str) -> String {
        match self.matcher.replace_all(&self.with, text.as_bytes(), &mut Effort::new(text.len())) {
            Ok(None) => text.to_owned(),
            Ok(Some(changed)) => String::from_utf8_lossy(&changed).into_owned(),
            Err(_) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_key_is_not_taken_out() {
        assert!(Scrub::new(&[Secret::new("ollama")]).unwrap().is_none());
        let scrub = Scrub::new(&[Secret::new("ollama"), Secret::new("sk-0123456789abc")]).unwrap().unwrap();
        assert_eq!(scrub.text("ollama sk-0123456789abc"), "ollama [key]");
        assert!(scrub.holds_key(b"c2stMDEyMzQ1Njc4OWFiYw==") && !scrub.holds_key(b"sk-0123456789ab"));
    }
}
