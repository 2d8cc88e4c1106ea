//! An answer in the neutral form, its usage, and the one table of stop reasons.

use crate::dialect::Dialect;
use crate::error::Failure;
use crate::request::{Part, Request};

/// A model's whole answer. Read by [`Answer::read`], written by [`Answer::write`].
#[derive(Debug)]
pub struct Answer {
    pub(crate) id: String,
    /// The model that answered, as the upstream says.
    pub model: String,
    pub(crate) parts: Vec<Part>,
    /// Reason to stop.
    pub stop: Stop,
    pub(crate) stop_sequence: Option<String>,
    /// Tokens used, if the upstream said.
    pub usage: Option<Usage>,
    pub(crate) service_tier: Option<String>,
}

/// An answer that cannot be read or translated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The body is no answer of the dialect.
    #[error("the upstream's answer cannot be read: {0}")]
    Malformed(&'static str),
    /// The body says that the call failed.
    #[error("the upstream reports a failure")]
    Failed(Failure),
    /// The arguments of a tool call are no object, which the caller's protocol demands.
    #[error("the model's arguments for the tool {0:?} are no JSON object")]
    Arguments(String),
}

impl Answer {
    /// Reads an upstream's answer. Fields that are unknown are passed over: they are the upstream's, not the caller's.
    pub fn read(dialect: Dialect, body: &[u8]) -> Result<Self, Unreadable> {
        match dialect {
            Dialect::Chat => crate::chat::answer::read(body),
            Dialect::Responses => crate::responses::answer::read(body),
            Dialect::Messages => crate::messages::answer::read(body),
        }
    }

    /// Writes it for the caller. `created` is a Unix time in seconds, for the dialects that show one.
    pub fn write(&self, dialect: Dialect, request: &Request, created: u64) -> Result<Vec<u8>, Unreadable> {
        match dialect {
            Dialect::Chat => Ok(crate::chat::answer::write(self, request, created)),
            Dialect::Responses => Ok(crate::responses::answer::write(self, request, created)),
            Dialect::Messages => crate::messages::answer::write(self),
        }
    }
}

/// A call that nobody can make. Nothing is left out silently, and so the answer cannot be read.
pub(crate) const NAMELESS: Unreadable = Unreadable::Malformed("a tool call has no name or id");

/// Tokens that a call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All tokens that went in, those of the caches too.
    pub input: u64,
    /// Input tokens that were read from a cache, part of `input`.
    pub cached: u64,
    /// Input tokens that were written into a cache, part of `input`.
    pub cache_write: u64,
    /// Input tokens that were written into a cache for an hour, part of `cache_write`.
    pub cache_write_long: u64,
    /// All tokens that came out, those of thinking too.
    pub output: u64,
    /// Output tokens of thinking, part of `output`.
    pub reasoning: u64,
}

impl Usage {
    /// None for an upstream that counts nothing: an answer of no tokens is one whose tokens nobody told.
    pub(crate) fn said(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }

    /// Merges what an event says into what is known.
    pub(crate) fn add(known: &mut Option<Self>, said: Option<Self>) {
        if let Some(said) = said {
            known.get_or_insert_default().merge(said);
        }
    }

    /// Takes the larger of each: upstreams report running totals, some twice, some in pieces.
    pub(crate) fn merge(&mut self, other: Self) {
        self.input = self.input.max(other.input);
        self.cached = self.cached.max(other.cached);
        self.cache_write = self.cache_write.max(other.cache_write);
        self.cache_write_long = self.cache_write_long.max(other.cache_write_long);
        self.output = self.output.max(other.output);
        self.reasoning = self.reasoning.max(other.reasoning);
    }
}

/// Reasons for which an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stop {
    /// The model was done.
    End,
    /// The limit of tokens.
    MaxTokens,
    /// The model's context is full.
    Context,
    /// One of the stop sequences.
    Sequence,
    /// The model calls tools.
    Tools,
    /// The model or a filter refused.
    Refusal,
    /// The upstream paused a long turn.
    Pause,
}

/// One row a reason: the word in Chat, in Messages, and the reason of an incomplete response (none: it is complete).
/// Reading takes the first row with the word.
const STOPS: [(Stop, &str, &str, Option<&str>); 7] = [
    (Stop::End, "stop", "end_turn", None),
    (Stop::MaxTokens, "length", "max_tokens", Some("max_output_tokens")),
    (Stop::Context, "length", "model_context_window_exceeded", Some("max_output_tokens")),
    (Stop::Sequence, "stop", "stop_sequence", None),
    (Stop::Tools, "tool_calls", "tool_use", None),
    (Stop::Refusal, "content_filter", "refusal", Some("content_filter")),
    (Stop::Pause, "stop", "pause_turn", None),
];

impl Stop {
    fn row(self) -> (&'static str, &'static str, Option<&'static str>) {
        let row = STOPS.iter().find(|row| row.0 == self);
        row.map_or(("stop", "end_turn", None), |row| (row.1, row.2, row.3))
    }

    /// Chat's `finish_reason`.
    pub fn chat(self) -> &'static str {
        self.row().0
    }

    /// Messages' `stop_reason`.
    pub fn messages(self) -> &'static str {
        self.row().1
    }

    /// Responses' `incomplete_details.reason`, none for a complete response.
    pub fn incomplete(self) -> Option<&'static str> {
        self.row().2
    }

    /// An answer that ends so may end in the middle of a call.
    pub(crate) fn cuts(self) -> bool {
        matches!(self, Self::MaxTokens | Self::Context | Self::Refusal)
    }

    pub(crate) fn of_chat(word: &str) -> Self {
        // Proxies before Gemini's write them large.
        let word = word.to_ascii_lowercase();
        match word.as_str() {
            "function_call" | "tool_use" => Self::Tools,
            // Mistral's and others'.
            "model_length" | "max_tokens" => Self::MaxTokens,
            // Zhipu's, and Gemini's door, which adds the filter's name.
            "sensitive" => Self::Refusal,
            _ if word.starts_with("content_filter") => Self::Refusal,
            // Servers invent words here; a word that nobody knows ends the turn.
            _ => STOPS.iter().find(|row| row.1 == word).map_or(Self::End, |row| row.0),
        }
    }

    pub(crate) fn of_messages(word: &str) -> Self {
        STOPS.iter().find(|row| row.2 == word).map_or(Self::End, |row| row.0)
    }

    pub(crate) fn of_incomplete(word: &str) -> Self {
        STOPS.iter().find(|row| row.3 == Some(word)).map_or(Self::MaxTokens, |row| row.0)
    }
}

/// An id of the caller's dialect, made of the upstream's: another prefix, the same rest.
pub(crate) fn id_for(prefix: &str, upstream: &str) -> String {
    const PREFIXES: [&str; 3] = ["chatcmpl-", "msg_", "resp_"];
    let rest = PREFIXES.iter().find_map(|known| upstream.strip_prefix(known)).unwrap_or(upstream);
    let rest: String = rest.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).take(128).collect();
    if rest.is_empty() { format!("{prefix}0") } else { format!("{prefix}{rest}") }
}
