//! `cofferdam doctor`: checks this machine. Writes only a probe file in the data folder.

pub(crate) mod args;
mod linux;
mod places;

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use crate::folders::data_dir;
use crate::terminal::say;
use crate::{Folders, Kernel, Machine};
use args::Args;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grade {
    Ok,
    Warn,
    Fail,
}

/// One line of the report.
#[derive(Debug)]
struct Finding {
    grade: Grade,
    subject: &'static str,
    detail: String,
}

impl Finding {
    fn new(grade: Grade, subject: &'static str, detail: impl Into<String>) -> Self {
        Self { grade, subject, detail: detail.into() }
    }

    fn is_failure(&self) -> bool {
        self.grade == Grade::Fail
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grade = match self.grade {
            Grade::Ok => "ok  ",
            Grade::Warn => "warn",
            Grade::Fail => "fail",
        };
        write!(f, "{grade}  {:<12} {}", self.subject, self.detail)
    }
}

pub(crate) fn main(args: &Args, machine: &dyn Machine) -> anyhow::Result<ExitCode> {
    let data_dir = args.data_dir.clone().map_or_else(|| data_dir(machine), Ok)?;
    let findings = examine(&data_dir, &args.folders, &args.listen, machine);
    for finding in &findings {
        say!("{finding}")?;
    }
    Ok(if findings.iter().any(Finding::is_failure) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn examine(data_dir: &Path, folders: &Folders, listen: &str, machine: &dyn Machine) -> Vec<Finding> {
    let mut findings = vec![places::data(data_dir), places::disk(data_dir)];
    findings.extend(kernels(data_dir, folders, machine));
    findings.extend([linux::release(), linux::landlock(), linux::seccomp(), places::port(listen)]);
    findings
}

fn kernels(data_dir: &Path, folders: &Folders, machine: &dyn Machine) -> Vec<Finding> {
    let kernels = || machine.kernels(&folders.kernels()?, &folders.cache(data_dir)?);
    let finding = |kernel: Kernel| {
        let name = format!("{} {}", kernel.name, kernel.version);
        if kernel.prepared {
            Finding::new(Grade::Ok, "kernel", format!("{name}: compiled, image made"))
        } else {
            Finding::new(Grade::Warn, "kernel", format!("{name}: the next start compiles it, which takes a while"))
        }
    };
    match kernels() {
        Ok(kernels) => kernels.into_iter().map(finding).collect(),
        Err(error) => vec![Finding::new(Grade::Fail, "kernels", format!("{error:#}"))],
    }
}
