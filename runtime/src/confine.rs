//! Confines a process before it touches untrusted data: no new privileges, Landlock, seccomp, resource limits.
//!
//! A guest that escaped WebAssembly would be in a process that can open only the folders it needs, create no sockets,
//! start no programs and inspect no other process. Unless compiled code must be mapped later, it cannot make pages
//! executable either. Features that the kernel lacks are skipped and reported; the rest still applies.

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
    let seccomp = match refuse_clone3()
        .and_then(|()| filter(profile).and_then(|program| seccompiler::apply_filter(&program)).map_err(|e| fail(&e)))
    {
        Ok(()) => "on",
        Err(error) => {
            tracing::warn!(%error, "seccomp is not available; the worker runs without it");
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
        RulesetStatus::PartiallyEnforced => "on, as far as this kernel supports it",
        RulesetStatus::NotEnforced => "not available",
    })
}

/// System calls that every profile allows with any arguments.
const ALLOWED: &[libc::c_long] = &[
    // memory
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_msync,
    libc::SYS_mincore,
    // files: Landlock decides which ones
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
    // time, identity, own threads
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

/// For the connections that the controller makes to a worker.
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

/// Older variants of some of them, on architectures that have them.
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

/// The filter. System calls that are not listed return `EPERM`.
fn filter(profile: Profile) -> Result<BpfProgram, seccompiler::Error> {
    let when = |index, len, op, value| SeccompCondition::new(index, len, op, value);
    let without = |index: u8, bits: u64| -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
        Ok(vec![SeccompRule::new(vec![when(index, Len::Qword, Op::MaskedEq(bits), 0)?])?])
    };
    let connections = if profile == Profile::Compile { &[] } else { CONNECTIONS };
    let allowed = ALLOWED.iter().chain(ALLOWED_HERE).chain(connections);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = allowed.map(|call| (*call, Vec::new())).collect();
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        // Unless compiled code may come later, no page becomes executable after the start.
        let rule = if profile == Profile::Tools { Vec::new() } else { without(2, libc::PROT_EXEC as u64)? };
        rules.insert(call, rule);
    }
    // Threads, but no processes.
    let thread = libc::CLONE_THREAD as u64;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![when(0, Len::Qword, Op::MaskedEq(thread), thread)?])?]);
    // A runtime wakes itself through a pair of connected local sockets.
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
    // Naming own threads, and dropping more privileges.
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

/// A separate filter for `clone3`, whose flags a filter cannot inspect. On `ENOSYS`, glibc falls back to `clone`, whose
/// flags it can. The stricter of two filters wins, so the other one allows `clone3`.
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
