//! `cofferdam internal`: the child processes of `serve` and `run`, not for users.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use cofferdam_runtime::tool;
use cofferdam_runtime::tool_worker::ToolWorkerConfig;
use cofferdam_runtime::worker::WorkerConfig;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use serde::de::DeserializeOwned;

use crate::telemetry::{self, LogFormat};
use crate::workers::UNPREPARED;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Compiles kernels and makes their images; prints its progress.
    Prepare(Child),
    /// Serves the worker's wire on its standard input, which is a listening socket.
    Worker(Child),
    /// The same for tools.
    ToolWorker(Child),
    /// Describes and compiles the component on its standard input; prints one line of JSON.
    Compile {
        #[command(flatten)]
        child: Child,
        /// `sha256:` and 64 hex digits.
        digest: String,
    },
}

#[derive(Args)]
pub(crate) struct Child {
    /// A `WorkerConfig`, for tools a `ToolWorkerConfig`, in JSON.
    #[arg(long)]
    config: String,
    /// The parent process; this one ends when it does.
    #[arg(long)]
    parent: i32,
    #[arg(long, value_enum)]
    log_format: LogFormat,
}

/// Ties the process to its parent and reads its configuration. Starts no thread: the worker confines itself while it
/// has only one.
fn begin<T: DeserializeOwned>(child: &Child) -> anyhow::Result<T> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("tying this process to its parent")?;
    // Started as /proc/self/exe, it would be called "exe".
    rustix::thread::set_name(c"cofferdam").context("naming this process")?;
    // The parent may have died before the signal was set.
    if getppid().map(rustix::process::Pid::as_raw_nonzero).map(std::num::NonZero::get) != Some(child.parent) {
        bail!("the parent process is gone");
    }
    serde_json::from_str(&child.config).context("the worker's configuration")
}

/// The listening socket on standard input.
fn socket() -> anyhow::Result<UnixListener> {
    let socket: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned().context("the worker's socket")?;
    Ok(UnixListener::from(socket))
}

pub(crate) fn main(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Prepare(child) => {
            let config: WorkerConfig = begin(&child)?;
            let _telemetry = telemetry::start(child.log_format, "info")?;
            let mut out = std::io::stdout();
            cofferdam_runtime::prepare(&config.kernels_dir, &config.cache_dir, &mut |line| {
                // Continues if the progress is not read.
                let _ = writeln!(out, "{line}").and_then(|()| out.flush());
            })?;
        }
        Command::Worker(child) => {
            let config: WorkerConfig = begin(&child)?;
            let _telemetry = telemetry::start(child.log_format, "info")?;
            match cofferdam_runtime::worker::serve(socket()?, config) {
                Err(error @ cofferdam_runtime::Error::Kernel(_)) => {
                    tracing::error!(%error, "a kernel cannot be loaded");
                    return Ok(ExitCode::from(UNPREPARED));
                }
                ended => ended?,
            }
        }
        Command::ToolWorker(child) => {
            let config: ToolWorkerConfig = begin(&child)?;
            let _telemetry = telemetry::start(child.log_format, "info")?;
            cofferdam_runtime::tool_worker::serve(socket()?, config)?;
        }
        Command::Compile { child, digest } => {
            let config: ToolWorkerConfig = begin(&child)?;
            let _telemetry = telemetry::start(child.log_format, "info")?;
            let job = tool::compile::Job { cache_dir: config.cache_dir, digest, confine: config.confine };
            let line = match tool::compile(&job, &mut std::io::stdin().lock()) {
                Ok(component) => serde_json::to_string(&component)?,
                Err(error) => {
                    if !matches!(error, cofferdam_runtime::Error::Refused(_)) {
                        tracing::error!(%error, "a component could not be compiled");
                    }
                    serde_json::to_string(&error.to_problem())?
                }
            };
            writeln!(std::io::stdout(), "{line}").context("writing the component")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
