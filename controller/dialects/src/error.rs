//! Errors: why a request is refused, and what a caller is told, in the words of its own protocol. Reads upstreams' errors,
//! also those that are no JSON. Never puts an upstream's text into an error by itself.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::dialect::Dialect;
use crate::fields::Fields;
use crate::json;

/// A field that cannot be read or translated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Refused {
    /// Its path in the caller's request, such as `messages[2].content[0].image_url`.
    pub field: String,
    /// Reason, as a sentence without its subject.
    pub why: String,
}

impl Refused {
    pub(crate) fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self { field: field.into(), why: why.into() }
    }
}

/// Kinds of failures that a caller is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is wrong.
    Invalid,
    /// The request, with the answer that it asks for, is longer than the model's context. Agents shorten it and ask again, if
    /// they are told so in the words that they know: [`error_body`] writes them.
    Context,
    /// No key, or a wrong one.
    Authentication,
    /// The key may not do this.
    Permission,
    /// No such model or path.
    NotFound,
    /// The body is too long.
    TooLarge,
    /// Too many requests or tokens for now.
    RateLimit,
    /// A budget is used up.
    Quota,
    /// The upstream has no room.
    Overloaded,
    /// The upstream did not answer in time.
    Timeout,
    /// Anything else that went wrong behind this door.
    Api,
}

/// One row a kind: HTTP status, OpenAI's `type` and `code`, Anthropic's `type`. The names are those of the providers' own
/// error references and of their clients' types.
const KINDS: [(Kind, u16, &str, Option<&str>, &str); 11] = [
    (Kind::Invalid, 400, "invalid_request_error", None, "invalid_request_error"),
    (Kind::Context, 400, "invalid_request_error", Some("context_length_exceeded"), "invalid_request_error"),
    (Kind::Authentication, 401, "invalid_request_error", Some("invalid_api_key"), "authentication_error"),
    (Kind::Permission, 403, "invalid_request_error", Some("insufficient_permissions"), "permission_error"),
    (Kind::NotFound, 404, "invalid_request_error", Some("model_not_found"), "not_found_error"),
    (Kind::TooLarge, 413, "invalid_request_error", Some("request_too_large"), "request_too_large"),
    (Kind::RateLimit, 429, "rate_limit_exceeded", Some("rate_limit_exceeded"), "rate_limit_error"),
    (Kind::Quota, 429, "insufficient_quota", Some("insufficient_quota"), "rate_limit_error"),
    (Kind::Overloaded, 529, "server_error", Some("server_overloaded"), "overloaded_error"),
    (Kind::Timeout, 504, "server_error", Some("timeout"), "timeout_error"),
    (Kind::Api, 500, "server_error", Some("server_error"), "api_error"),
];

impl Kind {
    fn row(self) -> (u16, &'static str, Option<&'static str>, &'static str) {
        let row = KINDS.iter().find(|row| row.0 == self);
        row.map_or((500, "server_error", None, "api_error"), |row| (row.1, row.2, row.3, row.4))
    }

    /// The HTTP status that goes with it. Anthropic's 529 is a 503 for callers of OpenAI's protocols.
    pub fn status(self, dialect: Dialect) -> u16 {
        match (self, dialect) {
            (Self::Overloaded, Dialect::Chat | Dialect::Responses) => 503,
            _ => self.row().0,
        }
    }

    /// The value of OpenAI's `code`.
    pub fn code(self) -> Option<&'static str> {
        self.row().2
    }

    /// The value of `error.type`.
    pub fn type_name(self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Chat | Dialect::Responses => self.row().1,
            Dialect::Messages => self.row().3,
        }
    }

    /// The kind that an upstream's status stands for.
    pub fn of_status(status: u16) -> Self {
        match status {
            400 | 405 | 409 | 415 | 422 => Self::Invalid,
            401 => Self::Authentication,
            402 => Self::Quota,
            403 => Self::Permission,
            404 | 410 => Self::NotFound,
            408 | 504 => Self::Timeout,
            413 => Self::TooLarge,
            429 => Self::RateLimit,
            503 | 529 => Self::Overloaded,
            _ => Self::Api,
        }
    }

    /// The kind of a `type` or `code` of either provider.
    pub fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "insufficient_quota" | "billing_error" | "billing_hard_limit_reached" => Self::Quota,
            "rate_limit_exceeded" | "rate_limit_error" | "tokens" | "requests" => Self::RateLimit,
            "invalid_api_key" | "authentication_error" => Self::Authentication,
            "permission_error" | "insufficient_permissions" => Self::Permission,
            "model_not_found" | "not_found_error" => Self::NotFound,
            "request_too_large" | "context_length_exceeded_bytes" => Self::TooLarge,
            "overloaded_error" | "server_overloaded" | "server_is_overloaded" | "slow_down" => Self::Overloaded,
            "timeout_error" | "timeout" => Self::Timeout,
            "api_error" | "server_error" | "internal_server_error" => Self::Api,
            "context_length_exceeded" | "exceed_context_size_error" | "model_max_prompt_tokens_exceeded" => {
                Self::Context
            }
            "invalid_request_error" | "invalid_prompt" => Self::Invalid,
            _ => return None,
        })
    }

    /// The kind of an error whose words say more than its name and status: few providers name a context that is full.
    fn with_words(self, message: Option<&str>) -> Self {
        let general = matches!(self, Self::Invalid | Self::TooLarge | Self::Api);
        let lower = message.filter(|_| general).map(str::to_ascii_lowercase);
        match lower {
            Some(words) if FULL.iter().any(|full| full.iter().all(|part| words.contains(part))) => Self::Context,
            _ => self,
        }
    }
}

