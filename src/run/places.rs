//! Where what a run made is saved: figures in a row, files under the folder that was named for them.

use std::path::{Path, PathBuf};

use anyhow::Context;
use cofferdam_contract::normalize_path;

pub struct Places {
    figures: PathBuf,
    pub output: Option<PathBuf>,
    count: u32,
}

impl Places {
    pub fn new(figures: PathBuf, output: Option<PathBuf>) -> Self {
        Self { figures, output, count: 0 }
    }

    /// The next figure's path, without its ending.
    pub fn next_figure(&mut self) -> PathBuf {
        self.count += 1;
        self.figures.join(format!("figure-{}", self.count))
    }
}

/// Writes bytes, making the folders above.
pub fn save(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    std::fs::write(path, bytes).with_context(|| path.display().to_string())
}

/// Where a run's file goes below `folder`. The name is the sandbox's choice, so it is checked again here.
pub fn below(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    Ok(folder.join(normalize_path(name).with_context(|| format!("the run's file {name:?}"))?))
}
