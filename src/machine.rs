//! Gives the commands what they need of the runtime and the controller.

use std::any::Any;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use cofferdam_cli::{Kernel, LocalWorker, Machine, WorkerFolders};
use cofferdam_runtime::artifact::ArtifactCache;
use cofferdam_runtime::engine::kernel_engine;
use cofferdam_runtime::kernel::manifest::Manifest;
use cofferdam_runtime::kernel::prepare::{Keys, is_prepared};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::telemetry::{self, LogFormat};
use crate::{serve, workers};

pub(crate) struct ThisMachine;

impl Machine for ThisMachine {
    fn default_data_dir(&self) -> anyhow::Result<PathBuf> {
        serve::default_data_dir()
    }

    fn start_log(&self, level: &str) -> anyhow::Result<Box<dyn Any>> {
        Ok(Box::new(telemetry::start(LogFormat::fitting(), level)?))
    }

    fn start_worker(&self, folders: WorkerFolders) -> BoxFuture<'_, anyhow::Result<Box<dyn LocalWorker>>> {
        workers::start_own(folders).boxed()
    }

    fn wrap(&self, module: Vec<u8>, wit: &Path, world: Option<&str>) -> anyhow::Result<Vec<u8>> {
        Ok(cofferdam_runtime::tool::wrap::wrap(module, wit, world)?)
    }

    fn kernels(&self, kernels: &Path, cache: &Path) -> anyhow::Result<Vec<Kernel>> {
        let engine = kernel_engine().map_err(|error| anyhow!("{error:#}"))?;
        let cache = ArtifactCache::open(cache)?;
        let kernel = |folder: PathBuf| {
            let manifest = Manifest::read(&folder)?;
            let prepared = is_prepared(&cache, &Keys::of(&folder, &manifest, &engine)?);
            Ok(Kernel { name: manifest.name, version: manifest.version, prepared })
        };
        Manifest::folders(kernels)?.into_iter().map(kernel).collect()
    }
}
