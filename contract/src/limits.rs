//! The bounds of a run: defaults, what a request may ask, what the operator allows at most.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The bounds of one run, all of them set. Every one of them has a name that an outcome can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Limits {
    /// Wall-clock time of one run, in milliseconds.
    pub wall_ms: u64,
    /// CPU time of one run, in milliseconds.
    pub cpu_ms: u64,
    /// Linear memory of the sandbox, in bytes. The interpreter's own image counts.
    pub memory_bytes: u64,
    /// stdout, stderr and results together, in bytes.
    pub output_bytes: u64,
    /// Everything the sandbox keeps in files, in bytes.
    pub disk_bytes: u64,
    /// Files and folders the sandbox may have.
    pub files: u64,
}

impl Limits {
    /// What a run gets that asks for nothing.
    pub const DEFAULT: Self = Self {
        wall_ms: 30_000,
        cpu_ms: 30_000,
        memory_bytes: 512 << 20,
        output_bytes: 4 << 20,
        disk_bytes: 64 << 20,
        files: 1_000,
    };

    /// What a run may ask at most, unless the operator says otherwise.
    pub const MAXIMUM: Self = Self {
        wall_ms: 600_000,
        cpu_ms: 600_000,
        memory_bytes: 2 << 30,
        output_bytes: 64 << 20,
        disk_bytes: 512 << 20,
        files: 20_000,
    };

    fn fields(&self) -> [(LimitName, u64); 6] {
        [
            (LimitName::WallMs, self.wall_ms),
            (LimitName::CpuMs, self.cpu_ms),
            (LimitName::MemoryBytes, self.memory_bytes),
            (LimitName::OutputBytes, self.output_bytes),
            (LimitName::DiskBytes, self.disk_bytes),
            (LimitName::Files, self.files),
        ]
    }

    /// The effective limits of a request: what it asks, else `default`; refused where it asks for more than `maximum`.
    pub fn resolve(request: &LimitsRequest, default: &Self, maximum: &Self) -> Result<Self, LimitError> {
        let effective = Self {
            wall_ms: request.wall_ms.unwrap_or(default.wall_ms.min(maximum.wall_ms)),
            cpu_ms: request.cpu_ms.unwrap_or(default.cpu_ms.min(maximum.cpu_ms)),
            memory_bytes: request.memory_bytes.unwrap_or(default.memory_bytes.min(maximum.memory_bytes)),
            output_bytes: request.output_bytes.unwrap_or(default.output_bytes.min(maximum.output_bytes)),
            disk_bytes: request.disk_bytes.unwrap_or(default.disk_bytes.min(maximum.disk_bytes)),
            files: request.files.unwrap_or(default.files.min(maximum.files)),
        };
        for ((name, asked), (_, most)) in effective.fields().into_iter().zip(maximum.fields()) {
            if asked == 0 || asked > most {
                return Err(LimitError { name, asked, most });
            }
        }
        Ok(effective)
    }
}

/// What a request may say of its limits; what it leaves out gets the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LimitsRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
}

impl From<Limits> for LimitsRequest {
    fn from(limits: Limits) -> Self {
        Self {
            wall_ms: Some(limits.wall_ms),
            cpu_ms: Some(limits.cpu_ms),
            memory_bytes: Some(limits.memory_bytes),
            output_bytes: Some(limits.output_bytes),
            disk_bytes: Some(limits.disk_bytes),
            files: Some(limits.files),
        }
    }
}

/// The name of a limit, as it stands in requests and in `error.name` of an outcome with status `limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum LimitName {
    WallMs,
    CpuMs,
    MemoryBytes,
    OutputBytes,
    DiskBytes,
    Files,
    /// Files open at the same time: the operator's, not the request's.
    OpenFiles,
    /// The interpreter's call stack: fixed.
    Stack,
    /// What the host keeps in memory on the guest's behalf: fixed.
    HostMemory,
}

impl LimitName {
    pub const ALL: [Self; 9] = [
        Self::WallMs,
        Self::CpuMs,
        Self::MemoryBytes,
        Self::OutputBytes,
        Self::DiskBytes,
        Self::Files,
        Self::OpenFiles,
        Self::Stack,
        Self::HostMemory,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::WallMs => "wall_ms",
            Self::CpuMs => "cpu_ms",
            Self::MemoryBytes => "memory_bytes",
            Self::OutputBytes => "output_bytes",
            Self::DiskBytes => "disk_bytes",
            Self::Files => "files",
            Self::OpenFiles => "open_files",
            Self::Stack => "stack",
            Self::HostMemory => "host_memory",
        }
    }
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A limit that was asked for and is not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("limits.{name} is {asked}; this server allows 1 to {most}")]
pub struct LimitError {
    pub name: LimitName,
    pub asked: u64,
    pub most: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_gets_what_it_asks_within_the_operators_maximum() {
        let check = |wall: Option<u64>, expected: Result<u64, LimitName>| {
            let request = LimitsRequest { wall_ms: wall, ..LimitsRequest::default() };
            let got = Limits::resolve(&request, &Limits::DEFAULT, &Limits::MAXIMUM);
            assert_eq!(got.map(|l| l.wall_ms).map_err(|e| e.name), expected, "{wall:?}");
        };
        check(None, Ok(Limits::DEFAULT.wall_ms));
        check(Some(1), Ok(1));
        check(Some(Limits::MAXIMUM.wall_ms), Ok(Limits::MAXIMUM.wall_ms));
        check(Some(Limits::MAXIMUM.wall_ms + 1), Err(LimitName::WallMs));
        check(Some(0), Err(LimitName::WallMs));
        check(Some(u64::MAX), Err(LimitName::WallMs));
    }

    #[test]
    fn a_default_never_exceeds_the_maximum() {
        let tight = Limits { wall_ms: 5, ..Limits::MAXIMUM };
        let got = Limits::resolve(&LimitsRequest::default(), &Limits::DEFAULT, &tight);
        assert_eq!(got.map(|l| l.wall_ms), Ok(5));
    }
}
