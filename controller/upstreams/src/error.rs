//! Failures of a call. Every sentence is safe to be shown: it has no key, and nothing that an upstream wrote.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// A call that got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// All its places are taken.
    #[error("the upstream has as many calls at once as it may have (max_concurrent)")]
    Busy,
    /// Its breaker is open, or all its keys rest.
    #[error("the upstream is not asked for now, because it failed or refused before; again in {} s", .retry_after.as_secs().max(1))]
    Closed {
        /// The time until it is asked again.
        retry_after: Duration,
        /// Its keys have asked too much (429), and rest.
        limited: bool,
    },
    /// Its name has no address.
    #[error("the upstream's name does not resolve")]
    Dns,
    /// Its address is none that an organization's upstream may have.
    #[error("the upstream's address {0} is private or special, which only the operator may allow ([models] private)")]
    Forbidden(IpAddr),
    /// An organization's upstream at a public address without TLS.
    #[error("the upstream has a public address and has to be reached by https")]
    Plain,
    /// No connection.
    #[error("the upstream cannot be reached: {0}")]
    Connect(io::ErrorKind),
    /// No TLS.
    #[error("TLS with the upstream failed: {0}")]
    Tls(TlsFailure),
    /// The proxy did not open the way.
    #[error("the upstream's proxy {0}")]
    Proxy(String),
    /// Too slow.
    #[error("the upstream was too slow: {0}")]
    Timeout(Stage),
    /// It sends its callers elsewhere, which is never followed.
    #[error("the upstream answers with a redirect ({0}), which is not followed: base_url has to be the final address")]
    Redirect(u16),
    /// Its answer is no answer.
    #[error("{0}")]
    Protocol(Protocol),
    /// No key can be used, because the exchange for a token failed.
    #[error("the upstream's key cannot be used: {0}")]
    NoKey(String),
    /// It does not offer this service.
    #[error("the upstream does not offer {0}")]
    Unsupported(&'static str),
    /// The request cannot be sent there.
    #[error("the request cannot be sent to this upstream: {0}")]
    Unsendable(String),
}

impl SendError {
    /// True when the same call may succeed at the same upstream a moment later.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Busy | Self::Closed { .. } | Self::Connect(_) | Self::Dns | Self::Proxy(_) => true,
            Self::Timeout(stage) => *stage == Stage::Connect,
            Self::Protocol(why) => *why == Protocol::Lost,
            Self::Tls(why) => *why == TlsFailure::Broken,
            _ => false,
        }
    }

    /// True when another upstream may answer this call.
    pub fn falls_back(&self) -> bool {
        !matches!(self, Self::Unsendable(_) | Self::Timeout(Stage::Deadline))
    }

    /// The time after which another try makes sense, if it is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Closed { retry_after, .. } => Some(*retry_after),
            Self::Busy => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// The word for it in records and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Closed { .. } => "closed",
            Self::Dns => "dns",
            Self::Forbidden(_) => "forbidden",
            Self::Plain => "plain_http",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::Proxy(_) => "proxy",
            Self::Timeout(_) => "timeout",
            Self::Redirect(_) => "redirect",
            Self::Protocol(_) => "protocol",
            Self::NoKey(_) => "key",
            Self::Unsupported(_) => "unsupported",
            Self::Unsendable(_) => "request",
        }
    }

    /// True for failures that say that the upstream does not work, whoever calls.
    pub(crate) fn counts(&self) -> bool {
        match self {
            Self::Dns | Self::Connect(_) | Self::Tls(_) | Self::Proxy(_) | Self::Protocol(_) | Self::Redirect(_) => {
                true
            }
            Self::Timeout(stage) => *stage != Stage::Deadline,
            _ => false,
        }
    }
}

/// The part of a call that took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stage {
    /// Name, connection, proxy, TLS.
    #[error("no connection in time (connect_timeout_s)")]
    Connect,
    /// The answer's head.
    #[error("no answer in time (first_byte_timeout_s)")]
    FirstByte,
    /// The whole call, as the upstream's settings say.
    #[error("the call's time is over (timeout_s)")]
    Whole,
    /// The caller's own deadline.
    #[error("the caller's time is over")]
    Deadline,
}

/// The reason for which there is no TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TlsFailure {
    /// Nobody who is trusted has signed the certificate.
    #[error("its certificate is of an authority that is not trusted here (ca)")]
    UnknownAuthority,
    /// The certificate is for other names.
    #[error("its certificate is not for this name")]
    WrongName,
    /// The certificate has expired, or is not valid yet.
    #[error("its certificate is not valid at this time")]
    Expired,
    /// Another fault of the certificate.
    #[error("its certificate is invalid")]
    BadCertificate,
    /// No authority is known at all.
    #[error("this machine has no certificates of authorities (ca, COFFERDAM_CA_FILE)")]
    NoAuthorities,
    /// The handshake broke off, or it speaks no TLS.
    #[error("the handshake broke off")]
    Broken,
}

/// The reason for which an answer is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Protocol {
    /// The connection ended before the answer.
    #[error("the upstream closed the connection before it answered")]
    Lost,
    /// No HTTP.
    #[error("the upstream's answer is not valid HTTP/1.1")]
    Malformed,
    /// Too many headers, or too long ones.
    #[error("the headers of the upstream's answer are too large")]
    TooLarge,
    /// Another protocol than HTTP.
    #[error("the upstream switches protocols, which is never asked for")]
    Switches,
    /// A compressed body, although none was allowed.
    #[error("the upstream compresses its answer although it was told not to")]
    Encoded,
}

/// A body that ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// No piece came for too long.
    #[error("the upstream sent nothing for {} s (idle_timeout_s)", .0.as_secs())]
    Idle(Duration),
    /// The call's time is over, as the upstream's settings say.
    #[error("the upstream's answer took too long (timeout_s)")]
    Timeout,
    /// The caller's deadline.
    #[error("the caller's time is over")]
    Deadline,
    /// More bytes than a whole answer may have.
    #[error("the upstream's answer is longer than {0} bytes")]
    TooLarge(u64),
    /// The connection ended in the middle.
    #[error("the upstream's answer broke off")]
    Lost,
    /// A stream that cannot be decoded.
    #[error("the upstream's stream is malformed")]
    Malformed,
    /// The text resembles a key in too many places to be searched for it.
    #[error("the upstream's answer cannot be searched for its key")]
    Unsearchable,
}

impl BodyError {
    /// True when it says that the upstream does not work, whoever calls.
    pub(crate) fn counts(self) -> bool {
        matches!(self, Self::Idle(_) | Self::Lost | Self::Malformed)
    }
}
