//! The peers: native processes that do the same work, started the way a service without Cofferdam would start them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};

use crate::bench::root;

/// The libraries of the native Python. Pinned, so that two runs of this program compare the same.
const LIBRARIES: &[&str] = &["numpy==2.3.5", "pandas==2.3.3", "matplotlib==3.10.7"];

#[derive(Debug, Clone)]
pub(crate) struct Native {
    pub program: PathBuf,
    /// As the report shows it.
    pub version: String,
}

#[derive(Debug)]
pub(crate) struct Peers {
    pub python: Option<Native>,
    /// A Python of its own with [`LIBRARIES`].
    pub libraries: Option<Native>,
    pub node: Option<Native>,
}

/// A program's output; `None` if it is missing or fails.
fn ask<S: AsRef<OsStr>>(program: &Path, args: &[S]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl Peers {
    pub(crate) fn find() -> anyhow::Result<Self> {
        let python = find_python();
        let libraries = match &python {
            Some(python) => with_libraries(python).unwrap_or_else(|error| {
                eprintln!("         no native Python with pandas: {error:#}");
                None
            }),
            None => None,
        };
        let node = ask(Path::new("node"), &["-p", "process.execPath + ' ' + process.version"]).and_then(|text| {
            let (program, version) = text.rsplit_once(' ')?;
            Some(Native { program: program.into(), version: format!("Node.js {version}") })
        });
        Ok(Self { python, libraries, node })
    }
}

/// The interpreter itself: the `python3` of the path may be a script that looks for one, which would be unfair.
fn find_python() -> Option<Native> {
    let code = "import sys, sysconfig, platform; print(sys.executable); print(platform.python_version()); \
                print('--enable-optimizations' in (sysconfig.get_config_var('CONFIG_ARGS') or ''))";
    let text = ask(Path::new("python3"), &["-c", code])?;
    let mut lines = text.lines();
    let (program, version, optimized) = (lines.next()?, lines.next()?, lines.next()?);
    let built = if optimized == "True" { "with" } else { "without" };
    Some(Native { program: program.into(), version: format!("CPython {version} (built {built} PGO)") })
}

/// Creates `target/bench-venv` if it does not exist.
fn with_libraries(python: &Native) -> anyhow::Result<Option<Native>> {
    let program = python.venv("bench-venv", LIBRARIES)?.join("python");
    let version = format!("{} with {}", python.version, LIBRARIES.join(" ").replace("==", " "));
    Ok(Some(Native { program, version }))
}

impl Native {
    /// Creates the folder below `target` with these packages of PyPI if it does not exist; returns its folder of programs.
    /// Only wheels are installed, so that no package's own code runs meanwhile.
    pub(crate) fn venv(&self, name: &str, wanted: &[&str]) -> anyhow::Result<PathBuf> {
        let folder = root().join("target").join(name);
        let (programs, stamp) = (folder.join("bin"), folder.join("libraries"));
        let list = wanted.join(" ");
        if std::fs::read_to_string(&stamp).ok().as_deref() != Some(&list) {
            eprintln!("         making a native Python with {list}");
            let run = |program: &Path, args: &[&OsStr]| -> anyhow::Result<()> {
                let output =
                    Command::new(program).args(args).output().with_context(|| program.display().to_string())?;
                if !output.status.success() {
                    bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
                }
                Ok(())
            };
            run(&self.program, &["-m".as_ref(), "venv".as_ref(), "--clear".as_ref(), folder.as_ref()])?;
            let mut pip: Vec<&OsStr> =
                ["-m", "pip", "install", "--quiet", "--only-binary", ":all:"].map(OsStr::new).to_vec();
            pip.extend(wanted.iter().map(OsStr::new));
            run(&programs.join("python"), &pip)?;
            std::fs::write(&stamp, &list)?;
        }
        Ok(programs)
    }

    /// Starts it, reads its output, waits for its end; returns milliseconds. Asserts the output.
    pub(crate) fn time<S: AsRef<OsStr>>(&self, args: &[S], cwd: &Path, expected: &str) -> anyhow::Result<f64> {
        let started = Instant::now();
        let output = Command::new(&self.program).args(args).current_dir(cwd).output().context("starting a peer")?;
        let ms = started.elapsed().as_secs_f64() * 1e3;
        let printed = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() || !printed.contains(expected) {
            bail!("{} printed {printed:?}: {}", self.version, String::from_utf8_lossy(&output.stderr));
        }
        Ok(ms)
    }

    /// Its output.
    pub(crate) fn say<S: AsRef<OsStr>>(&self, args: &[S]) -> anyhow::Result<String> {
        ask(&self.program, args).with_context(|| format!("{} failed", self.version))
    }
}
