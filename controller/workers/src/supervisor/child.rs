//! Starting and ending the child process itself.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::Error;

/// The command lines of the worker of snippets, which only the binary knows: one program, with arguments for each job.
#[derive(Debug, Clone)]
pub struct WorkerProgram {
    pub program: PathBuf,
    /// Prepares kernels and images and ends; its standard output is lines of progress.
    pub prepare: Vec<OsString>,
    /// Serves on the listening Unix socket that is its standard input, until SIGTERM.
    pub worker: Vec<OsString>,
    /// The child's whole environment.
    pub env: Vec<(OsString, OsString)>,
}

/// The worker's exit status when its kernels are not prepared: they or the cache changed since they were.
pub const UNPREPARED: u8 = 78;

/// The command lines of the worker of tools.
#[derive(Debug, Clone)]
pub struct ToolProgram {
    pub program: PathBuf,
    /// Serves on the listening Unix socket that is its standard input, until SIGTERM.
    pub worker: Vec<OsString>,
    /// Reads a component from its standard input, prints one line of JSON and ends. The component's digest is the
    /// argument that comes after these.
    pub compile: Vec<OsString>,
    /// The child's whole environment.
    pub env: Vec<(OsString, OsString)>,
}

fn command(program: &Path, args: &[OsString], env: &[(OsString, OsString)]) -> Command {
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(env.iter().map(|(k, v)| (k, v)));
    // In a process group of its own: Ctrl-C in a terminal is for us, and we end the child in order.
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    command
}

fn serve_on(mut command: Command, listener: &UnixListener) -> Result<Child, Error> {
    let socket = OwnedFd::from(listener.try_clone().map_err(Error::process("sharing the worker's socket"))?);
    command.stdin(Stdio::from(socket)).spawn().map_err(Error::process("starting the worker"))
}

impl WorkerProgram {
    pub(super) fn command(&self, args: &[OsString]) -> Command {
        command(&self.program, args, &self.env)
    }

    pub(super) fn start_worker(&self, listener: &UnixListener) -> Result<Child, Error> {
        serve_on(self.command(&self.worker), listener)
    }
}

impl ToolProgram {
    pub(super) fn start_worker(&self, listener: &UnixListener) -> Result<Child, Error> {
        serve_on(command(&self.program, &self.worker, &self.env), listener)
    }

    pub(super) fn compile(&self, digest: &str) -> Command {
        let mut command = command(&self.program, &self.compile, &self.env);
        command.arg(digest).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// Sends SIGTERM to the child, waits at most `grace`, then kills it.
pub(super) async fn end(child: &mut Child, grace: Duration) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid
        && kill_process(pid, Signal::TERM).is_ok()
        && tokio::time::timeout(grace, child.wait()).await.is_ok()
    {
        return;
    }
    tracing::warn!("the worker did not end in time; it is killed");
    if let Err(error) = child.kill().await {
        tracing::warn!(%error, "the worker could not be killed");
    }
}
