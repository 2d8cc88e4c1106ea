//! The settings of a worker, passed at its start. It has no environment and reads no configuration file.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A worker's settings. The defaults suit a dedicated machine with a few gigabytes of memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerConfig {
    pub kernels_dir: PathBuf,
    pub cache_dir: PathBuf,
    /// Suspended sessions and snapshots. The only folder that the worker may write to.
    pub state_dir: PathBuf,
    /// The most concurrent runs. Further ones wait.
    pub max_runs: usize,
    /// The most concurrent runs of one organization, unless a limit of its own comes with its requests. Further ones wait. By
    /// default as many as there are places.
    pub max_runs_per_organization: Option<usize>,
    /// The most waiting runs. Further ones are refused.
    pub max_waiting: usize,
    /// The most live sessions. Beyond it the longest idle one is suspended.
    pub max_live_sessions: usize,
    /// The most sessions, live and suspended.
    pub max_sessions: usize,
    /// Seconds until an idle session is suspended.
    pub idle_suspend_s: u64,
    /// The most open files in one sandbox.
    pub open_files: u64,
    /// The most bytes in all sandboxes' files.
    pub files_budget_bytes: u64,
    /// The most bytes of all suspended sessions and snapshots on disk.
    pub state_budget_bytes: u64,
    /// Seconds for which a run's files can be fetched.
    pub run_files_s: u64,
    /// Seconds that runs get to finish on shutdown.
    pub drain_s: u64,
    /// Confines the process (Landlock, seccomp). Turn off only if another sandbox does it.
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
            max_runs_per_organization: None,
            max_waiting: cores * 128,
            max_live_sessions: 2_000,
            max_sessions: 20_000,
            idle_suspend_s: 300,
            // The WASI adapter has 128 descriptors, three of them taken. Our limit must be reached first, so that it is
            // reported by name.
            open_files: 100,
            files_budget_bytes: 2 << 30,
            state_budget_bytes: 64 << 30,
            run_files_s: 300,
            drain_s: 20,
            confine: true,
        }
    }
}
