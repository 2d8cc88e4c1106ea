//! `cofferdam internal`: the child processes of `serve` and `run`. Not for people.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use cofferdam_controller::supervisor::UNPREPARED;
use cofferdam_runtime::worker::WorkerConfig;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::telemetry::{self, LogFormat};

#[derive(Subcommand)]
pub enum Command {
    /// Compiles kernels and makes their images; prints what it does.
    Prepare(Child),
    /// Serves the worker's wire on the listening socket that is its standard input.
    Worker(Child),
}

#[derive(Args)]
pub struct Child {
    /// A `WorkerConfig` in JSON.
    #[arg(long)]
    config: String,
    /// The process that this one lives and dies with.
    #[arg(long)]
    parent: i32,
    #[arg(long, value_enum)]
    log_format: LogFormat,
}

/// Nothing is started before this: the worker confines itself while it has one thread.
fn begin(child: &Child) -> anyhow::Result<WorkerConfig> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("tying this process to its parent")?;
    // It was started as /proc/self/exe, which would name it "exe".
    rustix::thread::set_name(c"cofferdam").context("naming this process")?;
    // The parent may have died before the line above.
    if getppid().map(rustix::process::Pid::as_raw_nonzero).map(std::num::NonZero::get) != Some(child.parent) {
        bail!("the parent process is gone");
    }
    serde_json::from_str(&child.config).context("the worker's configuration")
}

pub fn main(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Prepare(child) => {
            let config = begin(&child)?;
            let _telemetry = telemetry::start(child.log_format, "info")?;
            let mut out = std::io::stdout();
            cofferdam_runtime::prepare(&config.kernels_dir, &config.cache_dir, &mut |line| {
                // Progress that nobody reads is no reason to stop.
                let _ = writeln!(out, "{line}").and_then(|()| out.flush());
            })?;
        }
        Command::Worker(child) => {
            let config = begin(&child)?;
            let _telemetry = telemetry::start(child.log_format, "info")?;
            let socket: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned().context("the worker's socket")?;
            match cofferdam_runtime::worker::serve(UnixListener::from(socket), config) {
                Err(error @ cofferdam_runtime::Error::Kernel(_)) => {
                    tracing::error!(%error, "a kernel cannot be loaded");
                    return Ok(ExitCode::from(UNPREPARED));
                }
                ended => ended?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
