//! Before the first worker: a child that makes kernels and images ready, its progress passed on line by line.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};

use super::child::WorkerProgram;
use crate::Error;

/// The longest line of progress that is shown, in characters.
const LINE: usize = 300;

/// Runs the step to its end.
///
/// # Errors
/// Where the child cannot be started or fails; what it said of it is on standard error.
pub(super) async fn prepare(program: &WorkerProgram, progress: &(dyn Fn(&str) + Send + Sync)) -> Result<(), Error> {
    let failed = |source| Error::Process { what: "preparing the kernels", source };
    let mut child = program.command(&program.prepare).stdout(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(output) = child.stdout.take() {
        let mut lines = BufReader::new(output).lines();
        while let Some(line) = lines.next_line().await.map_err(failed)? {
            progress(&line.chars().take(LINE).collect::<String>());
        }
    }
    let status = child.wait().await.map_err(failed)?;
    if status.success() { Ok(()) } else { Err(Error::Prepare(format!("it ended with {status}"))) }
}
