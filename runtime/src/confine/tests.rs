//! Confines a child of the test, which then tries every system call that takes a path or a process id.

use std::ffi::CString;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::memory::raw_call;

const PROFILE: &str = "COFFERDAM_TEST_PROFILE";
const INSIDE: &str = "COFFERDAM_TEST_INSIDE";
const OUTSIDE: &str = "COFFERDAM_TEST_OUTSIDE";
const REFUSED: [i32; 3] = [libc::EPERM, libc::EACCES, libc::ENOSYS];

/// One try: a name, the call, its arguments.
type Try = (&'static str, libc::c_long, [usize; 6]);

fn text(path: &Path) -> &'static std::ffi::CStr {
    Box::leak(CString::new(path.as_os_str().as_bytes()).unwrap().into_boxed_c_str())
}

/// Every call that takes a path, with `outside/file`.
fn with_paths(outside: &Path) -> Vec<Try> {
    let at = libc::AT_FDCWD as usize;
    let file = text(&outside.join("file")).as_ptr() as usize;
    let new = text(&outside.join("new")).as_ptr() as usize;
    let (creating, read_write) = ((libc::O_CREAT | libc::O_RDWR) as usize, libc::O_RDWR as usize);
    let mut tries = vec![
        ("openat", libc::SYS_openat, [at, file, 0, 0, 0, 0]),
        ("openat to write", libc::SYS_openat, [at, file, read_write, 0, 0, 0]),
        ("openat to create", libc::SYS_openat, [at, new, creating, 0o600, 0, 0]),
        ("openat as a path", libc::SYS_openat, [at, file, libc::O_PATH as usize, 0, 0, 0]),
        ("openat2", libc::SYS_openat2, [at, file, 0, 0, 0, 0]),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, [at, 0, 0, 0, 0, 0]),
        ("name_to_handle_at", libc::SYS_name_to_handle_at, [at, file, 0, 0, 0, 0]),
        ("newfstatat", libc::SYS_newfstatat, [at, file, 0, 0, 0, 0]),
        ("newfstatat, empty path", libc::SYS_newfstatat, [at, file, 0, libc::AT_EMPTY_PATH as usize, 0, 0]),
        ("statx", libc::SYS_statx, [at, file, 0, libc::STATX_ALL as usize, 0, 0]),
        ("faccessat", libc::SYS_faccessat, [at, file, 0, 0, 0, 0]),
        ("faccessat2", libc::SYS_faccessat2, [at, file, 0, 0, 0, 0]),
        ("readlinkat", libc::SYS_readlinkat, [at, file, 0, 10, 0, 0]),
        ("statfs", libc::SYS_statfs, [file, 0, 0, 0, 0, 0]),
        ("fchmodat", libc::SYS_fchmodat, [at, file, 0o4755, 0, 0, 0]),
        ("fchmodat2", 452, [at, file, 0o4755, 0, 0, 0]),
        ("fchownat", libc::SYS_fchownat, [at, file, 1, 1, 0, 0]),
        ("utimensat", libc::SYS_utimensat, [at, file, 0, 0, 0, 0]),
        ("truncate", libc::SYS_truncate, [file, 0, 0, 0, 0, 0]),
        ("setxattr", libc::SYS_setxattr, [file, file, 0, 0, 0, 0]),
        ("getxattr", libc::SYS_getxattr, [file, file, 0, 0, 0, 0]),
        ("listxattr", libc::SYS_listxattr, [file, 0, 0, 0, 0, 0]),
        ("removexattr", libc::SYS_removexattr, [file, file, 0, 0, 0, 0]),
        ("mkdirat", libc::SYS_mkdirat, [at, new, 0o700, 0, 0, 0]),
        ("mknodat", libc::SYS_mknodat, [at, new, libc::S_IFIFO as usize, 0, 0, 0]),
        ("unlinkat", libc::SYS_unlinkat, [at, file, 0, 0, 0, 0]),
        ("renameat", libc::SYS_renameat, [at, file, at, new, 0, 0]),
        ("renameat2", libc::SYS_renameat2, [at, file, at, new, 0, 0]),
        ("linkat", libc::SYS_linkat, [at, file, at, new, 0, 0]),
        ("symlinkat", libc::SYS_symlinkat, [file, at, new, 0, 0, 0]),
        ("chdir", libc::SYS_chdir, [file, 0, 0, 0, 0, 0]),
        ("chroot", libc::SYS_chroot, [file, 0, 0, 0, 0, 0]),
        ("mount", libc::SYS_mount, [file, file, 0, 0, 0, 0]),
        ("umount2", libc::SYS_umount2, [file, 0, 0, 0, 0, 0]),
        ("execve", libc::SYS_execve, [file, 0, 0, 0, 0, 0]),
        ("execveat", libc::SYS_execveat, [at, file, 0, 0, 0, 0]),
        ("swapon", libc::SYS_swapon, [file, 0, 0, 0, 0, 0]),
        ("inotify_add_watch", libc::SYS_inotify_add_watch, [0, file, 1, 0, 0, 0]),
        ("socket", libc::SYS_socket, [libc::AF_UNIX as usize, libc::SOCK_STREAM as usize, 0, 0, 0, 0]),
        (
            "socketpair of datagrams",
            libc::SYS_socketpair,
            [libc::AF_UNIX as usize, libc::SOCK_DGRAM as usize, 0, 0, 0, 0],
        ),
    ];
    #[cfg(target_arch = "x86_64")]
    tries.extend([
        ("open", libc::SYS_open, [file, 0, 0, 0, 0, 0]),
        ("open as a path", libc::SYS_open, [file, libc::O_PATH as usize, 0, 0, 0, 0]),
        ("creat", libc::SYS_creat, [new, 0o600, 0, 0, 0, 0]),
        ("stat", libc::SYS_stat, [file, 0, 0, 0, 0, 0]),
        ("lstat", libc::SYS_lstat, [file, 0, 0, 0, 0, 0]),
        ("access", libc::SYS_access, [file, 0, 0, 0, 0, 0]),
        ("readlink", libc::SYS_readlink, [file, 0, 10, 0, 0, 0]),
        ("chmod", libc::SYS_chmod, [file, 0o4755, 0, 0, 0, 0]),
        ("chown", libc::SYS_chown, [file, 1, 1, 0, 0, 0]),
        ("lchown", libc::SYS_lchown, [file, 1, 1, 0, 0, 0]),
        ("utime", libc::SYS_utime, [file, 0, 0, 0, 0, 0]),
        ("mkdir", libc::SYS_mkdir, [new, 0o700, 0, 0, 0, 0]),
        ("rmdir", libc::SYS_rmdir, [text(outside).as_ptr() as usize, 0, 0, 0, 0, 0]),
        ("unlink", libc::SYS_unlink, [file, 0, 0, 0, 0, 0]),
        ("rename", libc::SYS_rename, [file, new, 0, 0, 0, 0]),
        ("link", libc::SYS_link, [file, new, 0, 0, 0, 0]),
        ("symlink", libc::SYS_symlink, [file, new, 0, 0, 0, 0]),
        ("mknod", libc::SYS_mknod, [new, libc::S_IFIFO as usize, 0, 0, 0, 0]),
    ]);
    tries
}

