//! Registry errors: what happened, who is at fault and how to fix it. Never contains a credential. Of a registry's own
//! words it keeps only short, printable text that repeats nothing we sent.

use std::time::Duration;

use serde::Serialize;

/// The party at fault, so that the right person can act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The image's archive, or the request.
    Archive,
    /// The registry gave a wrong answer.
    Registry,
    /// The registry did not answer.
    Network,
    /// The credentials or their permissions.
    Credentials,
    /// A setting: a CA file, a name.
    Settings,
    /// We stopped it: cancelled, or our own limit.
    Us,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Unauthorized,
    Forbidden,
    NotFound,
    /// 429.
    Limited,
    /// 507 or 413: out of storage or quota.
    Full,
    /// A 5xx that persisted.
    Broken,
    /// Another refusal (4xx).
    Refused,
    /// An answer that violates the protocol.
    Protocol,
    /// It serves more bytes than allowed.
    TooLong,
    /// It stored or served bytes other than those sent or requested.
    WrongContent,
    /// The registry forgot an upload or lost its bytes; it must start over.
    Lost,
    Unreachable,
    /// Its name has no address.
    Unresolved,
    /// The proxy on the way to it refuses, or cannot be reached itself.
    Proxy,
    Dropped,
    Timeout,
    Tls,
    /// The token service or redirect target must not get our request.
    Elsewhere,
    Settings,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}. {}", prefix(.kind, .registry), .advice.unwrap_or_else(|| remedy(.kind)))]
pub struct ClientError {
    pub kind: Kind,
    pub registry: String,
    pub what: String,
    pub status: Option<u16>,
    /// The registry's own code for a refusal, such as `MANIFEST_INVALID`.
    pub code: Option<String>,
    pub retry_after: Option<Duration>,
    /// The remedy, if it is a better one than the kind's.
    pub(crate) advice: Option<&'static str>,
    /// Attempts that are worthwhile, if they are fewer than usual.
    pub(crate) attempts: Option<u32>,
}

impl ClientError {
    pub fn new(kind: Kind, registry: &str, what: impl Into<String>) -> Self {
        let (registry, what) = (registry.to_owned(), what.into());
        Self { kind, registry, what, status: None, code: None, retry_after: None, advice: None, attempts: None }
    }

    #[must_use]
    pub(crate) fn advise(self, advice: &'static str) -> Self {
        Self { advice: Some(advice), ..self }
    }

    /// The error with another remedy: the usual ones name options of `cofferdam image push`.
    pub fn with_remedy(&self, remedy: &str) -> String {
        format!("{}{}. {remedy}", prefix(&self.kind, &self.registry), self.what)
    }

    pub fn fault(&self) -> Fault {
        match self.kind {
            Kind::Unauthorized | Kind::Forbidden => Fault::Credentials,
            Kind::Unreachable | Kind::Unresolved | Kind::Dropped | Kind::Timeout => Fault::Network,
            Kind::Settings | Kind::Proxy | Kind::Tls => Fault::Settings,
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

    /// True if a retry may succeed a little later.
    pub fn is_retriable(&self) -> bool {
        matches!(
            self.kind,
            Kind::Limited
                | Kind::Broken
                | Kind::Lost
                | Kind::Unreachable
                | Kind::Unresolved
                | Kind::Dropped
                | Kind::Timeout
        )
    }

    /// True if the registry refuses a manifest because it lacks a blob of it.
    pub fn lacks_a_blob(&self) -> bool {
        matches!(self.code.as_deref(), Some("MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN"))
    }

    /// True if the registry refuses a manifest for its form, so that it may take the same image in the other one.
    pub fn refuses_the_form(&self) -> bool {
        match (self.status, self.code.as_deref()) {
            (Some(415), _) => true,
            (Some(400 | 405 | 422), code) => {
                matches!(code, None | Some("MANIFEST_INVALID" | "UNSUPPORTED" | "UNKNOWN"))
            }
            _ => false,
        }
    }
}

fn prefix(kind: &Kind, registry: &str) -> String {
    if *kind == Kind::Settings { String::new() } else { format!("The registry {registry}: ") }
}

fn remedy(kind: &Kind) -> &'static str {
    match kind {
        Kind::Unauthorized => "Check that its credentials are right and not expired",
        Kind::Forbidden => "These credentials lack permission; ask the registry's owner for push access",
        Kind::NotFound => "Check the name, and that the repository exists. Some registries need it created first",
        Kind::Limited => "Its rate limit is reached; try again later",
        Kind::Full => {
            "It is full, or a proxy in front of it does not take that much: free storage or raise the limit, then push again"
        }
        Kind::Broken => "This is the registry's failure; see its log. Layers that it already has are not sent again",
        Kind::Refused => "See its documentation, or ask its owner",
        Kind::Protocol => "Is it an OCI registry, and is the address right (scheme, host, port)?",
        Kind::TooLong => "It serves something other than what was requested or what the manifest says",
        Kind::WrongContent => "Something between us and its storage alters bytes; nothing was tagged",
        Kind::Lost => "Push again: layers that it already has are not sent again",
        Kind::Unreachable => "Check that the address is right, that it is running, and that this machine can reach it",
        Kind::Unresolved => "Check its spelling, and this machine's DNS",
        Kind::Proxy => {
            "Check HTTPS_PROXY (or HTTP_PROXY, ALL_PROXY) and the proxy's credentials in it, or name the registry in NO_PROXY"
        }
        Kind::Dropped => "Push again: layers that it already has are not sent again",
        Kind::Timeout => "It may be overloaded, or the network too slow",
        Kind::Tls => "Pass a private CA's certificate with --ca-file; use --plain-http for a registry without TLS",
        Kind::Elsewhere => {
            "If that host is right and the registry's token service, name it with --token-host: HOST, or HOST:PORT for another port \
             than the usual one"
        }
        Kind::Settings => "Correct it and try again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_says_what_and_what_to_do() {
        let error = ClientError::new(Kind::Full, "r.example", "it answered 507 to a layer");
        assert_eq!(
            error.to_string(),
            "The registry r.example: it answered 507 to a layer. It is full, or a proxy in front of it does not take that \
             much: free storage or raise the limit, then push again"
        );
        assert_eq!((error.fault(), error.is_retriable()), (Fault::Registry, false));
    }
}