/// Words about a context that is full: all parts of a row have to be there. Those of OpenAI, vLLM and SGLang, Anthropic (two),
/// Bedrock (two), Gemini, llama.cpp, Mistral, xAI and Ollama.
const FULL: [&[&str]; 11] = [
    &["maximum context length"],
    &[TOO_LONG],
    &["exceed context limit"],
    &["input is too long for requested model"],
    &["too many input tokens"],
    &["input token count", "exceeds the maximum"],
    &["exceed", "context size"],
    &["too large for model with", "maximum context"],
    &["maximum prompt length"],
    &["exceed", "context length"],
    &["exceed", "context window"],
];

/// The words by which Anthropic's clients know that they have to shorten a conversation.
const TOO_LONG: &str = "prompt is too long";

/// The message for a client of Anthropic's.
fn words(kind: Kind, message: &str) -> Cow<'_, str> {
    match kind {
        Kind::Context if !message.to_ascii_lowercase().contains(TOO_LONG) => {
            Cow::Owned(format!("{TOO_LONG}: {message}"))
        }
        _ => Cow::Borrowed(message),
    }
}

/// An error document in the caller's protocol. `field` is the path of the field that is wrong, if one is.
pub fn error_body(dialect: Dialect, kind: Kind, message: &str, field: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + message.len());
    json::object(&mut out, |o| match dialect {
        Dialect::Chat | Dialect::Responses => o.object("error", |o| openai(o, kind, message, field)),
        Dialect::Messages => {
            o.string("type", "error");
            o.object("error", |o| {
                o.string("type", kind.type_name(dialect));
                let message = words(kind, message);
                match field {
                    Some(field) => o.string("message", &format!("{field}: {message}")),
                    None => o.string("message", &message),
                }
            });
        }
    });
    out
}

pub(crate) fn openai(o: &mut json::Object<'_>, kind: Kind, message: &str, field: Option<&str>) {
    match field {
        Some(field) => o.string("message", &format!("{field}: {message}")),
        None => o.string("message", message),
    }
    o.string("type", kind.type_name(Dialect::Chat));
    o.optional("param", field);
    o.optional("code", kind.code());
}

/// An upstream's failure: its kind, and its own words where it had any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind, by the error's own name, else by the status.
    pub kind: Kind,
    /// The upstream's message, cut at [`MAX_MESSAGE_BYTES`]. It may hold anything, also a key: redact it.
    pub message: Option<String>,
}

/// Longest message that is taken over from an upstream.
pub const MAX_MESSAGE_BYTES: usize = 2_048;

impl Failure {
    /// Reads an error document of any of the dialects. A body that is none (HTML, nothing) leaves the status' kind.
    pub fn read(status: u16, body: &[u8]) -> Self {
        let by_status = Self { kind: Kind::of_status(status), message: None };
        // Gemini's door puts the document into a list.
        let first = serde_json::from_slice::<[&RawValue; 1]>(body).ok().and_then(|[first]| Fields::of(first));
        match Fields::tolerant(body).or(first) {
            Some(fields) => Self::of_fields(fields, by_status.kind),
            None => {
                let words = std::str::from_utf8(body).ok().map(cut);
                Self { kind: by_status.kind.with_words(words.as_deref()), message: None }
            }
        }
    }

    /// Reads `{"error": {...}}`, `{"error": "text"}`, and the flat error event of Responses.
    pub(crate) fn of_fields(mut fields: Fields<'_>, otherwise: Kind) -> Self {
        if let Some(text) = fields.text("error") {
            return Self { kind: otherwise.with_words(Some(&text)), message: Some(cut(&text)) };
        }
        let mut error = fields.child("error").unwrap_or(fields);
        let names = [error.text("code"), error.text("type")];
        let status =
            error.count("code").and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code));
        let otherwise = match otherwise {
            Kind::Api => status.map_or(otherwise, Kind::of_status),
            otherwise => otherwise,
        };
        let kind = names.iter().flatten().find_map(|name| Kind::of_name(name));
        // A general word must not hide a status that says more.
        let kind = match kind {
            Some(Kind::Invalid | Kind::Api) | None if !matches!(otherwise, Kind::Api | Kind::Invalid) => otherwise,
            Some(kind) => kind,
            None => otherwise,
        };
        let message = error.text("message").map(|text| cut(&text));
        // Many Python servers write `detail`.
        let detail = || error.look("detail").map(|raw| cut(raw.get()));
        let words = message.clone().or_else(detail);
        Self { kind: kind.with_words(words.as_deref()), message }
    }
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(MAX_MESSAGE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}
