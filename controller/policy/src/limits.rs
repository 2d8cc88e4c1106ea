//! The operator's limits for runs.

use cofferdam_contract::Limits;

/// The limits that the operator sets for runs.
#[derive(Debug, Clone, Copy)]
pub struct LimitsConfig {
    /// Applied to a run that asks for nothing else.
    pub default: Limits,
    /// The most that a run may ask for.
    pub maximum: Limits,
}
