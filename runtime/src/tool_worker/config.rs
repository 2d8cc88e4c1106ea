//! What a tool worker is told when it starts. It has no environment and reads no file for it.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A tool worker's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ToolWorkerConfig {
    /// Compiled components, which it only reads.
    pub cache_dir: PathBuf,
    /// Calls at the same time; further ones wait.
    pub max_calls: usize,
    /// Calls that may wait; further ones are refused.
    pub max_waiting: usize,
    /// Components that are kept ready; the longest unused ones go first.
    pub max_components: usize,
    /// Compiled code of all of them together, in bytes.
    pub code_bytes: u64,
    /// What all calls together may take of the host's memory: linear memories, tables, instances, values. Half of what
    /// this machine (or this process's cgroup) has, where nothing is said.
    pub memory_bytes: u64,
    /// Files open at the same time in one sandbox.
    pub open_files: u64,
    /// What all sandboxes' files together may hold, in bytes.
    pub files_budget_bytes: u64,
    /// Seconds that calls get to finish when the worker is told to stop.
    pub drain_s: u64,
    /// Confine the process (Landlock, seccomp). Off only where another sandbox does it.
    pub confine: bool,
}

impl Default for ToolWorkerConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            cache_dir: PathBuf::new(),
            max_calls: cores * 16,
            max_waiting: cores * 128,
            max_components: 256,
            code_bytes: 2 << 30,
            memory_bytes: machine_bytes() / 2,
            open_files: 100,
            files_budget_bytes: 1 << 30,
            drain_s: 20,
            confine: true,
        }
    }
}

/// The memory that there is; 4 GiB where nobody says.
fn machine_bytes() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1 << 10)
    });
    let cgroup = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    [machine, cgroup].into_iter().flatten().min().unwrap_or(4 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_memory() {
        assert!((256 << 20..1 << 50).contains(&machine_bytes()), "{}", machine_bytes());
        let told: ToolWorkerConfig = serde_json::from_str(r#"{"memory_bytes": 5}"#).unwrap();
        assert_eq!(told, ToolWorkerConfig { memory_bytes: 5, ..ToolWorkerConfig::default() });
    }
}
