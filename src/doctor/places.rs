//! Folders, disk, kernels and the port.

use std::net::TcpListener;
use std::path::Path;

use cofferdam_runtime::artifact::ArtifactCache;
use cofferdam_runtime::engine::kernel_engine;
use cofferdam_runtime::kernel::manifest::Manifest;
use cofferdam_runtime::kernel::prepare::{Keys, is_prepared};

use super::{Finding, Grade};
use crate::folders::Folders;

/// Less free disk than this is a failure; less than four times as much a warning. In bytes.
const NEEDED: u64 = 1 << 30;

pub(super) fn data(folder: &Path) -> Finding {
    let probe = folder.join(".doctor");
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&probe, b"x"));
    match written.and_then(|()| std::fs::remove_file(&probe)) {
        Ok(()) => Finding::new(Grade::Ok, "data folder", format!("{} can be written", folder.display())),
        Err(error) => {
            let detail = format!("{}: {error}. Name another with --data-dir.", folder.display());
            Finding::new(Grade::Fail, "data folder", detail)
        }
    }
}

pub(super) fn disk(folder: &Path) -> Finding {
    let free = match rustix::fs::statvfs(folder) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(error) => return Finding::new(Grade::Warn, "disk", format!("free space is not known: {error}")),
    };
    let detail = format!("{} MiB free", free >> 20);
    match free {
        0..NEEDED => Finding::new(Grade::Fail, "disk", format!("{detail}; the cache alone needs up to 1 GiB")),
        _ if free < 4 * NEEDED => Finding::new(Grade::Warn, "disk", format!("{detail}; suspended sessions need room")),
        _ => Finding::new(Grade::Ok, "disk", detail),
    }
}

pub(super) fn kernels(data_dir: &Path, folders: &Folders) -> Vec<Finding> {
    examine_kernels(data_dir, folders)
        .unwrap_or_else(|error| vec![Finding::new(Grade::Fail, "kernels", format!("{error:#}"))])
}

fn examine_kernels(data_dir: &Path, folders: &Folders) -> anyhow::Result<Vec<Finding>> {
    let engine = kernel_engine().map_err(|e| anyhow::anyhow!("{e:#}"))?;
    let cache = ArtifactCache::open(&folders.cache(data_dir)?)?;
    let mut findings = Vec::new();
    for folder in Manifest::folders(&folders.kernels()?)? {
        let manifest = Manifest::read(&folder)?;
        let name = format!("{} {}", manifest.name, manifest.version);
        findings.push(if is_prepared(&cache, &Keys::of(&folder, &manifest, &engine)?) {
            Finding::new(Grade::Ok, "kernel", format!("{name}: compiled, image made"))
        } else {
            Finding::new(Grade::Warn, "kernel", format!("{name}: the next start compiles it, which takes a while"))
        });
    }
    Ok(findings)
}

pub(super) fn port(listen: &str) -> Finding {
    match TcpListener::bind(listen) {
        Ok(_) => Finding::new(Grade::Ok, "port", format!("{listen} is free")),
        Err(error) => {
            let detail = format!("{listen}: {error}. Something listens there, or choose another with --listen.");
            Finding::new(Grade::Warn, "port", detail)
        }
    }
}
