//! The read-only files of a kernel, mapped once and shared by all its sandboxes.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use cofferdam_host_api::Mounts;

use super::manifest::MountSpec;
use crate::error::KernelError;
use crate::memory::Mapping;

/// Maps everything that the manifest mounts.
pub fn open(folder: &Path, specs: &[MountSpec]) -> Result<Mounts, KernelError> {
    let mut mounts = Mounts::new();
    for spec in specs {
        add(&mut mounts, &spec.guest, &folder.join(&spec.path))?;
    }
    Ok(mounts)
}

fn add(mounts: &mut Mounts, guest: &str, path: &Path) -> Result<(), KernelError> {
    let refused = |e| KernelError::Manifest { path: path.to_owned(), reason: format!("cannot be mounted: {e}") };
    let about = fs::metadata(path).map_err(|e| KernelError::io(path, e))?;
    if about.is_dir() {
        mounts.add_folder(guest).map_err(refused)?;
        for entry in fs::read_dir(path).map_err(|e| KernelError::io(path, e))? {
            let entry = entry.map_err(|e| KernelError::io(path, e))?;
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| KernelError::Manifest {
                path: entry.path(),
                reason: "a file name is not UTF-8".to_owned(),
            })?;
            add(mounts, &format!("{guest}/{name}"), &entry.path())?;
        }
        return Ok(());
    }
    let file = File::open(path).map_err(|e| KernelError::io(path, e))?;
    let bytes = Mapping::of(&file).map_err(|e| KernelError::io(path, e))?;
    mounts.add_file(guest, Arc::new(bytes)).map_err(refused)
}
