//! Checks requested grants by themselves: counts, names, patterns. The operator's policy is not applied here.

use cofferdam_contract::Grants;

use crate::capabilities::{self, BadGrant};

/// Checks grants.
///
/// # Errors
/// The first invalid one.
pub fn grants(grants: &Grants) -> Result<(), BadGrant> {
    capabilities::all().try_for_each(|capability| capability.check(grants))
}

/// Checks the bounds of a deployed tool's grants.
///
/// # Errors
/// The first grant that is too large.
pub fn tool_grants(grants: &Grants) -> Result<(), BadGrant> {
    capabilities::all().try_for_each(|capability| capability.check_tool(grants))
}

/// A grant that no snippet can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{grant} is for deployed tools; {instead}")]
pub struct NotForSnippets {
    pub grant: &'static str,
    /// The alternative to suggest.
    pub instead: &'static str,
}

/// Checks that a snippet can have these grants.
///
/// # Errors
/// The first grant that it cannot have.
pub fn snippet_grants(grants: &Grants) -> Result<(), NotForSnippets> {
    grants.kinds().try_for_each(|kind| match capabilities::of(kind).for_snippets() {
        Ok(_) => Ok(()),
        Err(instead) => Err(NotForSnippets { grant: kind.name(), instead }),
    })
}

/// Each grant that a snippet can have, alone.
pub fn one_by_one(grants: &Grants) -> impl Iterator<Item = Grants> {
    let splits = grants.kinds().filter_map(|kind| capabilities::of(kind).for_snippets().ok());
    splits.flat_map(|split| split(grants))
}
