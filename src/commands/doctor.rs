//! `cofferdam doctor`: is this machine fit, and what to do where it is not.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::doctor::examine;
use crate::folders::{Folders, data_dir};

/// Check this machine: folders, kernels and their cache, Linux features, disk, port.
///
/// Each line says ok, warn or fail, and what to do. The exit status is 0 where nothing failed, else 1.
#[derive(clap::Args)]
pub struct Args {
    /// Where `serve` is to keep its data [env: COFFERDAM_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    folders: Folders,
    /// The address that `serve` is to listen on
    #[arg(long, value_name = "IP:PORT", env = "COFFERDAM_LISTEN", default_value = "127.0.0.1:8080")]
    listen: String,
}

pub fn main(args: &Args) -> anyhow::Result<ExitCode> {
    let data_dir = args.data_dir.clone().map_or_else(data_dir, Ok)?;
    let findings = examine(&data_dir, &args.folders, &args.listen);
    for finding in &findings {
        println!("{finding}");
    }
    Ok(if findings.iter().any(|finding| finding.is_failure()) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
