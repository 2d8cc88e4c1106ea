//! Confines a process before it touches untrusted data: no new privileges, no capabilities, a user of its own where it was
//! started as root, Landlock, seccomp, resource limits.
//!
//! A guest that escaped WebAssembly would be in a process that can open only the folders it needs, create no sockets,
//! start no programs and inspect no other process. Unless compiled code must be mapped later, it cannot make pages executable either. Features that the
//! kernel lacks are skipped and reported; the rest still applies.

mod calls;
pub(crate) mod own_user;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    Scope, path_beneath_rules,
};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities,
};

use crate::error::Error;

/// The kind of process to confine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Runs snippets. All compiled code is mapped beforehand, so no page becomes executable.
    Kernels,
    /// Runs tools, whose compiled code may be mapped at any time.
    Tools,
    /// Reads and compiles an untrusted component and writes the result. No connections, and it runs no guest code.
    Compile,
}

/// The resources that a compiling process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub memory_bytes: u64,
    pub cpu_s: u64,
    /// The largest file it may write.
    pub file_bytes: u64,
}

/// Limits this process permanently. Exceeding a limit fails or kills it.
pub(crate) fn bound(allowance: Allowance) -> Result<(), Error> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let set = |resource, most| {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
            .map_err(|e| Error::Confine(e.to_string()))
    };
    // Writable private memory. Reserved address space does not count.
    set(Resource::Data, allowance.memory_bytes)?;
    set(Resource::Cpu, allowance.cpu_s)?;
    set(Resource::Fsize, allowance.file_bytes)
}

/// The confinement in effect, described for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Confinement {
    pub landlock: &'static str,
    pub seccomp: &'static str,
    pub user: &'static str,
}

/// Confines this process to these folders. Call it while there is only one thread, because threads inherit it.
pub(crate) fn confine(profile: Profile, readable: &[PathBuf], writable: Option<&Path>) -> Result<Confinement, Error> {
    let fail = |e: &dyn std::fmt::Display| Error::Confine(e.to_string());
    rustix::process::setrlimit(
        rustix::process::Resource::Core,
        rustix::process::Rlimit { current: Some(0), maximum: Some(0) },
    )
    .map_err(|e| fail(&e))?;
    rustix::thread::set_no_new_privs(true).map_err(|e| fail(&e))?;
    let landlock = restrict_files(readable, writable).map_err(|e| fail(&e))?;
    drop_bounds().map_err(|e| fail(&e))?;
    let user = own_user::leave_root().map_err(|e| fail(&e))?;
    drop_capabilities().map_err(|e| fail(&e))?;
    let seccomp = match calls::restrict(profile).map_err(|e| fail(&e)) {
        Ok(()) => "on",
        Err(error) => {
            tracing::warn!(%error, "seccomp is not available; the worker runs without it");
            "not available"
        }
    };
    Ok(Confinement { landlock, seccomp, user })
}

fn restrict_files(readable: &[PathBuf], writable: Option<&Path>) -> Result<&'static str, landlock::RulesetError> {
    let abi = ABI::V6;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(readable, AccessFs::from_read(abi) & !AccessFs::Execute))?
        .add_rules(path_beneath_rules(writable, AccessFs::from_all(abi) & !AccessFs::Execute))?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => "on",
        RulesetStatus::PartiallyEnforced => "on, as far as this kernel supports it",
        RulesetStatus::NotEnforced => "not available",
    })
}

/// Empties the bounding set, if this process may: it bounds what a program that is started could get, and no program can
/// be started.
fn drop_bounds() -> Result<(), Errno> {
    if !capabilities(None)?.effective.contains(CapabilitySet::SETPCAP) {
        return Ok(());
    }
    for bit in 0..u64::BITS {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
            // The kernel has no such capability.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Gives up every capability of this process.
fn drop_capabilities() -> Result<(), Errno> {
    match clear_ambient_capability_set() {
        // Linux before 4.3 has no such set.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(error),
    }
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}
