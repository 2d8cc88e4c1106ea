//! Settings of logs.

/// Retention of an agent's log, and how fast an agent may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogsConfig {
    /// Days that lines are kept.
    pub days: u64,
    /// Compressed bytes that are kept of one agent.
    pub bytes: u64,
    /// Bytes per second that are collected of one agent. More are left out and counted.
    pub rate: u64,
}

impl Default for LogsConfig {
    fn default() -> Self {
        Self { days: 14, bytes: 256 << 20, rate: 4 << 20 }
    }
}
