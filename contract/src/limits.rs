//! The limits of a run: defaults, what a request may ask for, and the operator's maximum.

use std::fmt;

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};

/// The limits of one run, all set. An outcome names the limit that stopped it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Limits {
    /// Wall-clock time of one run, in milliseconds.
    pub wall_ms: u64,
    /// CPU time of one run, in milliseconds.
    pub cpu_ms: u64,
    /// Linear memory of the sandbox, in bytes, including the interpreter's image.
    pub memory_bytes: u64,
    /// stdout, stderr and results together, in bytes.
    pub output_bytes: u64,
    /// Total size of the sandbox's files, in bytes.
    pub disk_bytes: u64,
    /// Number of files and folders in the sandbox.
    pub files: u64,
}

impl Limits {
    /// The limits of a run that asks for nothing.
    pub const DEFAULT: Self = Self {
        wall_ms: 30_000,
        cpu_ms: 30_000,
        memory_bytes: 512 << 20,
        output_bytes: 4 << 20,
        disk_bytes: 64 << 20,
        files: 1_000,
    };

    /// The most that a run may ask for, unless the operator sets another maximum.
    pub const MAXIMUM: Self = Self {
        wall_ms: 600_000,
        cpu_ms: 600_000,
        memory_bytes: 2 << 30,
        output_bytes: 64 << 20,
        disk_bytes: 512 << 20,
        files: 20_000,
    };

    /// Makes limits one by one: `one` gets each limit's name, its value in the request, its default and its maximum. All
    /// code that treats limits alike goes through here, so that a new limit has one place.
    ///
    /// # Errors
    /// The first error of `one`.
    pub fn combine<E>(
        request: &LimitsRequest,
        default: &Self,
        maximum: &Self,
        mut one: impl FnMut(LimitName, Option<u64>, u64, u64) -> Result<u64, E>,
    ) -> Result<Self, E> {
        let (r, d, m) = (request, default, maximum);
        Ok(Self {
            wall_ms: one(LimitName::WallMs, r.wall_ms, d.wall_ms, m.wall_ms)?,
            cpu_ms: one(LimitName::CpuMs, r.cpu_ms, d.cpu_ms, m.cpu_ms)?,
            memory_bytes: one(LimitName::MemoryBytes, r.memory_bytes, d.memory_bytes, m.memory_bytes)?,
            output_bytes: one(LimitName::OutputBytes, r.output_bytes, d.output_bytes, m.output_bytes)?,
            disk_bytes: one(LimitName::DiskBytes, r.disk_bytes, d.disk_bytes, m.disk_bytes)?,
            files: one(LimitName::Files, r.files, d.files, m.files)?,
        })
    }

    /// The effective limits of a request: its own values, else `default`. Fails if one exceeds `maximum`.
    pub fn resolve(request: &LimitsRequest, default: &Self, maximum: &Self) -> Result<Self, LimitError> {
        Self::combine(request, default, maximum, |name, asked, default, most| {
            match asked.unwrap_or(default.min(most)) {
                asked if asked == 0 || asked > most => Err(LimitError { name, asked, most }),
                value => Ok(value),
            }
        })
    }
}

/// The limits in a request. An absent one gets the default.
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

impl LimitsRequest {
    /// These limits, and those of `other` where these are absent.
    pub fn or(self, other: Self) -> Self {
        Self {
            wall_ms: self.wall_ms.or(other.wall_ms),
            cpu_ms: self.cpu_ms.or(other.cpu_ms),
            memory_bytes: self.memory_bytes.or(other.memory_bytes),
            output_bytes: self.output_bytes.or(other.output_bytes),
            disk_bytes: self.disk_bytes.or(other.disk_bytes),
            files: self.files.or(other.files),
        }
    }
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

/// The name of a limit, as in requests and in `error.name` of an outcome with status `limit`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, EnumString, IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum LimitName {
    WallMs,
    CpuMs,
    MemoryBytes,
    OutputBytes,
    DiskBytes,
    Files,
    /// Files open at the same time. Set by the operator, not by the request.
    OpenFiles,
    /// The interpreter's call stack. Fixed.
    Stack,
    /// Host memory used on the guest's behalf. Fixed.
    HostMemory,
}

impl LimitName {
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    pub fn parse(name: &str) -> Option<Self> {
        name.parse().ok()
    }
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The requested limit is out of range.
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
    fn a_request_is_filled_up_from_another() {
        let asked = |wall_ms, files| LimitsRequest { wall_ms, files, ..LimitsRequest::default() };
        assert_eq!(asked(Some(1), None).or(asked(Some(2), Some(3))), asked(Some(1), Some(3)));
    }

    #[test]
    fn a_default_never_exceeds_the_maximum() {
        let tight = Limits { wall_ms: 5, ..Limits::MAXIMUM };
        let got = Limits::resolve(&LimitsRequest::default(), &Limits::DEFAULT, &tight);
        assert_eq!(got.map(|l| l.wall_ms), Ok(5));
    }
}
