//! Memory and descriptors of the processes, once a second: they may not grow from the second third to the last.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::rig::Rig;
use crate::support::process;

/// A median of the last third may exceed that of the second by this, and by a tenth.
const MEMORY_SLACK_KIB: u64 = 32 << 10;
/// The workers are young half of the time, and hold what the sessions of the moment need.
const WORKERS_SLACK_KIB: u64 = 160 << 10;
const HANDLES_SLACK: u64 = 16;
/// With fewer samples than this in a third, there is nothing to compare.
const MIN_SAMPLES: usize = 5;

pub(super) const CONTROLLER_HANDLES: usize = 1;

/// The columns of a sample, each with what it may grow by.
const COLUMNS: [(&str, u64); 6] = [
    ("controller, KiB", MEMORY_SLACK_KIB),
    ("controller, descriptors", HANDLES_SLACK),
    ("code-runner, KiB", MEMORY_SLACK_KIB),
    ("code-runner, descriptors", HANDLES_SLACK),
    ("workers, KiB", WORKERS_SLACK_KIB),
    ("workers, descriptors", 4 * HANDLES_SLACK),
];

pub(super) type Sample = [u64; COLUMNS.len()];

pub(super) fn take(rig: &Rig) -> Sample {
    let (server, runner) = (rig.server.pid(), rig.runner.pid());
    let workers = rig.server.workers().into_iter().chain(rig.runner.workers()).flatten();
    let (memory, handles) = workers
        .map(|pid| (process::private_kib(pid), process::open_handles(pid).len() as u64))
        .fold((0, 0), |(memory, handles), one| (memory + one.0, handles + one.1));
    let own = |pid: u32| (process::private_kib(pid), process::open_handles(pid).len() as u64);
    let (server, runner) = (own(server), own(runner));
    [server.0, server.1, runner.0, runner.1, memory, handles]
}

/// Samples until `stop`.
pub(super) fn keep_sampling(rig: &Rig, stop: &AtomicBool) -> Vec<Sample> {
    let mut samples = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        samples.push(take(rig));
        for _ in 0..10 {
            if !stop.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
    samples
}

fn median(samples: &[Sample], column: usize) -> u64 {
    let mut values: Vec<u64> = samples.iter().map(|sample| sample[column]).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The figures as text, and everything that grew.
pub(super) fn judge(samples: &[Sample]) -> (String, Vec<String>) {
    let third = samples.len() / 3;
    let (middle, last) = (&samples[third..2 * third], &samples[2 * third..]);
    let (mut text, mut grown) = (String::new(), Vec::new());
    for (column, (name, slack)) in COLUMNS.iter().enumerate() {
        let peak = samples.iter().map(|sample| sample[column]).max().unwrap_or_default();
        let (second, third) = (median(middle, column), median(last, column));
        text.push_str(&format!("{name:<26} peak {peak:>8}, medians of the thirds {second:>8} {third:>8}\n"));
        if middle.len() >= MIN_SAMPLES && third > second + second / 10 + slack {
            grown.push(format!("{name} grew from {second} to {third}"));
        }
    }
    (text, grown)
}
