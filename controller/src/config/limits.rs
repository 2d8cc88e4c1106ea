//! Parses the limits of runs: the defaults and the maximums.

use cofferdam_contract::{Limits, LimitsRequest};
use cofferdam_core::{ConfigError, Source};
use cofferdam_policy::LimitsConfig;

use super::ConfigFile;

pub(super) fn parse(source: &Source<'_>, file: &ConfigFile) -> Result<LimitsConfig, ConfigError> {
    Ok(LimitsConfig {
        default: limits(source, "COFFERDAM_DEFAULT_", &file.limits.default, Limits::DEFAULT)?,
        maximum: limits(source, "COFFERDAM_MAX_", &file.limits.maximum, Limits::MAXIMUM)?,
    })
}

fn limits(source: &Source<'_>, prefix: &str, file: &LimitsRequest, base: Limits) -> Result<Limits, ConfigError> {
    let number = |name: &str, file, base| source.number(&format!("{prefix}{name}"), file, base);
    Ok(Limits {
        wall_ms: number("WALL_MS", file.wall_ms, base.wall_ms)?,
        cpu_ms: number("CPU_MS", file.cpu_ms, base.cpu_ms)?,
        memory_bytes: number("MEMORY_BYTES", file.memory_bytes, base.memory_bytes)?,
        output_bytes: number("OUTPUT_BYTES", file.output_bytes, base.output_bytes)?,
        disk_bytes: number("DISK_BYTES", file.disk_bytes, base.disk_bytes)?,
        files: number("FILES", file.files, base.files)?,
    })
}
