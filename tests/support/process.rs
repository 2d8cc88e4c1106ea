//! Reads a process's data from `/proc`: its children, its environment, its handles, its memory.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

fn read(pid: u32, file: &str) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default()
}

/// The words of a process's command line.
pub(crate) fn command_line(pid: u32) -> Vec<String> {
    words(&read(pid, "cmdline"))
}

/// The variables that a process was started with.
pub(crate) fn environment(pid: u32) -> Vec<String> {
    words(&read(pid, "environ"))
}

fn words(bytes: &[u8]) -> Vec<String> {
    bytes.split(|b| *b == 0).filter(|w| !w.is_empty()).map(|w| String::from_utf8_lossy(w).into_owned()).collect()
}

/// A line of `/proc/{pid}/status`, without its name.
pub(crate) fn status(pid: u32, name: &str) -> Option<String> {
    let text = String::from_utf8(read(pid, "status")).ok()?;
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()))
}

/// The soft limit of open files.
pub(crate) fn open_files_limit(pid: u32) -> String {
    let text = String::from_utf8(read(pid, "limits")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()).expect("a limit").to_owned()
}

pub(crate) fn parent(pid: u32) -> Option<u32> {
    status(pid, "PPid")?.parse().ok()
}

/// The child of `parent_pid` that has `word` among its arguments; any child if there is no word.
pub(crate) fn child_with(parent_pid: u32, word: &str) -> Option<u32> {
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        parent(*pid) == Some(parent_pid) && (word.is_empty() || command_line(*pid).iter().any(|w| w == word))
    })
}

/// The targets of a process's file handles.
pub(crate) fn open_handles(pid: u32) -> Vec<String> {
    let Ok(list) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    list.filter_map(|entry| Some(fs::read_link(entry.ok()?.path()).ok()?.display().to_string())).collect()
}

/// Private memory of a process in KiB: anonymous pages, private copies of file pages, and swap.
pub(crate) fn private_kib(pid: u32) -> u64 {
    let text = String::from_utf8(read(pid, "smaps_rollup")).unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    field("Private_Dirty:") + field("Swap:")
}

/// Memory areas of a process.
pub(crate) fn mappings(pid: u32) -> usize {
    read(pid, "maps").iter().filter(|b| **b == b'\n').count()
}

/// The number of files and folders below a folder, without the folder itself.
pub(crate) fn entries(folder: &Path) -> usize {
    let Ok(list) = fs::read_dir(folder) else { return 0 };
    list.filter_map(Result::ok).map(|entry| 1 + if entry.path().is_dir() { entries(&entry.path()) } else { 0 }).sum()
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    let _ = kill_process(pid, signal);
}
