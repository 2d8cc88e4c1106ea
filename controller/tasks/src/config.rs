//! Bounds and intervals of the service. The defaults are those of a server; tests use shorter ones.

use std::time::Duration;

/// Bounds and intervals.
#[derive(Debug, Clone, Copy)]
pub struct TasksConfig {
    /// Streams of events that a process serves at once, and those of one organization.
    pub max_followers: usize,
    pub max_followers_of_organization: usize,
    /// The interval at which the queue, and what is asked of running tasks, is looked at without a wake-up.
    pub poll_interval: Duration,
    /// The interval of a worker's beats, and the time that one lasts.
    pub beat_interval: Duration,
    pub beat_for: Duration,
    /// A worker that could not beat for so long stops its tasks. Shorter than `beat_for`, so that it stops before another begins.
    pub lost_after: Duration,
    /// A task whose runner went away without a last step is settled after so long.
    pub left_after: Duration,
    /// The time that a write is tried again while the database is gone.
    pub write_timeout: Duration,
    /// Threads that were not used for so many days are deleted.
    pub keep_threads_days: u32,
}

impl Default for TasksConfig {
    fn default() -> Self {
        Self {
            max_followers: 20_000,
            max_followers_of_organization: 10_000,
            poll_interval: Duration::from_secs(1),
            beat_interval: Duration::from_secs(3),
            beat_for: Duration::from_secs(15),
            lost_after: Duration::from_secs(10),
            left_after: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            keep_threads_days: 90,
        }
    }
}
