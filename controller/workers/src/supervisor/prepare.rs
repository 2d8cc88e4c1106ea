//! The preparation before the first worker: a child makes kernels and images ready and reports its progress in lines.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};

use super::child::WorkerProgram;
use crate::Error;

/// The longest line of progress that is shown, in characters.
const MAX_LINE: usize = 300;

/// Runs the step to its end.
///
/// # Errors
/// A child that cannot be started or fails; it says why on standard error.
pub(super) async fn prepare(program: &WorkerProgram, progress: &(dyn Fn(&str) + Send + Sync)) -> Result<(), Error> {
    let failed = |source| Error::Process { what: "preparing the kernels", source };
    let mut child = program.command(&program.prepare).stdout(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(output) = child.stdout.take() {
        let mut lines = BufReader::new(output).lines();
        while let Some(line) = lines.next_line().await.map_err(failed)? {
            progress(&line.chars().take(MAX_LINE).collect::<String>());
        }
    }
    let status = child.wait().await.map_err(failed)?;
    if status.success() { Ok(()) } else { Err(Error::Prepare(status)) }
}
