//! Archives as programs in use write them: every case of `archives.toml` is read as a file, as a pipe and in small pieces, and
//! compared with its right answer. Where skopeo is installed, its answer is compared with the one that the table has.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use libtest_mimic::{Arguments, Failed, Trial};
use serde::Deserialize;
use support::case::{Case, Judge};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    case: Vec<Case>,
}

fn main() {
    let text = include_str!("archives.toml");
    let table: Table = toml::from_str(text).unwrap_or_else(|error| panic!("archives.toml: {error}"));
    let ids: BTreeSet<&str> = table.case.iter().map(|case| case.id.as_str()).collect();
    assert!(ids.len() == table.case.len() && !ids.contains(""), "a case without a name of its own");
    let skopeo = Command::new("skopeo").arg("--version").output().is_ok_and(|output| output.status.success());
    if !skopeo {
        eprintln!("SKIPPED skopeo's answers: it is not installed (Debian's package of the same name)");
    }
    let mut trials = Vec::new();
    for case in table.case {
        if let Some(judge) = case.skopeo.clone().filter(|_| skopeo) {
            let case = case.clone();
            trials.push(Trial::test(format!("skopeo::{}", case.id), move || ask(&case, &judge)));
        }
        trials.push(Trial::test(case.id.clone(), move || Ok(case.play()?)));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// Compares skopeo's answer with the recorded one.
fn ask(case: &Case, judge: &Judge) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("archive.tar");
    std::fs::write(&path, case.archive.build()?.bytes)?;
    let from = format!("{}:{}{}", judge.from, path.display(), judge.name);
    let said = copy(folder.path(), &from)?;
    match judge.says.as_str() {
        "ok" if said.is_empty() => Ok(()),
        part if !said.is_empty() && said.contains(part) => Ok(()),
        part => Err(format!("{part:?} is recorded, and it said: {said:?}").into()),
    }
}

/// The refusal of a copy into a folder; empty if it was made.
fn copy(home: &Path, from: &str) -> Result<String, Failed> {
    let platform = ["--override-os", "linux", "--override-arch", "amd64", "--insecure-policy"];
    let to = format!("dir:{}", home.join("out").display());
    let mut command = Command::new("skopeo");
    let output = command.args(platform).args(["copy", from, &to]).env("HOME", home).env("TMPDIR", home).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(if output.status.success() { String::new() } else { said })
}
