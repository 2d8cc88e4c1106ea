//! The number of tasks of an organization and of an agent that may be executing at once. Others know it; this crate asks.

use cofferdam_store::Lane;
use futures_util::future::BoxFuture;

/// The tasks that may be executing at once; absent: as many as there are workers for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LaneLimit {
    pub organization: Option<u32>,
    pub agent: Option<u32>,
}

/// Knows the limits of lanes. Asked for each lane before each hand-out, so answers come from memory.
pub trait LaneLimits: Send + Sync {
    fn limit<'a>(&'a self, lane: &'a Lane) -> BoxFuture<'a, LaneLimit>;
}

/// Limits nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLimits;

impl LaneLimits for NoLimits {
    fn limit<'a>(&'a self, _: &'a Lane) -> BoxFuture<'a, LaneLimit> {
        Box::pin(async { LaneLimit::default() })
    }
}
