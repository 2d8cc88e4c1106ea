//! The system calls that a confined process may make, and with which arguments.
//!
//! A call that takes a path is allowed only if Landlock decides about it, or if it is refused here: `chmod`, `stat`,
//! `access`, `readlink`, `statfs` and links are. A call that takes a process id is allowed only for this process. A
//! filter cannot look at memory, so no rule depends on a path's text.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule,
};

use super::Profile;

/// System calls that every profile allows with any arguments. None takes a path, and none names another process.
const ALLOWED: &[libc::c_long] = &[
    // memory
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_msync,
    libc::SYS_mincore,
    // open files
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
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_getdents64,
    libc::SYS_copy_file_range,
    libc::SYS_getcwd,
    libc::SYS_flock,
    // waiting
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_sched_yield,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_pipe2,
    libc::SYS_dup,
    libc::SYS_dup3,
    // time, identity, own threads
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
    libc::SYS_getcpu,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_membarrier,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_restart_syscall,
];

/// Calls that take paths about which Landlock decides.
const GOVERNED: &[libc::c_long] = &[libc::SYS_mkdirat, libc::SYS_unlinkat, libc::SYS_renameat, libc::SYS_renameat2];

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
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_epoll_wait,
    libc::SYS_poll,
    libc::SYS_pipe,
    libc::SYS_dup2,
    libc::SYS_arch_prctl,
    libc::SYS_time,
    libc::SYS_epoll_create,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[libc::c_long] = &[];

/// Calls about which only [`refuse_as_unknown`] decides.
const DECIDED_THERE: &[libc::c_long] = &[libc::SYS_clone3, libc::SYS_sched_getaffinity];

/// The clocks of a process have negative numbers that contain its id: in the bits 0x7, 2 is a process's CPU time, and 6
/// that of a thread. The kernel gives the times of threads of this process only.
const CLOCK_OF_SOMEONE: u64 = 0x8000_0000;
const CLOCK_KIND: u64 = CLOCK_OF_SOMEONE | 0x7;
const CLOCK_OF_OWN_THREAD: u64 = CLOCK_OF_SOMEONE | 0x6;

/// The kinds of `ioctl`: `PAGEMAP_SCAN`, non-blocking, close-on-exec, `FICLONE`.
const IOCTLS: [u64; 4] = [0xC060_6610, libc::FIONBIO, libc::FIOCLEX, 0x4004_9409];
/// Naming own threads, and dropping more privileges.
const PRCTLS: [libc::c_int; 4] = [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_NO_NEW_PRIVS, libc::PR_SET_VMA];
/// No command that names an owner: the kernel sends it signals, whoever it is.
const FCNTLS: [libc::c_int; 6] =
    [libc::F_DUPFD, libc::F_DUPFD_CLOEXEC, libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL];

type Rules = Result<Vec<SeccompRule>, BackendError>;

fn when(argument: u8, op: Op, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, Len::Dword, op, value)
}

/// Allows the call if one condition holds.
fn any(conditions: impl IntoIterator<Item = Result<SeccompCondition, BackendError>>) -> Rules {
    conditions.into_iter().map(|condition| SeccompRule::new(vec![condition?])).collect()
}

/// Allows the call if all conditions hold.
fn all(conditions: impl IntoIterator<Item = Result<SeccompCondition, BackendError>>) -> Rules {
    Ok(vec![SeccompRule::new(conditions.into_iter().collect::<Result<_, _>>()?)?])
}

/// Opening: not as a mere path, which Landlock lets through, and not a new file that runs as its owner.
fn opening(flags: u8) -> Rules {
    let set_id = u64::from(libc::S_ISUID | libc::S_ISGID);
    all([when(flags, Op::MaskedEq(libc::O_PATH as u64), 0), when(flags + 1, Op::MaskedEq(set_id), 0)])
}

