//! The record of a call. Never a key's text, and of a content only what its organization asked for.

use cofferdam_contract::OrganizationId;
use cofferdam_core::{RandomError, random};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::budget::cut;

/// The longest text of a column, in bytes. Names of models are a caller's words.
const MAX_TEXT_BYTES: usize = 256;
/// The most bytes of a stored content, request and answer together.
pub const MAX_CONTENT_BYTES: usize = 64 << 10;
/// The most tokens of one kind, and nano-dollars, that one call is counted with: an upstream that reports nonsense cannot
/// make a sum overflow.
pub(crate) const MAX_COST: u64 = 100_000_000_000_000;

/// The one on whose behalf a call is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    pub organization: OrganizationId,
    pub key: String,
    pub agent: Option<String>,
    pub task: Option<String>,
}

/// Amounts of the three units. Money in nano-dollars (10^-9 USD): a token at $0.10 a million is 100.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    pub requests: u64,
    pub tokens: u64,
    pub money: u64,
}

/// The end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    Ok,
    /// Refused by us, such as by a rule.
    Refused,
    /// Refused by a budget.
    Budget,
    /// The upstream's error.
    Error,
    Timeout,
    /// The caller went away.
    Cancelled,
    /// The stream broke after its first byte.
    Broken,
    /// It has not ended: the record has what it may come to.
    Running,
    /// The process died while it ran. The record has what it may have come to.
    Lost,
}

impl Ending {
    pub const ALL: [Self; 9] = [
        Self::Ok,
        Self::Refused,
        Self::Budget,
        Self::Error,
        Self::Timeout,
        Self::Cancelled,
        Self::Broken,
        Self::Running,
        Self::Lost,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Budget => "budget",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Broken => "broken",
            Self::Running => "running",
            Self::Lost => "lost",
        }
    }
}

/// A call's texts, redacted by whoever makes the record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Content {
    pub request: String,
    pub answer: String,
}

impl Content {
    pub(crate) fn bytes(&self) -> usize {
        self.request.len() + self.answer.len()
    }

    /// Cuts both texts, so that together they are bounded; the shorter one is kept whole where it can be.
    fn bounded(&mut self) {
        let half = MAX_CONTENT_BYTES / 2;
        let request = MAX_CONTENT_BYTES - self.answer.len().min(half);
        shorten(&mut self.request, request);
        let answer = MAX_CONTENT_BYTES - self.request.len();
        shorten(&mut self.answer, answer);
    }
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Made by [`Record::new_id`].
    pub id: String,
    /// The start, as Unix time in milliseconds.
    pub at_ms: i64,
    pub who: Who,
    pub door: &'static str,
    /// The model's name as the caller said it.
    pub asked: String,
    pub served: Option<String>,
    pub upstream: Option<String>,
    /// The upstream's `gen_ai.provider.name`, for metrics.
    pub provider: Option<&'static str>,
    /// The upstream is the operator's. Metrics do not name those of organizations: the operator reads them, and the names
    /// that have a label are bounded.
    pub shared: bool,
    pub tries: u32,
    /// All tokens in, those of caches among them.
    pub input: u64,
    pub cached: u64,
    pub cache_written: u64,
    pub reasoning: u64,
    /// All tokens out, those of reasoning among them.
    pub output: u64,
    /// Nano-dollars.
    pub money: u64,
    pub first_token_ms: Option<u32>,
    pub wall_ms: u32,
    pub ending: Ending,
    /// True if the upstream did not say what was used.
    pub estimated: bool,
    pub content: Option<Content>,
}

impl Record {
    /// A new id. Later ids sort after earlier ones, so that the store writes them side by side.
    ///
    /// # Errors
    /// The system returned no random bytes.
    pub fn new_id(at_ms: i64) -> Result<String, RandomError> {
        let tail = u128::from_le_bytes(random()?) & ((1 << 80) - 1);
        Ok(format!("call_{:012x}{tail:020x}", at_ms.max(0)))
    }

    /// Makes every text and number one that every store keeps.
    pub(crate) fn bounded(&mut self) {
        let texts = [Some(&mut self.id), Some(&mut self.who.key), self.who.agent.as_mut(), self.who.task.as_mut()];
        let models = [Some(&mut self.asked), self.served.as_mut(), self.upstream.as_mut()];
        for text in texts.into_iter().chain(models).flatten() {
            shorten(text, MAX_TEXT_BYTES);
        }
        let tokens =
            [&mut self.input, &mut self.cached, &mut self.cache_written, &mut self.reasoning, &mut self.output];
        for number in tokens.into_iter().chain([&mut self.money]) {
            *number = (*number).min(MAX_COST);
        }
        if let Some(content) = &mut self.content {
            content.bounded();
        }
    }
}

/// Cuts a text, and replaces the character that PostgreSQL keeps in no text.
pub(crate) fn shorten(text: &mut String, most: usize) {
    if text.len() > most {
        text.truncate(cut(text, most).len());
        text.shrink_to_fit();
    }
    if text.contains('\0') {
        *text = text.replace('\0', " ");
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A call that cost something.
    pub(crate) fn record(id: &str, at_ms: i64, who: Who) -> Record {
        Record {
            id: id.to_owned(),
            at_ms,
            who,
            door: "chat",
            asked: "gpt-5".to_owned(),
            served: Some("openai/gpt-5".to_owned()),
            upstream: Some("openai".to_owned()),
            provider: Some("openai"),
            shared: true,
            tries: 1,
            input: 100,
            cached: 10,
            cache_written: 5,
            reasoning: 7,
            output: 20,
            money: 1_000,
            first_token_ms: Some(30),
            wall_ms: 50,
            ending: Ending::Ok,
            estimated: false,
            content: None,
        }
    }

    pub(crate) fn who(key: &str) -> Who {
        Who { organization: OrganizationId::default_organization(), key: key.to_owned(), agent: None, task: None }
    }

    #[test]
    fn nothing_that_a_caller_says_is_unbounded() {
        let mut record = record("x", 1, who("k"));
        record.asked = "ä\0".repeat(1 << 20);
        record.output = u64::MAX;
        let long = || "é".repeat(MAX_CONTENT_BYTES);
        record.content = Some(Content { request: long(), answer: long() });
        record.bounded();
        assert!(record.asked.len() <= 256 && !record.asked.contains('\0') && record.output == MAX_COST);
        let content = record.content.unwrap();
        assert!(content.bytes() <= MAX_CONTENT_BYTES && content.answer.len() >= MAX_CONTENT_BYTES / 2 - 2);
    }

    #[test]
    fn ids_sort_by_time() {
        let (first, second) = (Record::new_id(1_000).unwrap(), Record::new_id(1_001).unwrap());
        assert!(first < second && first.len() == 37, "{first}");
    }
}
