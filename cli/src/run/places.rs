//! Paths for what a run made: numbered figures, and files below the folder of --output.

use std::path::{Path, PathBuf};

use anyhow::Context;
use cofferdam_contract::normalize_path;

pub(super) struct Places {
    figures: PathBuf,
    pub(super) output: Option<PathBuf>,
    count: u32,
}

impl Places {
    pub(super) fn new(figures: PathBuf, output: Option<PathBuf>) -> Self {
        Self { figures, output, count: 0 }
    }

    /// The next figure's path, without its extension.
    pub(super) fn next_figure(&mut self) -> PathBuf {
        self.count += 1;
        self.figures.join(format!("figure-{}", self.count))
    }
}

/// Writes a file and makes the folders above it.
pub(super) fn save(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    std::fs::write(path, bytes).with_context(|| path.display().to_string())
}

/// The path of a run's file below `folder`. The sandbox chose the name, so it is checked again here.
pub(super) fn below(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    Ok(folder.join(normalize_path(name).with_context(|| format!("the run's file {name:?}"))?))
}
