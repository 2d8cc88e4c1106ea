//! What `cofferdam doctor` looks at. It changes nothing but a probe file in the data folder.

mod linux;
mod places;

use std::fmt;
use std::path::Path;

use crate::folders::Folders;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    Ok,
    Warn,
    Fail,
}

/// One line.
#[derive(Debug)]
pub struct Finding {
    grade: Grade,
    what: &'static str,
    detail: String,
}

impl Finding {
    fn new(grade: Grade, what: &'static str, detail: impl Into<String>) -> Self {
        Self { grade, what, detail: detail.into() }
    }

    pub fn is_failure(&self) -> bool {
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
        write!(f, "{grade}  {:<12} {}", self.what, self.detail)
    }
}

/// Looks at everything.
pub fn examine(data_dir: &Path, folders: &Folders, listen: &str) -> Vec<Finding> {
    let mut findings = vec![places::data(data_dir), places::disk(data_dir)];
    findings.extend(places::kernels(data_dir, folders));
    findings.extend([linux::release(), linux::landlock(), linux::seccomp(), places::port(listen)]);
    findings
}