/// Every call that takes a process id, with that of another process.
fn with_ids(id: usize, file: usize) -> Vec<Try> {
    // The number of the clock of a process's CPU time.
    let clock = ((!(id as u32)) << 3 | 2) as usize;
    let owner = libc::F_SETOWN as usize;
    vec![
        ("prlimit64", libc::SYS_prlimit64, [id, libc::RLIMIT_CORE as usize, 0, 0, 0, 0]),
        ("kill", libc::SYS_kill, [id, 0, 0, 0, 0, 0]),
        ("tkill", libc::SYS_tkill, [id, 0, 0, 0, 0, 0]),
        ("tgkill", libc::SYS_tgkill, [id, id, 0, 0, 0, 0]),
        ("rt_sigqueueinfo", libc::SYS_rt_sigqueueinfo, [id, 0, 0, 0, 0, 0]),
        ("pidfd_open", libc::SYS_pidfd_open, [id, 0, 0, 0, 0, 0]),
        ("ptrace", libc::SYS_ptrace, [libc::PTRACE_ATTACH as usize, id, 0, 0, 0, 0]),
        ("process_vm_readv", libc::SYS_process_vm_readv, [id, 0, 0, 0, 0, 0]),
        ("process_vm_writev", libc::SYS_process_vm_writev, [id, 0, 0, 0, 0, 0]),
        ("kcmp", libc::SYS_kcmp, [id, id, 0, 0, 0, 0]),
        ("get_robust_list", libc::SYS_get_robust_list, [id, 0, 0, 0, 0, 0]),
        ("sched_getaffinity", libc::SYS_sched_getaffinity, [id, 0, 0, 0, 0, 0]),
        ("sched_setaffinity", libc::SYS_sched_setaffinity, [id, 0, 0, 0, 0, 0]),
        ("sched_setscheduler", libc::SYS_sched_setscheduler, [id, 0, 0, 0, 0, 0]),
        ("sched_getparam", libc::SYS_sched_getparam, [id, 0, 0, 0, 0, 0]),
        ("setpriority", libc::SYS_setpriority, [0, id, 1, 0, 0, 0]),
        ("getpriority", libc::SYS_getpriority, [0, id, 0, 0, 0, 0]),
        ("ioprio_set", libc::SYS_ioprio_set, [1, id, 0, 0, 0, 0]),
        ("getpgid", libc::SYS_getpgid, [id, 0, 0, 0, 0, 0]),
        ("setpgid", libc::SYS_setpgid, [id, id, 0, 0, 0, 0]),
        ("getsid", libc::SYS_getsid, [id, 0, 0, 0, 0, 0]),
        ("capget", libc::SYS_capget, [0, 0, 0, 0, 0, 0]),
        ("capset", libc::SYS_capset, [0, 0, 0, 0, 0, 0]),
        ("wait4", libc::SYS_wait4, [id, 0, libc::WNOHANG as usize, 0, 0, 0]),
        ("migrate_pages", libc::SYS_migrate_pages, [id, 0, 0, 0, 0, 0]),
        ("move_pages", libc::SYS_move_pages, [id, 0, 0, 0, 0, 0]),
        ("perf_event_open", libc::SYS_perf_event_open, [0, id, usize::MAX, usize::MAX, 0, 0]),
        ("clock_gettime of a process", libc::SYS_clock_gettime, [clock, 0, 0, 0, 0, 0]),
        ("clock_getres of a process", libc::SYS_clock_getres, [clock, 0, 0, 0, 0, 0]),
        ("clock_nanosleep of a process", libc::SYS_clock_nanosleep, [clock, 0, 0, 0, 0, 0]),
        ("fcntl with an owner", libc::SYS_fcntl, [file, owner, id, 0, 0, 0]),
    ]
}

