//! The settings of a tool worker, passed at its start. It has no environment and reads no configuration file.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A tool worker's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ToolWorkerConfig {
    /// Compiled components. Only read.
    pub cache_dir: PathBuf,
    /// The most concurrent calls. Further ones wait.
    pub max_calls: usize,
    /// The most concurrent calls of one organization, unless a limit of its own comes with its requests. Further ones wait. By
    /// default as many as there are places.
    pub max_calls_per_organization: Option<usize>,
    /// The most waiting calls. Further ones are refused.
    pub max_waiting: usize,
    /// The most loaded components. The least recently used are evicted.
    pub max_components: usize,
    /// The most bytes of their compiled code.
    pub code_bytes: u64,
    /// The most host memory of all calls: linear memories, tables, instances, values. Defaults to half of the memory of
    /// this machine (or this process's cgroup).
    pub memory_bytes: u64,
    /// The most open files in one sandbox.
    pub open_files: u64,
    /// The most bytes in all sandboxes' files.
    pub files_budget_bytes: u64,
    /// Seconds that calls get to finish on shutdown.
    pub drain_s: u64,
    /// Confines the process (Landlock, seccomp). Turn off only if another sandbox does it.
    pub confine: bool,
}

impl Default for ToolWorkerConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            cache_dir: PathBuf::new(),
            max_calls: cores * 16,
            max_calls_per_organization: None,
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

/// The available memory; 4 GiB if unknown.
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
