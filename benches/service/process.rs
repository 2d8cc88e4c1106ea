//! Reads a process's data from the kernel: its children, its private memory, its open files.

use std::fs;
use std::path::Path;

use anyhow::Context;

/// The child processes of `parent`, by the kernel's table.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let parent = parent.to_string();
    // The name in parentheses may hold anything; what follows the last one does not.
    let of = |pid: &u32| -> Option<bool> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, tail) = stat.rsplit_once(')')?;
        let mut fields = tail.split_whitespace();
        let alive = fields.next()? != "Z";
        Some(alive && fields.next()? == parent)
    };
    pids.filter(|pid| of(pid).unwrap_or(false)).collect()
}

/// A process's command line, program first; empty if the process is gone.
pub(crate) fn arguments(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).map(|argument| String::from_utf8_lossy(argument).into_owned()).collect()
}

/// Private memory that no file backs: `Private_Dirty` of `smaps_rollup`, in MiB.
pub(crate) fn private_mib(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).context("no Private_Dirty")?;
    let kib: f64 = line.split_whitespace().next().context("no figure")?.parse()?;
    Ok(kib / 1024.0)
}

/// Raises the limit of open files as far as it goes, for rows with a thousand connections.
pub(crate) fn enough_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If it stays too low, connecting fails with a clear error.
    let _ = setrlimit(Resource::Nofile, limit);
}

pub(crate) fn open_files(pid: u32) -> anyhow::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd")).context("its open files")?.count())
}

/// Files and folders below a folder, and the disk space that they take, in MiB.
pub(crate) fn usage(folder: &Path) -> (usize, f64) {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = fs::read_dir(folder) else { return (0, 0.0) };
    entries.filter_map(Result::ok).fold((0, 0.0), |(count, mib), entry| {
        let Ok(about) = entry.metadata() else { return (count, mib) };
        let (below, more) = if about.is_dir() { usage(&entry.path()) } else { (0, 0.0) };
        (count + 1 + below, mib + more + about.blocks() as f64 / 2048.0)
    })
}
