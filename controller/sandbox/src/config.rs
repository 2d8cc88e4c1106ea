//! The operator's limits for sessions.

/// The operator's limits for sessions, in seconds where they are times.
#[derive(Debug, Clone, Copy)]
pub struct SessionsConfig {
    /// Sessions of all keys together, live and suspended.
    pub max: u64,
    pub max_per_key: u64,
    /// The longest time from a session's start to its end, however much it is used.
    pub max_life_s: u64,
    /// The idle time after which the worker suspends a session.
    pub idle_suspend_s: u64,
}
