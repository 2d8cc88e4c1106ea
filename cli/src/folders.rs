//! The folders of kernels, cache and data: as flags and variables name them, or the usual places.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use crate::Machine;

#[derive(Debug, Clone, Default, Args)]
pub struct Folders {
    /// The kernels' folder [default: `kernels` beside the program or beside its folder, or /usr/share/cofferdam/kernels]
    #[arg(long, env = "COFFERDAM_KERNELS", value_name = "DIR")]
    kernels: Option<PathBuf>,
    /// Compiled code and images, made when missing [default: `cache` in the data folder]
    #[arg(long, env = "COFFERDAM_CACHE_DIR", value_name = "DIR")]
    cache_dir: Option<PathBuf>,
}

pub(crate) fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A variable that is set and not empty.
pub(crate) fn set(name: &str) -> Option<String> {
    env(name).filter(|text| !text.is_empty())
}

/// The data folder if no flag names one.
pub(crate) fn data_dir(machine: &dyn Machine) -> anyhow::Result<PathBuf> {
    set("COFFERDAM_DATA_DIR").map_or_else(|| machine.default_data_dir(), |dir| Ok(dir.into()))
}

impl Folders {
    /// The kernels' folder. Its contents are not checked.
    ///
    /// # Errors
    /// There is no such folder.
    pub fn kernels(&self) -> anyhow::Result<PathBuf> {
        if let Some(folder) = &self.kernels {
            if !folder.is_dir() {
                bail!(
                    "there is no kernels' folder {}: run `make kernels`, or name the folder with --kernels",
                    folder.display()
                );
            }
            return Ok(std::path::absolute(folder)?);
        }
        let program = std::env::current_exe().context("finding this program's own folder")?;
        let beside = program.parent().map(|folder| folder.join("kernels"));
        let above = program.parent().and_then(Path::parent).map(|folder| folder.join("kernels"));
        let places: Vec<PathBuf> =
            beside.into_iter().chain(above).chain([PathBuf::from("/usr/share/cofferdam/kernels")]).collect();
        match places.iter().find(|folder| folder.is_dir()) {
            Some(folder) => Ok(folder.clone()),
            None => bail!(
                "no kernels found: run `make kernels`, or name their folder with --kernels. Looked in {}",
                places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ")
            ),
        }
    }

    /// # Errors
    /// The working folder is gone.
    pub fn cache(&self, data_dir: &Path) -> anyhow::Result<PathBuf> {
        let folder = self.cache_dir.clone().unwrap_or_else(|| data_dir.join("cache"));
        Ok(std::path::absolute(folder)?)
    }
}
