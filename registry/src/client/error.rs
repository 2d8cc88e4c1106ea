//! What can go wrong with a registry: what happened, whose fault it is and what to do. It never holds a credential, and
//! of a registry's own words only what is short, printable and free of what we sent.

use std::time::Duration;

use serde::Serialize;

/// Whose fault a failure was, so that the right person can do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The image's archive, or what was asked for.
    Archive,
    /// The registry answered, and wrongly.
    Registry,
    /// The registry did not answer.
    Network,
    /// The credentials, or what they may do.
    Credentials,
    /// A setting: a CA file, a name.
    Settings,
    /// We ended it: cancelled, or our own limit.
    Us,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Unauthorized,
    Forbidden,
    NotFound,
    /// 429.
    Limited,
    /// 507, or 413: it will not hold more.
    Full,
    /// A 5xx that did not go away.
    Broken,
    /// Another refusal (4xx).
    Refused,
    /// An answer that the protocol does not know.
    Protocol,
    /// It serves more bytes than it may.
    TooLong,
    /// It has, or serves, other bytes than were sent or asked for.
    WrongContent,
    /// An upload that the registry forgot, or whose bytes it lost: it has to begin again.
    Lost,
    Unreachable,
    Dropped,
    Timeout,
    Tls,
    /// Where its token service or a redirect leads, nothing of ours may go.
    Elsewhere,
    Settings,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}. {}", prefix(.kind, .registry), advice(.kind))]
pub struct ClientError {
    pub kind: Kind,
    pub registry: String,
    pub what: String,
    pub status: Option<u16>,
    pub retry_after: Option<Duration>,
}

impl ClientError {
    pub(crate) fn new(kind: Kind, registry: &str, what: impl Into<String>) -> Self {
        Self { kind, registry: registry.to_owned(), what: what.into(), status: None, retry_after: None }
    }

    pub fn fault(&self) -> Fault {
        match self.kind {
            Kind::Unauthorized | Kind::Forbidden => Fault::Credentials,
            Kind::Unreachable | Kind::Dropped | Kind::Timeout => Fault::Network,
            Kind::Settings | Kind::Tls => Fault::Settings,
            Kind::NotFound
            | Kind::Limited
            | Kind::Full
            | Kind::Broken
            | Kind::Refused
            | Kind::Protocol
            | Kind::TooLong
            | Kind::WrongContent
            | Kind::Lost
            | Kind::Elsewhere => Fault::Registry,
        }
    }

    /// Whether the very same may work a little later.
    pub fn is_retriable(&self) -> bool {
        matches!(
            self.kind,
            Kind::Limited | Kind::Broken | Kind::Lost | Kind::Unreachable | Kind::Dropped | Kind::Timeout
        )
    }
}

fn prefix(kind: &Kind, registry: &str) -> String {
    if *kind == Kind::Settings { String::new() } else { format!("The registry {registry}: ") }
}

fn advice(kind: &Kind) -> &'static str {
    match kind {
        Kind::Unauthorized => {
            "Are the credentials for it right and not expired? `docker login` stores them; COFFERDAM_REGISTRY_USERNAME \
             and COFFERDAM_REGISTRY_PASSWORD name others"
        }
        Kind::Forbidden => "These credentials may not do that here; ask the registry's owner for the right to push",
        Kind::NotFound => "Is the name right, and is the repository there? Some registries want it made first",
        Kind::Limited => "It asks for patience; try again later",
        Kind::Full => "It does not take more: free storage or raise the quota, then push again",
        Kind::Broken => "It is the registry's own failure; its log says why. What it has already is not sent again",
        Kind::Refused => "It refuses this; its documentation or its owner knows why",
        Kind::Protocol => "Is it an OCI registry, and is the address right (scheme, host, port)?",
        Kind::TooLong => "What it serves is not what was asked for, or not what a manifest says",
        Kind::WrongContent => "Something between us and its storage changes bytes; nothing was tagged",
        Kind::Lost => "Push again: layers that are there already are not sent again",
        Kind::Unreachable => "Is the address right, is it running, and can this machine reach it?",
        Kind::Dropped => "Push again: layers that are there already are not sent again",
        Kind::Timeout => "Is it overloaded, or the network too slow?",
        Kind::Tls => "A private CA's certificate is given with --ca-file; a registry without TLS needs --plain-http",
        Kind::Elsewhere => "If that place is right, the operator has to name it as the registry's token service",
        Kind::Settings => "Correct it and try again",
    }
}

/// A server's words, fit to be shown: one line, short, printable; nothing at all where they repeat a secret.
pub(crate) fn shown<'a>(text: &str, mut secrets: impl Iterator<Item = &'a str>) -> Option<String> {
    const MOST: usize = 200;
    // A part of a secret is a secret, too: what is cut off would hide it from the search.
    if secrets.any(|secret| !secret.is_empty() && text.contains(secret)) {
        return None;
    }
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = words.chars().take(MOST).collect();
    if short.len() < words.len() {
        short.push('…');
    }
    (!short.is_empty()).then_some(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_words_are_tamed() {
        let none = || std::iter::empty::<&str>();
        assert_eq!(shown(" denied\r\n\x1b[31m now ", none()).as_deref(), Some("denied [31m now"));
        assert_eq!(shown(&"x".repeat(10_000), none()).unwrap().chars().count(), 201);
        assert_eq!(shown("", none()), None);
        assert_eq!(shown("you sent hunter2!", ["hunter2"].into_iter()), None);
        assert_eq!(shown("fine", ["", "hunter2"].into_iter()).as_deref(), Some("fine"));
    }

    #[test]
    fn every_error_says_what_and_what_to_do() {
        let error = ClientError::new(Kind::Full, "r.example", "it answered 507 to a layer");
        assert_eq!(
            error.to_string(),
            "The registry r.example: it answered 507 to a layer. It does not take more: free storage or raise the \
             quota, then push again"
        );
        assert_eq!((error.fault(), error.is_retriable()), (Fault::Registry, false));
    }
}
