//! Hostile archives: every file in the workspace's `tests/attack/images` is a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Trial};
use support::case::Case;

/// The most memory that any archive may make the process use, including the test's own copies.
const MAX_MEMORY_BYTES: u64 = 192 << 20;

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
    if peak > MAX_MEMORY_BYTES {
        eprintln!("the archives made the process take {} MiB", peak >> 20);
        std::process::exit(101);
    }
    conclusion.exit();
}

/// This process's peak memory.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().map_or(0, |kib| kib << 10)
}
