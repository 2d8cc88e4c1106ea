//! The arguments of `cofferdam doctor`.

use std::path::PathBuf;

use crate::Folders;

/// Check this machine: folders, kernels and their cache, Linux features, disk, port.
///
/// Each line says ok, warn or fail, and what to do. The exit status is 1 if a check failed, else 0.
#[derive(clap::Args)]
pub struct Args {
    /// The data folder of `serve` [env: COFFERDAM_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) folders: Folders,
    /// The address for `serve` to listen on
    #[arg(long, value_name = "IP:PORT", env = "COFFERDAM_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) listen: String,
}