/// The child. It ends without going back into the test harness, which is not confined.
fn child(profile: &str, inside: &Path, outside: &Path) -> ! {
    let profile = match profile {
        "kernels" => Profile::Kernels,
        "tools" => Profile::Tools,
        _ => Profile::Compile,
    };
    // What the user's rights would keep out is open to it here: the other defences have to hold alone.
    own_user::give(outside).unwrap();
    let becomes_another = own_user::is_possible();
    let inside = &own_user::work_in(inside).unwrap();
    own_user::give(inside).unwrap();
    let file = fs::File::create(inside.join("file")).unwrap();
    let mut status = fs::File::open("/proc/thread-self/status").unwrap();
    let may_bound = capabilities(None).unwrap().effective.contains(CapabilitySet::SETPCAP);
    let confinement = confine(profile, &[], Some(inside)).unwrap();
    let mut failures = Vec::new();
    let mut text_of_status = String::new();
    status.read_to_string(&mut text_of_status).unwrap();
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        let line = text_of_status.lines().find(|line| line.starts_with(set)).unwrap();
        let empty = u64::from_str_radix(line[set.len()..].trim(), 16).unwrap() == 0;
        if !empty && (may_bound || set != "CapBnd:") {
            failures.push(format!("capabilities are left: {line}"));
        }
    }
    let user = text_of_status.lines().find(|line| line.starts_with("Uid:")).unwrap();
    if becomes_another && user.split_whitespace().skip(1).any(|id| id != own_user::OWN_ID.to_string()) {
        failures.push(format!("it is still root: {user}"));
    }
    let parent = rustix::process::getppid().unwrap().as_raw_nonzero().get() as usize;
    let mut tries = with_paths(outside);
    tries.extend([1, parent].into_iter().flat_map(|id| with_ids(id, file.as_raw_fd() as usize)));
    // A new file that runs as its owner, even where files may be made.
    let new = text(&inside.join("new")).as_ptr() as usize;
    let creating = (libc::O_CREAT | libc::O_RDWR) as usize;
    let at = libc::AT_FDCWD as usize;
    tries.push(("openat, set-user-ID", libc::SYS_openat, [at, new, creating, 0o4755, 0, 0]));
    tries.push(("fchmod", libc::SYS_fchmod, [file.as_raw_fd() as usize, 0o4755, 0, 0, 0, 0]));
    for (name, call, arguments) in tries {
        let error = raw_call(call, arguments);
        if !REFUSED.contains(&error) {
            failures.push(format!("{name}: {}", std::io::Error::from_raw_os_error(error)));
        }
    }
    // It can still do its own work.
    let mut works = |name: &str, result: std::io::Result<()>| {
        if let Err(error) = result {
            failures.push(format!("{name} does not work: {error}"));
        }
    };
    works("making a folder", fs::create_dir(inside.join("folder")));
    works("writing", fs::File::create(inside.join("folder/a")).and_then(|mut file| file.write_all(b"text")));
    works("renaming", fs::rename(inside.join("folder/a"), inside.join("folder/b")));
    works("reading", fs::read(inside.join("folder/b")).map(|_| ()));
    works("deleting", fs::remove_file(inside.join("folder/b")));
    works("an unnamed file", tempfile::tempfile_in(inside).map(|_| ()));
    works("a thread", std::thread::Builder::new().spawn(|| ()).map(|thread| thread.join().unwrap()));
    works("the CPU time of a thread", {
        let _ = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Ok(())
    });
    let held = fs::File::open("/proc/self/status").is_ok();
    println!("landlock {}, seccomp {}, /proc {held}", confinement.landlock, confinement.seccomp);
    println!("{}", failures.join("\n"));
    std::process::exit(if failures.is_empty() { 7 } else { 1 });
}