/// Mapping and protecting. Unless compiled code may come later, no page becomes executable after the start.
fn protecting(profile: Profile) -> Rules {
    match profile {
        Profile::Tools => Ok(Vec::new()),
        Profile::Kernels | Profile::Compile => {
            let not_executable = Op::MaskedEq(libc::PROT_EXEC as u64);
            all([SeccompCondition::new(2, Len::Qword, not_executable, 0)])
        }
    }
}

/// The rules for a profile. An empty list allows any arguments.
fn rules(profile: Profile) -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let connections = if profile == Profile::Compile { &[] } else { CONNECTIONS };
    let lists = [ALLOWED, GOVERNED, ALLOWED_HERE, DECIDED_THERE, connections];
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        lists.into_iter().flatten().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_openat, opening(2)?);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, opening(1)?);
    rules.insert(libc::SYS_mmap, protecting(profile)?);
    rules.insert(libc::SYS_mprotect, protecting(profile)?);
    // Threads, but no processes.
    let thread = libc::CLONE_THREAD as u64;
    rules.insert(libc::SYS_clone, all([SeccompCondition::new(0, Len::Qword, Op::MaskedEq(thread), thread)])?);
    // This process's own limits, and signals to its own threads.
    rules.insert(libc::SYS_prlimit64, any([when(0, Op::Eq, 0)])?);
    rules.insert(libc::SYS_tgkill, any([when(0, Op::Eq, u64::from(std::process::id()))])?);
    let clocks =
        || any([when(0, Op::MaskedEq(CLOCK_OF_SOMEONE), 0), when(0, Op::MaskedEq(CLOCK_KIND), CLOCK_OF_OWN_THREAD)]);
    for call in [libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_clock_nanosleep] {
        rules.insert(call, clocks()?);
    }
    // A runtime wakes itself through a pair of connected local sockets. Datagrams could be sent from it to any path.
    if profile != Profile::Compile {
        let (local, stream) = (libc::AF_UNIX as u64, libc::SOCK_STREAM as u64);
        rules.insert(libc::SYS_socketpair, all([when(0, Op::Eq, local), when(1, Op::MaskedEq(0xF), stream)])?);
    }
    // The engine asks for the size of a component's file. A filter cannot see that the path is empty, so an escaped
    // tool can still learn size and times of a file by its path. The other profiles have `fstat` alone.
    if profile == Profile::Tools {
        let of_open_file = libc::AT_EMPTY_PATH as u64;
        rules.insert(libc::SYS_statx, all([when(2, Op::MaskedEq(of_open_file), of_open_file)])?);
    }
    rules.insert(libc::SYS_ioctl, any(IOCTLS.map(|request| when(1, Op::Eq, request)))?);
    rules.insert(libc::SYS_prctl, any(PRCTLS.map(|option| when(0, Op::Eq, option as u64)))?);
    rules.insert(libc::SYS_fcntl, any(FCNTLS.map(|command| when(1, Op::Eq, command as u64)))?);
    Ok(rules)
}

/// Applies the filters to this thread and those that it starts. Calls that are not allowed return `EPERM`.
pub(super) fn restrict(profile: Profile) -> Result<(), Error> {
    refuse_as_unknown()?;
    apply(rules(profile)?, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow)
}

/// Lets calls fail as on a kernel that has none of them, because glibc then does something else. `clone3` hides its
/// flags from a filter, and glibc goes back to `clone`. The CPUs of a thread are asked for by its id when it starts; of
/// two filters the stricter wins, so that the other one allows both calls.
fn refuse_as_unknown() -> Result<(), Error> {
    let of_another = any([when(0, Op::Ne, 0)])?;
    let refused = BTreeMap::from([(libc::SYS_clone3, Vec::new()), (libc::SYS_sched_getaffinity, of_another)]);
    apply(refused, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))
}

fn apply(rules: BTreeMap<i64, Vec<SeccompRule>>, other: SeccompAction, listed: SeccompAction) -> Result<(), Error> {
    let arch = std::env::consts::ARCH.try_into()?;
    let program: BpfProgram = SeccompFilter::new(rules, other, listed, arch)?.try_into()?;
    seccompiler::apply_filter(&program)
}
