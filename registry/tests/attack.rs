//! Hostile archives: every file of `tests/attack/images` (of the workspace) is a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Trial};
use support::case::Case;

/// What no archive makes the process take, with the test's own copies of them.
const MEMORY: u64 = 192 << 20;

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/attack/images");
    let mut paths: Vec<PathBuf> =
        fs::read_dir(&folder).expect("the folder of cases").map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    assert!(!paths.is_empty(), "no cases in {}", folder.display());
    let trials = paths.into_iter().map(|path| {
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Trial::test(name, move || {
            let text = fs::read_to_string(&path)?;
            let case: Case = toml::from_str(&text)?;
            Ok(case.play()?)
        })
    });
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials.collect());
    let peak = peak();
    if peak > MEMORY {
        eprintln!("the archives made the process take {} MiB", peak >> 20);
        std::process::exit(101);
    }
    conclusion.exit();
}

/// The most memory that this process has had.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().map_or(0, |kib| kib << 10)
}
