//! A PostgreSQL of the row's own, as Debian's package sets it up: everything is synced to the disk. It runs on the same
//! processors as what is measured.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::service::scratch;

pub(crate) struct Postgres {
    folder: tempfile::TempDir,
    programs: PathBuf,
    port: u16,
}

fn programs() -> anyhow::Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").context("Debian's package postgresql is missing")?;
    let mut found: Vec<PathBuf> = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect();
    found.sort();
    found.pop().context("Debian's package postgresql is missing")
}

/// A command as the user `postgres`, because PostgreSQL refuses to run as root.
fn as_postgres(program: &Path) -> Command {
    if rustix::process::getuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
        return command;
    }
    Command::new(program)
}

fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Postgres {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let folder = scratch()?;
        if rustix::process::getuid().is_root() {
            run(Command::new("chown").arg("postgres").arg(folder.path()))?;
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let postgres = Self { folder, programs: programs()?, port };
        let data = postgres.data();
        run(as_postgres(&postgres.programs.join("initdb")).arg("-D").arg(&data).args([
            "-U",
            "cofferdam",
            "-A",
            "trust",
        ]))?;
        postgres.resume()?;
        for database in ["pgbench", "awa"] {
            run(as_postgres(&postgres.programs.join("createdb")).args(postgres.place()).arg(database))?;
        }
        Ok(postgres)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn place(&self) -> [String; 6] {
        ["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "cofferdam"].map(str::to_owned)
    }

    /// Starts the server, again if it was stopped.
    pub(crate) fn resume(&self) -> anyhow::Result<()> {
        let folder = self.folder.path().display().to_string();
        let options = format!("-k {folder} -c listen_addresses=127.0.0.1 -p {} -c max_connections=200", self.port);
        let log = self.folder.path().join("log");
        // Its output goes to the log, or the pipe of ours would stay open.
        let mut command = as_postgres(&self.programs.join("pg_ctl"));
        command.arg("-w").arg("-D").arg(self.data()).arg("-o").arg(options).arg("-l").arg(log).arg("start");
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        anyhow::ensure!(status.success(), "PostgreSQL did not start: {}", self.said());
        Ok(())
    }

    /// Stops the server; its clients are cut off.
    pub(crate) fn stop(&self, mode: &str) -> anyhow::Result<()> {
        let mut command = as_postgres(&self.programs.join("pg_ctl"));
        command.arg("-w").arg("-D").arg(self.data()).args(["-m", mode, "stop"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        Ok(())
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn url(&self) -> String {
        self.url_of("postgres")
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://cofferdam@127.0.0.1:{}/{database}", self.port)
    }

    /// One statement; its first column, a line a row.
    pub(crate) fn ask(&self, sql: &str) -> anyhow::Result<String> {
        run(Command::new(self.programs.join("psql")).args(self.place()).args(["-d", "postgres", "-qAtc", sql]))
    }

    /// A client that stays, with statements on its standard input.
    pub(crate) fn client(&self) -> anyhow::Result<std::process::Child> {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(self.place()).args(["-d", "postgres", "-qAt"]);
        Ok(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
    }

    /// Makes the tables of `pgbench`, at scale 10.
    pub(crate) fn prepare_pgbench(&self) -> anyhow::Result<()> {
        let mut command = Command::new(self.programs.join("pgbench"));
        run(command.args(self.place()).args(["-i", "-s", "10", "-q", "pgbench"]))?;
        Ok(())
    }

    /// Transactions a second of `pgbench -N` with 32 clients.
    pub(crate) fn pgbench(&self, seconds: u64) -> anyhow::Result<f64> {
        let mut command = Command::new(self.programs.join("pgbench"));
        let seconds = seconds.to_string();
        let said = run(command
            .args(self.place())
            .args(["-N", "-n", "-c", "32", "-j", "2", "-M", "prepared", "-T", &seconds, "pgbench"]))?;
        let line = said.lines().find_map(|line| line.strip_prefix("tps = ")).context("pgbench said no rate")?;
        Ok(line.split_whitespace().next().context("pgbench said no rate")?.parse()?)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A failure only means that it has already stopped.
        let _ = self.stop("immediate");
    }
}

/// Empty jobs a second through the crate awa, whose program is built below `target` on first use.
pub(crate) fn awa(postgres: &Postgres, clients: usize, seconds: u64) -> anyhow::Result<f64> {
    let (project, target) =
        (crate::bench::root().join("benches/peers/awa"), crate::bench::root().join("target/bench-awa"));
    let program = target.join("release").join("awa-peer");
    if !program.exists() {
        eprintln!("         building awa 0.6.9");
        run(Command::new("cargo")
            .args(["build", "--release", "--quiet", "--locked", "--manifest-path"])
            .arg(project.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(&target))?;
    }
    let said = run(Command::new(program).arg(postgres.url_of("awa")).args([clients.to_string(), seconds.to_string()]))?;
    Ok(said.trim().parse()?)
}