/// Runs this test again as a confined child.
fn confined(test: &str, profile: &str) {
    let folder = tempfile::tempdir().unwrap();
    let [inside, outside] = ["inside", "outside"].map(|name| folder.path().join(name));
    fs::create_dir(&inside).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "untouched").unwrap();
    for (path, mode) in [(outside.join("file"), 0o644), (outside.clone(), 0o755), (folder.path().to_owned(), 0o755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .envs([(PROFILE, profile.as_ref()), (INSIDE, inside.as_os_str()), (OUTSIDE, outside.as_os_str())])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(7), "{profile}: {said}{}", String::from_utf8_lossy(&output.stderr));
    let about = fs::metadata(outside.join("file")).unwrap();
    assert_eq!((about.permissions().mode() & 0o7777, about.len()), (0o644, 9));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn no_call_reaches_a_file_outside_or_another_process() {
    let variable = |name| std::env::var_os(name);
    if let (Some(profile), Some(inside), Some(outside)) = (variable(PROFILE), variable(INSIDE), variable(OUTSIDE)) {
        child(&profile.to_string_lossy(), Path::new(&inside), Path::new(&outside));
    }
    for profile in ["kernels", "tools", "compile"] {
        confined("confine::tests::no_call_reaches_a_file_outside_or_another_process", profile);
    }
}
