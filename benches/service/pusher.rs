//! Programs that push an image, watched: how long, how much memory at most, how much they wrote to disk. And the
//! registry that they push to: Debian's `docker-registry`, a new and empty one each time.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::service::scratch;

const LONGEST: Duration = Duration::from_secs(900);

pub struct Registry {
    child: Child,
    pub address: String,
    folder: tempfile::TempDir,
}

impl Registry {
    pub fn start() -> anyhow::Result<Self> {
        let folder = scratch()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let config = folder.path().join("config.yml");
        std::fs::write(
            &config,
            format!(
                "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    \
                 rootdirectory: {}\nhttp:\n  addr: {address}\n",
                folder.path().join("data").display()
            ),
        )?;
        let log = std::fs::File::create(folder.path().join("log"))?;
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let registry = Self { child: command.spawn().context("docker-registry")?, address, folder };
        let started = Instant::now();
        while TcpStream::connect(&registry.address).is_err() {
            if started.elapsed() > Duration::from_secs(20) {
                let log = std::fs::read_to_string(registry.folder.path().join("log")).unwrap_or_default();
                bail!("docker-registry did not start: {log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(registry)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program took.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    pub ms: f64,
    /// The most memory that was resident at once.
    pub peak_mib: f64,
    /// What it had the kernel write to disk.
    pub written_mib: f64,
}

/// Writes a program's standard input.
pub type Feed = Box<dyn FnOnce(&mut dyn Write) -> std::io::Result<()> + Send>;

/// Runs it to its end, which has to be a good one. What `feed` writes is its standard input.
pub fn watch(mut command: Command, feed: Option<Feed>) -> anyhow::Result<Took> {
    let name = format!("{:?}", command.get_program());
    command.stdin(if feed.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| name.clone())?;
    let feeding = feed.zip(child.stdin.take()).map(|(feed, mut input)| std::thread::spawn(move || feed(&mut input)));
    let said = child.stderr.take().map(|mut pipe| {
        std::thread::spawn(move || {
            let mut text = String::new();
            // What is no text is not shown.
            let _ = std::io::Read::read_to_string(&mut pipe, &mut text);
            text
        })
    });
    let (mut peak_mib, mut written_mib) = (0.0_f64, 0.0_f64);
    let status = loop {
        // Both only grow, so that the last look before the end is all but exact.
        peak_mib = peak_mib.max(figure(child.id(), "status", "VmHWM:").unwrap_or(0.0) / 1024.0);
        written_mib = written_mib.max(figure(child.id(), "io", "write_bytes:").unwrap_or(0.0) / 1048576.0);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > LONGEST {
            child.kill()?;
            bail!("{name} did not end within {} s", LONGEST.as_secs());
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let ms = started.elapsed().as_secs_f64() * 1e3;
    let said = said.and_then(|thread| thread.join().ok()).unwrap_or_default();
    if !status.success() {
        bail!("{name} ended with {status}: {}", said.lines().last().unwrap_or_default());
    }
    if let Some(feeding) = feeding {
        feeding.join().map_err(|_| anyhow::anyhow!("the feeding thread"))??;
    }
    Ok(Took { ms, peak_mib, written_mib })
}

/// The most memory that a process has had resident so far.
pub fn peak_mib(pid: u32) -> f64 {
    figure(pid, "status", "VmHWM:").unwrap_or(0.0) / 1024.0
}

/// What a process has had the kernel write to disk so far.
pub fn written_mib(pid: u32) -> f64 {
    figure(pid, "io", "write_bytes:").unwrap_or(0.0) / 1048576.0
}

/// A figure of a process: kB in `status`, bytes in `io`.
fn figure(pid: u32, file: &str, name: &str) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Ours, with a cache of layers and temporary files in this folder.
pub fn ours(program: &Path, archive: &str, registry: &Registry, name: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    let place = format!("{}/{name}", registry.address);
    command.args(["image", "push", archive, &place, "--plain-http"]);
    command.env("XDG_CACHE_HOME", folder).env("TMPDIR", folder);
    command.env_remove("COFFERDAM_REGISTRY_USERNAME").env_remove("COFFERDAM_REGISTRY_PASSWORD");
    command
}

pub fn skopeo(archive: &str, registry: &Registry, name: &str, folder: &Path) -> Command {
    let mut command = Command::new("skopeo");
    let place = format!("docker://{}/{name}", registry.address);
    command.args([
        "copy",
        "--insecure-policy",
        "--dest-tls-verify=false",
        &format!("docker-archive:{archive}"),
        &place,
    ]);
    command.env("TMPDIR", folder);
    command
}

pub fn gunzip(archive: &str) -> Command {
    let mut command = Command::new("gunzip");
    command.args(["-c", archive]);
    command
}

/// A program's version, where it is installed.
pub fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.lines().next().unwrap_or_default().trim().to_owned())
}
