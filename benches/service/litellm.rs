//! LiteLLM's proxy, the peer of the rows about models: pinned, in a Python of its own below `target`, with one worker a core
//! as its documentation has it for the highest rate, and with its own key. It has no database, so it counts, limits and
//! records nothing; that makes it faster, not slower.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::client::Client;
use crate::peers::Native;
use crate::service::scratch;

/// A version all of whose parts are on PyPI as wheels.
const PACKAGE: &str = "litellm[proxy]==1.106.12";
pub(crate) const NAME: &str = "LiteLLM 1.106.12";
pub(crate) const KEY: &str = "sk-bench-key-0123456789abcdef";
const START_TIMEOUT: Duration = Duration::from_secs(240);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) struct LiteLlm {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl LiteLlm {
    /// Starts it in front of an upstream of OpenAI's protocol.
    pub(crate) fn start(python: &Native, upstream: &str, workers: usize) -> anyhow::Result<Self> {
        let programs = python.venv("bench-litellm", &[PACKAGE])?;
        let folder = scratch()?;
        let config = folder.path().join("config.yaml");
        let text = format!(
            "model_list:\n- model_name: instant\n  litellm_params:\n    model: openai/instant\n    api_base: {upstream}\n    \
             api_key: none\nlitellm_settings:\n  set_verbose: false\n  callbacks: []\n  num_retries: 0\n  \
             request_timeout: 600\ngeneral_settings:\n  master_key: {KEY}\n"
        );
        std::fs::write(&config, text)?;
        // The port is free for a moment, which is enough here.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = File::create(folder.path().join("log"))?;
        let mut command = Command::new(programs.join("litellm"));
        command.arg("--config").arg(&config).args(["--host", "127.0.0.1"]);
        command.args(["--port", &address.port().to_string(), "--num_workers", &workers.to_string()]);
        command
            .env_clear()
            .envs(["PATH", "HOME", "LANG"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        // Production's settings, and nothing is asked of the network at its start.
        command.env("LITELLM_MODE", "PRODUCTION").env("LITELLM_LOG", "ERROR");
        command.env("LITELLM_LOCAL_MODEL_COST_MAP", "True").env("LITELLM_TELEMETRY", "False");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).current_dir(folder.path()).process_group(0);
        let child = command.spawn().context("LiteLLM")?;
        let mut started = Self { child, address, folder };
        started.wait_until_ready()?;
        Ok(started)
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let (started, mut client) = (Instant::now(), Client::new(self.address, KEY));
        while started.elapsed() < START_TIMEOUT {
            if let Some(status) = self.child.try_wait()? {
                bail!("LiteLLM ended with {status}: {}", self.said());
            }
            if client.call("GET", "/health/liveliness", &[]).is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        bail!("LiteLLM was not ready in {} s: {}", START_TIMEOUT.as_secs(), self.said())
    }

    fn said(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for LiteLlm {
    fn drop(&mut self) {
        let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else { return };
        // Failures only mean that it has already exited.
        let _ = kill_process_group(group, Signal::TERM);
        let started = Instant::now();
        while started.elapsed() < STOP_TIMEOUT && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}
