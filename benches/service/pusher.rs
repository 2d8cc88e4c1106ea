//! Runs programs that push an image, and measures their time, peak memory and disk writes. They push to Debian's
//! `docker-registry`, a new and empty one each time.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use cofferdam_testkit::DockerRegistry;

const PUSH_TIMEOUT: Duration = Duration::from_secs(900);

/// A new and empty registry.
pub(crate) struct Registry {
    _registry: DockerRegistry,
    pub address: String,
}

impl Registry {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let registry = DockerRegistry::start().context("docker-registry is not installed")?;
        Ok(Self { address: registry.host(), _registry: registry })
    }
}

/// A program's resource use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    pub ms: f64,
    /// The peak of resident memory.
    pub peak_mib: f64,
    /// Bytes written to disk.
    pub written_mib: f64,
}

/// Writes a program's standard input.
pub(crate) type Feed = Box<dyn FnOnce(&mut dyn Write) -> std::io::Result<()> + Send>;

/// Runs it to a successful end. `feed` writes its standard input.
pub(crate) fn watch(mut command: Command, feed: Option<Feed>) -> anyhow::Result<Took> {
    let name = format!("{:?}", command.get_program());
    command.stdin(if feed.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| name.clone())?;
    let feeding = feed.zip(child.stdin.take()).map(|(feed, mut input)| std::thread::spawn(move || feed(&mut input)));
    let said = child.stderr.take().map(|mut pipe| {
        std::thread::spawn(move || {
            let mut text = String::new();
            // Output that is not text is not shown.
            let _ = std::io::Read::read_to_string(&mut pipe, &mut text);
            text
        })
    });
    let (mut peak_mib, mut written_mib) = (0.0_f64, 0.0_f64);
    let status = loop {
        // Both only grow, so the last sample before the end is almost exact.
        peak_mib = peak_mib.max(figure(child.id(), "status", "VmHWM:").unwrap_or(0.0) / 1024.0);
        written_mib = written_mib.max(figure(child.id(), "io", "write_bytes:").unwrap_or(0.0) / 1048576.0);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > PUSH_TIMEOUT {
            child.kill()?;
            bail!("{name} did not end within {} s", PUSH_TIMEOUT.as_secs());
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

/// A process's peak of resident memory so far.
pub(crate) fn peak_mib(pid: u32) -> f64 {
    figure(pid, "status", "VmHWM:").unwrap_or(0.0) / 1024.0
}

/// Bytes that a process has written to disk so far.
pub(crate) fn written_mib(pid: u32) -> f64 {
    figure(pid, "io", "write_bytes:").unwrap_or(0.0) / 1048576.0
}

/// A figure of a process: kB in `status`, bytes in `io`.
fn figure(pid: u32, file: &str, name: &str) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Ours, with gzip as skopeo does it; `auto` would not compress for a registry on this machine.
pub(crate) fn ours(program: &Path, archive: &str, registry: &Registry, name: &str, folder: &Path) -> Command {
    ours_with("gzip", program, archive, registry, name, folder)
}

/// Ours, with a cache of layers and temporary files in this folder.
pub(crate) fn ours_with(
    compression: &str,
    program: &Path,
    archive: &str,
    registry: &Registry,
    name: &str,
    folder: &Path,
) -> Command {
    let mut command = Command::new(program);
    let place = format!("{}/{name}", registry.address);
    command.args(["image", "push", archive, &place, "--plain-http", "--compression", compression]);
    command.env("XDG_CACHE_HOME", folder).env("TMPDIR", folder);
    command.env_remove("COFFERDAM_REGISTRY_USERNAME").env_remove("COFFERDAM_REGISTRY_PASSWORD");
    command
}

pub(crate) fn skopeo(archive: &str, registry: &Registry, name: &str, folder: &Path) -> Command {
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

pub(crate) fn gunzip(archive: &str) -> Command {
    let mut command = Command::new("gunzip");
    command.args(["-c", archive]);
    command
}

/// A program's version, if it is installed.
pub(crate) fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.lines().next().unwrap_or_default().trim().to_owned())
}
