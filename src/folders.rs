//! Where kernels, cache and data are: what was said, else the usual places.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use cofferdam_controller::config::default_data_dir;
use cofferdam_runtime::kernel::manifest::Manifest;

#[derive(Debug, Clone, Default, Args)]
pub struct Folders {
    /// The kernels' folder [default: `kernels` beside the program or beside its folder, or /usr/share/cofferdam/kernels]
    #[arg(long, env = "COFFERDAM_KERNELS", value_name = "DIR")]
    pub kernels: Option<PathBuf>,
    /// Compiled code and images, made when they are not there [default: `cache` in the data folder]
    #[arg(long, env = "COFFERDAM_CACHE_DIR", value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
}

pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The data folder where no flag names one.
pub fn data_dir() -> anyhow::Result<PathBuf> {
    match env("COFFERDAM_DATA_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => Ok(dir.into()),
        None => Ok(default_data_dir(&env)?),
    }
}

impl Folders {
    /// The kernels' folder, with kernels in it whose manifests can be read: what is wrong is said before anything starts.
    pub fn kernels(&self) -> anyhow::Result<PathBuf> {
        let folder = self.kernels_folder()?;
        for kernel in Manifest::folders(&folder)? {
            Manifest::read(&kernel)?;
        }
        Ok(folder)
    }

    fn kernels_folder(&self) -> anyhow::Result<PathBuf> {
        if let Some(folder) = &self.kernels {
            if !folder.is_dir() {
                bail!(
                    "there is no kernels' folder {}: run `make kernels`, or say where they are with --kernels",
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
                "no kernels found: run `make kernels`, or say where they are with --kernels. Looked in {}",
                places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ")
            ),
        }
    }

    pub fn cache(&self, data_dir: &Path) -> anyhow::Result<PathBuf> {
        let folder = self.cache_dir.clone().unwrap_or_else(|| data_dir.join("cache"));
        Ok(std::path::absolute(folder)?)
    }
}
