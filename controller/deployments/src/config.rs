//! Limits and timeouts of deployments. The composition reads them from the environment; nothing is parsed here.

use std::time::Duration;

/// Limits of one organization, and the timeouts of everything that the driver does.
#[derive(Debug, Clone, Copy)]
pub struct DeploymentsConfig {
    /// Agents of one organization.
    pub max_agents: u64,
    /// Deployments of one organization that have not settled yet.
    pub max_unsettled: u64,
    pub timing: Timing,
}

impl Default for DeploymentsConfig {
    fn default() -> Self {
        Self { max_agents: 1_000, max_unsettled: 100, timing: Timing::default() }
    }
}

/// Timeouts and intervals. Only `start` is an operator's setting; tests shorten the rest.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// A new version must become ready within this time.
    pub start: Duration,
    /// A new version must stay ready for this long before it serves.
    pub steady: Duration,
    /// A version that crashes this soon after it came up is rolled back at its first crash.
    pub probation: Duration,
    /// The interval at which a version on its way up is observed.
    pub look: Duration,
    /// The interval at which a serving version is observed.
    pub watch: Duration,
    /// The interval at which the driver looks for work that other processes left in the store.
    pub poll: Duration,
    /// The length of a lease.
    pub lease: Duration,
    /// The interval at which leases are renewed.
    pub heartbeat: Duration,
    /// The wait before the second attempt to reach a cluster; it doubles with each attempt, up to `retry_most`.
    pub retry: Duration,
    pub retry_most: Duration,
    /// Attempts for a version on its way up end after this time.
    pub patience: Duration,
    /// One call to a cluster.
    pub call: Duration,
    /// An upload that sends nothing for this long is given up. Upload links are valid for as long.
    pub upload: Duration,
    /// An upload that has begun waits for its client for this long, here if no process has it any more.
    pub resume: Duration,
    /// The interval at which environments are searched for stray Jobs.
    pub reconcile: Duration,
    /// The interval at which what was deleted or changed by hand of a version that runs is restored.
    pub drift: Duration,
    /// A stray Job is left alone for this long before it is removed.
    pub stray: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self {
            start: s(300),
            steady: s(3),
            probation: s(600),
            look: Duration::from_millis(500),
            watch: s(5),
            poll: s(1),
            lease: s(15),
            heartbeat: s(4),
            retry: s(1),
            retry_most: s(30),
            patience: s(600),
            call: s(60),
            upload: s(3_600),
            resume: s(600),
            reconcile: s(60),
            drift: s(30),
            stray: s(600),
        }
    }
}
