//! Problem documents (RFC 9457): the error format of every API. Each says whose fault it was.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The party at fault for a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Fault {
    /// The request was wrong. Sending it again unchanged will not help.
    Caller,
    /// A policy or a missing scope forbids it.
    Policy,
    /// A limit or the current load stopped it.
    Limit,
    /// The code in the session ended it or broke it.
    Code,
    /// Our failure.
    Host,
}

/// An `application/problem+json` body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// `https://cofferdam.dev/problems/{kind}`: stable, one for each kind of problem.
    #[serde(rename = "type")]
    pub type_uri: String,
    pub title: String,
    pub status: u16,
    /// The cause of this occurrence, and how to fix it.
    pub detail: String,
    pub fault: Fault,
    /// True if the same request may succeed when it is sent again.
    pub retryable: bool,
}

const PROBLEM_BASE: &str = "https://cofferdam.dev/problems/";

macro_rules! problems {
    ($($(#[$doc:meta])* $make:ident = $kind:literal, $title:literal, $status:literal, $fault:ident, $retryable:literal;)*) => {
        impl Problem {
            $($(#[$doc])*
            pub fn $make(detail: impl Into<String>) -> Self {
                Self {
                    type_uri: format!("{PROBLEM_BASE}{}", $kind),
                    title: $title.to_owned(),
                    status: $status,
                    detail: detail.into(),
                    fault: Fault::$fault,
                    retryable: $retryable,
                }
            })*

            /// Every kind of problem with its title and status.
            #[cfg(test)]
            const KINDS: &'static [(&'static str, &'static str, u16)] = &[$(($kind, $title, $status)),*];
        }
    };
}

problems! {
    /// The body does not match the schema: broken JSON, unknown or missing fields, wrong types.
    malformed = "malformed-request", "The request could not be read", 400, Caller, false;
    /// The key is missing or unknown.
    unauthorized = "unauthorized", "A valid API key is needed", 401, Caller, false;
    /// The key's scopes do not cover the call.
    forbidden = "forbidden", "The key may not do this", 403, Policy, false;
    /// It does not exist, or the key may not see it.
    not_found = "not-found", "Not found", 404, Caller, false;
    method_not_allowed = "method-not-allowed", "Method not allowed", 405, Caller, false;
    /// The request took too long to arrive.
    slow_request = "slow-request", "The request did not arrive in time", 408, Caller, true;
    /// A run is in progress in the session and the caller asked not to wait.
    session_busy = "session-busy", "The session is busy", 409, Limit, true;
    /// The session is in the wrong state, for example already suspended.
    conflict = "conflict", "This cannot be done now", 409, Caller, false;
    /// Another build of the kernel made the session's image.
    kernel_changed = "kernel-changed", "The kernel has changed", 409, Host, false;
    /// The session's worker is gone, or one of its runs ended the session. The fault says which.
    session_lost = "session-lost", "The session's state is lost", 410, Host, false;
    /// The worker does not have this component. Send it before calling it.
    component_missing = "component-missing", "The component is not here", 409, Host, true;
    /// The component cannot become a tool: it is broken, not a component, or needs something that no grant covers.
    bad_component = "bad-component", "This cannot be deployed as a tool", 422, Caller, false;
    /// The archive holds no image that can run here. The detail says how to fix it.
    bad_image = "bad-image", "This image cannot be deployed", 422, Caller, false;
    too_large = "too-large", "The request is too large", 413, Caller, false;
    unsupported_media = "unsupported-media-type", "The media type is not supported", 415, Caller, false;
    /// Well-formed with an invalid value: an unknown language, a bad path, a limit out of range.
    invalid = "invalid-request", "The request cannot be carried out", 422, Caller, false;
    /// The operator's policy does not grant what was requested.
    denied = "denied-by-policy", "Policy forbids this", 403, Policy, false;
    /// Too many concurrent runs, or too many sessions.
    overloaded = "overloaded", "Too much at once", 429, Limit, true;
    /// The key or its organization has sent too many requests within a minute. `Retry-After` says when to send the next.
    rate_limited = "rate-limited", "Too many requests", 429, Limit, true;
    /// The server's disk, or its open files, are used up. The state stays in memory.
    storage_full = "storage-full", "There is no room to store this", 507, Host, true;
    /// A registry or another upstream server failed.
    bad_upstream = "bad-upstream", "Another server failed", 502, Host, true;
    internal = "internal", "Something failed on our side", 500, Host, true;
    /// The worker died, hung or restarted during the request.
    worker_lost = "worker-lost", "The worker was lost", 503, Host, true;
    /// No worker is ready yet, or the service is shutting down.
    unavailable = "unavailable", "Not ready", 503, Host, true;
}

impl Problem {
    /// Sets the fault, if it differs from the usual one for this kind.
    pub fn by(mut self, fault: Fault) -> Self {
        self.fault = fault;
        self
    }

    /// The stable last segment of `type`.
    pub fn kind(&self) -> &str {
        self.type_uri.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_unique_and_round_trip() {
        let mut kinds: Vec<_> = Problem::KINDS.iter().map(|k| k.0).collect();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), Problem::KINDS.len());
        let problem = Problem::worker_lost("x");
        assert_eq!(problem.kind(), "worker-lost");
        let ended = Problem::session_lost("x").by(Fault::Code);
        assert_eq!((ended.kind(), ended.status, ended.fault), ("session-lost", 410, Fault::Code));
        assert!(serde_json::to_string(&ended).unwrap().contains(r#""fault":"code""#));
        let text = serde_json::to_string(&problem).unwrap();
        assert_eq!(serde_json::from_str::<Problem>(&text).unwrap(), problem);
    }
}
