//! Confines a process that handles anything of anybody's before it does: no new privileges, Landlock, seccomp, limits.
//!
//! A guest that broke out of WebAssembly would find itself in a process that may open nothing but the folders that its
//! work needs, make no socket, start no program and look at no other process; where no compiled code has to be mapped
//! after the start, it can make no page executable either. What the kernel does not have is left out and said; the rest
//! still holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    Scope, path_beneath_rules,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::error::Error;

/// What kind of process is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Runs snippets: all compiled code is mapped before, so no page becomes executable.
    Kernels,
    /// Runs tools, whose compiled code is mapped at any time.
    Tools,
    /// Reads and compiles a foreign component, and writes what it made. No connections, no code that runs.
    Compile,
}

/// What a process that compiles may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    pub memory_bytes: u64,
    pub cpu_s: u64,
    /// The largest file that it may write.
    pub file_bytes: u64,
}

/// Bounds this process for good; what asks for more fails or is killed.
pub fn bound(allowance: Allowance) -> Result<(), Error> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let set = |resource, most| {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
            .map_err(|e| Error::Confine(e.to_string()))
    };
    // Private memory that can be written; reservations of address space are free.
    set(Resource::Data, allowance.memory_bytes)?;
    set(Resource::Cpu, allowance.cpu_s)?;
    set(Resource::Fsize, allowance.file_bytes)
}

/// What holds now, in words for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement {
    pub landlock: &'static str,
    pub seccomp: &'static str,
}

/// Confines this process to these folders. Must be called while it has one thread: threads inherit what their maker has.
pub fn confine(profile: Profile, readable: &[PathBuf], writable: Option<&Path>) -> Result<Confinement, Error> {
    let fail = |e: &dyn std::fmt::Display| Error::Confine(e.to_string());
    rustix::process::setrlimit(
        rustix::process::Resource::Core,
        rustix::process::Rlimit { current: Some(0), maximum: Some(0) },
    )
    .map_err(|e| fail(&e))?;
    rustix::thread::set_no_new_privs(true).map_err(|e| fail(&e))?;
    let landlock = restrict_files(readable, writable).map_err(|e| fail(&e))?;
    let seccomp = match refuse_clone3()
        .and_then(|()| filter(profile).and_then(|program| seccompiler::apply_filter(&program)).map_err(|e| fail(&e)))
    {
        Ok(()) => "on",
        Err(error) => {
            tracing::warn!(%error, "this kernel has no seccomp filters; the worker runs without");
            "not available"
        }
    };
    Ok(Confinement { landlock, seccomp })
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
        RulesetStatus::PartiallyEnforced => "on, as far as this kernel has it",
        RulesetStatus::NotEnforced => "not available",
    })
}

/// System calls that every one of these processes may make with any arguments.
const ALLOWED: &[libc::c_long] = &[
    // memory
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_msync,
    libc::SYS_mincore,
    // files: which ones is Landlock's business
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_getdents64,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fcntl,
    libc::SYS_fchmod,
    libc::SYS_copy_file_range,
    libc::SYS_getcwd,
    libc::SYS_flock,
    libc::SYS_readlinkat,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    // waiting
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_sched_yield,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_pipe2,
    libc::SYS_dup,
    libc::SYS_dup3,
    // time, identity, threads of its own
    libc::SYS_clone3,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getppid,
    libc::SYS_getrusage,
    libc::SYS_getrandom,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_membarrier,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_tgkill,
    libc::SYS_tkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_restart_syscall,
    libc::SYS_prlimit64,
    libc::SYS_umask,
];

/// The connections that the controller makes to a worker.
const CONNECTIONS: &[libc::c_long] = &[
    libc::SYS_accept4,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
];

/// The older forms of some of them, where the architecture has them.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[libc::c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_epoll_wait,
    libc::SYS_poll,
    libc::SYS_pipe,
    libc::SYS_dup2,
    libc::SYS_readlink,
    libc::SYS_arch_prctl,
    libc::SYS_time,
    libc::SYS_link,
    libc::SYS_chmod,
    libc::SYS_epoll_create,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[libc::c_long] = &[];

/// The filter: what is not named answers `EPERM`.
fn filter(profile: Profile) -> Result<BpfProgram, seccompiler::Error> {
    let when = |index, len, op, value| SeccompCondition::new(index, len, op, value);
    let without = |index: u8, bits: u64| -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
        Ok(vec![SeccompRule::new(vec![when(index, Len::Qword, Op::MaskedEq(bits), 0)?])?])
    };
    let connections = if profile == Profile::Compile { &[] } else { CONNECTIONS };
    let allowed = ALLOWED.iter().chain(ALLOWED_HERE).chain(connections);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = allowed.map(|call| (*call, Vec::new())).collect();
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        // Without compiled code to come, no page becomes executable after the start.
        let rule = if profile == Profile::Tools { Vec::new() } else { without(2, libc::PROT_EXEC as u64)? };
        rules.insert(call, rule);
    }
    // Threads, no processes.
    let thread = libc::CLONE_THREAD as u64;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![when(0, Len::Qword, Op::MaskedEq(thread), thread)?])?]);
    // A pair of connected local sockets is how a runtime wakes itself.
    if profile != Profile::Compile {
        let local = SeccompRule::new(vec![when(0, Len::Dword, Op::Eq, libc::AF_UNIX as u64)?])?;
        rules.insert(libc::SYS_socketpair, vec![local]);
    }
    let ioctls = [0xC060_6610_u64, libc::FIONBIO, libc::FIOCLEX, 0x4004_9409];
    rules.insert(
        libc::SYS_ioctl,
        ioctls
            .into_iter()
            .map(|request| SeccompRule::new(vec![when(1, Len::Dword, Op::Eq, request)?]))
            .collect::<Result<_, _>>()?,
    );
    // Naming its own threads, and dropping more privileges.
    let prctls = [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_NO_NEW_PRIVS, libc::PR_SET_VMA];
    rules.insert(
        libc::SYS_prctl,
        prctls
            .into_iter()
            .map(|option| SeccompRule::new(vec![when(0, Len::Dword, Op::Eq, option as u64)?]))
            .collect::<Result<_, _>>()?,
    );
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let arch = std::env::consts::ARCH.try_into()?;
    let main = SeccompFilter::new(rules, refuse, SeccompAction::Allow, arch)?;
    Ok(main.try_into()?)
}

/// A filter of its own for `clone3`: its flags cannot be looked at, and glibc falls back to `clone`, whose flags can,
/// when it answers `ENOSYS`. Of two filters the stricter answer counts, so the other one allows it.
fn refuse_clone3() -> Result<(), Error> {
    let build = || -> Result<(), seccompiler::Error> {
        let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
        let arch = std::env::consts::ARCH.try_into()?;
        let refuse = SeccompAction::Errno(libc::ENOSYS as u32);
        let program: BpfProgram = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?.try_into()?;
        seccompiler::apply_filter(&program)
    };
    build().map_err(|e| Error::Confine(e.to_string()))
}
