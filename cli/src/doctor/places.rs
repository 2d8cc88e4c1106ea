//! Checks the data folder, the disk and the port.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;

use super::{Finding, Grade};

/// The free disk space, in bytes, below which the check fails. It warns below four times as much.
const MIN_FREE_BYTES: u64 = 1 << 30;

pub(super) fn data(folder: &Path) -> Finding {
    let probe = folder.join(".doctor");
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&probe, b"x"));
    match written.and_then(|()| std::fs::remove_file(&probe)) {
        Ok(()) => Finding::new(Grade::Ok, "data folder", format!("{} can be written", folder.display())),
        Err(error) => {
            let detail = format!("{}: {error}. Choose another with --data-dir.", folder.display());
            Finding::new(Grade::Fail, "data folder", detail)
        }
    }
}

pub(super) fn disk(folder: &Path) -> Finding {
    let free = match rustix::fs::statvfs(folder) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(error) => return Finding::new(Grade::Warn, "disk", format!("the free space is not known: {error}")),
    };
    let detail = format!("{} MiB free", free >> 20);
    match free {
        0..MIN_FREE_BYTES => Finding::new(Grade::Fail, "disk", format!("{detail}; the cache alone needs up to 1 GiB")),
        _ if free < 4 * MIN_FREE_BYTES => {
            Finding::new(Grade::Warn, "disk", format!("{detail}; suspended sessions need room"))
        }
        _ => Finding::new(Grade::Ok, "disk", detail),
    }
}

pub(super) fn port(listen: &str) -> Finding {
    match TcpListener::bind(listen) {
        Ok(_) => Finding::new(Grade::Ok, "port", format!("{listen} is free")),
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            let detail = format!("{listen} is not an address: use IP:PORT, such as 127.0.0.1:8080");
            Finding::new(Grade::Fail, "port", detail)
        }
        Err(error) => {
            let detail =
                format!("{listen}: {error}. Stop what listens there, or choose another address with --listen.");
            Finding::new(Grade::Warn, "port", detail)
        }
    }
}
