//! A call, and the answer to it, as they cross the crate's door. Plain data.

use std::time::Duration;

use bytes::Bytes;
use cofferdam_contract::OrganizationId;
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use crate::body::UpstreamBody;
use crate::kind::Service;
use crate::spec::ModelSpec;

/// A call.
pub struct Ask {
    /// On whose behalf. Organizations share an operator's upstream, and none takes all of it.
    pub organization: OrganizationId,
    /// The service that is asked for.
    pub service: Service,
    /// The model's name at the upstream.
    pub model: String,
    /// The answer is asked for as a stream.
    pub stream: bool,
    /// The caller's headers; a few of them are passed on.
    pub headers: HeaderMap,
    /// The body in the service's protocol, the model already set.
    pub body: Bytes,
    /// The time at which the call is over, whatever the upstream's settings say.
    pub deadline: Instant,
}

/// The form of an answer's body, by its content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Server-sent events.
    Events,
    /// JSON.
    Json,
    /// Anything else: an HTML page of somebody who is no upstream of models.
    Other,
}

/// An answer, of any status.
pub struct Sent {
    /// Its status, never one of a redirect.
    pub status: StatusCode,
    /// Its headers that a caller can use.
    pub headers: HeaderMap,
    /// Its body, keys taken out.
    pub body: UpstreamBody,
    /// The body is a stream of server-sent events.
    pub events: bool,
    /// The body's form.
    pub kind: Content,
    /// The time after which the upstream wants to be asked again.
    pub retry_after: Option<Duration>,
}

/// An upstream that is not asked for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// The time until it is.
    pub retry_after: Duration,
    /// Its keys have asked too much (429), and rest.
    pub limited: bool,
}

/// The way in which an upstream serves a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served<'a> {
    /// By its settings.
    Listed(&'a ModelSpec),
    /// Because it serves any.
    Any,
}
