//! The service that is measured: the release program as a user would start it, on a data folder of its own.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::bench::root;
use crate::client::Client;
use crate::process;

pub(crate) const KEY: &str = "bench-key-0123456789abcdef0123456789abcdef";
/// The first start compiles the kernels.
const START_TIMEOUT: Duration = Duration::from_secs(900);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) struct Service {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

pub(crate) fn kernels() -> PathBuf {
    std::env::var_os("COFFERDAM_KERNELS").map_or_else(|| target().join("kernels"), PathBuf::from)
}

pub(crate) fn cache() -> PathBuf {
    std::env::var_os("COFFERDAM_CACHE_DIR").map_or_else(|| target().join("cache"), PathBuf::from)
}

/// The release program; `COFFERDAM_BENCH_PROGRAM` names another build of it, to compare the two.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("COFFERDAM_BENCH_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_cofferdam").into(), PathBuf::from)
}

/// A folder on the same disk as the rest of the build, gone when it is dropped.
pub(crate) fn scratch() -> anyhow::Result<tempfile::TempDir> {
    let folder = target().join("tmp");
    std::fs::create_dir_all(&folder)?;
    Ok(tempfile::Builder::new().prefix("bench-").tempdir_in(folder)?)
}

impl Service {
    /// Starts it, with an operator's policy if given, and waits until it accepts runs.
    pub(crate) fn start(policy: Option<&str>) -> anyhow::Result<Self> {
        Self::start_with(policy, &[])
    }

    /// The same, with these variables.
    pub(crate) fn start_with(policy: Option<&str>, variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        if !kernels().join("python").is_dir() {
            bail!("there are no kernels in target/kernels; `make build` makes them");
        }
        let folder = scratch()?;
        let temporary = folder.path().join("tmp");
        std::fs::create_dir_all(&temporary)?;
        let log = File::create(folder.path().join("log"))?;
        let mut command = Command::new(program());
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path().join("data"));
        command.env("COFFERDAM_KERNELS", kernels()).env("COFFERDAM_CACHE_DIR", cache());
        command.env("COFFERDAM_API_KEY", KEY).env("TMPDIR", &temporary).env_remove("DATABASE_URL");
        command.env_remove("COFFERDAM_POLICY").env_remove("KUBECONFIG").envs(variables.iter().copied());
        if let Some(policy) = policy {
            let path = folder.path().join("policy.yaml");
            std::fs::write(&path, policy)?;
            command.env("COFFERDAM_POLICY", path);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let output = child.stdout.take().context("its output")?;
        let mut service = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), folder };
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let address =
            lines.find_map(|line| Some(line.split_once("http://")?.1.trim_end_matches(['.', '/']).to_owned()));
        service.address = address.with_context(|| service.said())?.parse()?;
        // Keep reading, so that it never blocks on its output.
        std::thread::spawn(move || lines.for_each(drop));
        service.wait_until_ready()?;
        Ok(service)
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut shown = String::new();
        let mut client = self.client();
        while started.elapsed() < START_TIMEOUT {
            if let Some(status) = self.child.try_wait()? {
                bail!("`cofferdam serve` ended with {status}: {}", self.said());
            }
            if let Ok(answer) = client.call("GET", "/ready", &[]) {
                if answer.status == 200 {
                    return Ok(());
                }
                let about: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                let progress = about.get("progress").and_then(|text| text.as_str()).unwrap_or_default();
                if progress != shown {
                    eprintln!("         {progress}");
                    progress.clone_into(&mut shown);
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("`cofferdam serve` was not ready in {} s: {}", START_TIMEOUT.as_secs(), self.said())
    }

    /// The end of its log.
    fn said(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n")
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.address, KEY)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process that runs the sandboxes of snippets.
    pub(crate) fn worker(&self) -> anyhow::Result<u32> {
        self.child("worker")
    }

    /// The process that runs tools.
    pub(crate) fn tool_worker(&self) -> anyhow::Result<u32> {
        self.child("tool-worker")
    }

    fn child(&self, role: &str) -> anyhow::Result<u32> {
        let mut children = process::children(self.pid()).into_iter();
        let found =
            children.find(|pid| process::arguments(*pid).get(1..3).is_some_and(|args| args == ["internal", role]));
        found.with_context(|| format!("the service has no process of its own that is its {role}"))
    }

    /// Its data and its temporary files.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

pub(crate) fn signal(pid: u32, signal: Signal) -> anyhow::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process id")?;
    Ok(kill_process(pid, signal)?)
}

impl Drop for Service {
    fn drop(&mut self) {
        // A failure only means that it has already exited.
        let _ = signal(self.pid(), Signal::TERM);
        let started = Instant::now();
        while started.elapsed() < STOP_TIMEOUT {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
