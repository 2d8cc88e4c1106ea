//! What a worker is told when it starts. It has no environment and reads no file for it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A worker's settings. The defaults suit a machine of its own with a few gigabytes of memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerConfig {
    pub kernels_dir: PathBuf,
    pub cache_dir: PathBuf,
    /// Suspended sessions and snapshots. The only folder that the worker may write to.
    pub state_dir: PathBuf,
    /// Runs at the same time; further ones wait.
    pub max_runs: usize,
    /// Runs that may wait; further ones are refused.
    pub max_waiting: usize,
    /// Live sessions; beyond it the longest idle one is suspended.
    pub max_live_sessions: usize,
    /// Sessions in all, live and suspended.
    pub max_sessions: usize,
    /// Seconds until an idle session is suspended.
    pub idle_suspend_s: u64,
    /// Files open at the same time in one sandbox.
    pub open_files: u64,
    /// What all sandboxes' files together may hold, in bytes.
    pub files_budget_bytes: u64,
    /// What all suspended sessions and snapshots together may hold on disk, in bytes.
    pub state_budget_bytes: u64,
    /// Seconds that a run's files can still be fetched for.
    pub run_files_s: u64,
    /// Seconds that runs get to finish when the worker is told to stop.
    pub drain_s: u64,
    /// Confine the process (Landlock, seccomp). Off only where another sandbox does it.
    pub confine: bool,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            kernels_dir: PathBuf::new(),
            cache_dir: PathBuf::new(),
            state_dir: PathBuf::new(),
            max_runs: cores * 16,
            max_waiting: cores * 128,
            max_live_sessions: 2_000,
            max_sessions: 20_000,
            idle_suspend_s: 300,
            // The WASI adapter has 128 descriptors, three of them taken: our limit has to come first to be named.
            open_files: 100,
            files_budget_bytes: 2 << 30,
            state_budget_bytes: 64 << 30,
            run_files_s: 300,
            drain_s: 20,
            confine: true,
        }
    }
}
