//! The caller of an API: its key, and the key's organization and scopes.

use cofferdam_contract::OrganizationId;

use crate::scope::Scopes;

/// The caller of an API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The key's id, never its text.
    pub key: String,
    pub organization: OrganizationId,
    pub scopes: Scopes,
}
