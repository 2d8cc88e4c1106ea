//! The caller of an API: its key, what the key may do, and how often. Read from memory for each request, so never a reason to ask
//! the store.

use cofferdam_contract::OrganizationId;

use crate::scope::Scopes;

/// The limits that the operator set for an organization. Absent: there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OrganizationLimits {
    /// Requests of all its keys together.
    pub requests_per_minute: Option<u32>,
    /// Runs of code and calls of tools at the same time.
    pub max_concurrent_runs: Option<u32>,
    /// Tasks of agents that workers have in hand at the same time.
    pub max_concurrent_tasks: Option<u32>,
}

/// The limits that a request of a caller counts against.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests of this key alone.
    pub key_requests_per_minute: Option<u32>,
    pub organization: OrganizationLimits,
}

/// The caller of an API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The key's id, never its text.
    pub key: String,
    pub organization: OrganizationId,
    pub scopes: Scopes,
    pub limits: Limits,
    /// Unix time in seconds at which the key ends; absent: it does not.
    pub expires_at: Option<i64>,
    /// True for a key that may manage organizations.
    pub operator: bool,
    /// The number of the key's text that the caller presented: a key that is rotated has two texts for a time.
    pub text: u32,
}

impl Caller {
    /// A caller without limits and without an end, who manages no organizations.
    pub fn new(key: impl Into<String>, organization: OrganizationId, scopes: Scopes) -> Self {
        Self {
            key: key.into(),
            organization,
            scopes,
            limits: Limits::default(),
            expires_at: None,
            operator: false,
            text: 0,
        }
    }
}
