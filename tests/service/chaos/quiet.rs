//! After the chaos: no run, session, answer, file or connection is left, and the end is in order.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::rig::{Rig, within};
use super::sampling::{CONTROLLER_HANDLES, Sample, take};
use crate::support::process;

/// A run's files are kept for five seconds, and a client that reads nothing for ten.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections to workers close after twenty idle seconds at most. Nothing is asked in this time.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(22);
/// Nothing is under way, so the drain time of thirty seconds is not needed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// A controller's connections and the like that come and go.
const HANDLES_SLACK: u64 = 6;

/// Gauges that are zero when nobody does anything.
const GAUGES: [&str; 13] = [
    "cofferdam_worker_runs_active",
    "cofferdam_worker_runs_waiting",
    "cofferdam_worker_sessions_live",
    "cofferdam_worker_sessions_suspended",
    "cofferdam_worker_answers_bytes",
    "cofferdam_worker_files_bytes",
    "cofferdam_worker_state_bytes",
    "cofferdam_worker_slots_spoiled_total",
    "cofferdam_tools_calls_active",
    "cofferdam_tools_calls_waiting",
    "cofferdam_tools_answers_bytes",
    "cofferdam_tools_files_bytes",
    "cofferdam_tools_memory_bytes",
];

/// The things that an idle rig holds.
pub(super) fn idle(rig: &Rig) -> Sample {
    take(rig)
}

/// Open descriptors by their kind.
fn kinds(pid: u32) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for target in process::open_handles(pid) {
        let kind = target.split(":[").next().unwrap_or_default().to_owned();
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

/// Everything that is not as it was when nobody had done anything yet.
fn left(rig: &Rig) -> Vec<String> {
    let texts = match rig.metrics() {
        Ok(texts) => texts,
        Err(why) => return vec![format!("no metrics: {why}")],
    };
    let mut left = Vec::new();
    for (name, text) in ["here", "at the code-runner"].iter().zip(&texts) {
        for gauge in GAUGES {
            let series =
                text.lines().filter(|line| line.strip_prefix(gauge).is_some_and(|r| r.starts_with(['{', ' '])));
            let values: Vec<f64> = series.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
            match values.iter().copied().reduce(|a, b| a + b) {
                Some(0.0) => {}
                Some(value) => left.push(format!("{gauge} {value} {name}")),
                None => left.push(format!("no {gauge} {name}")),
            }
        }
    }
    left
}

/// Waits until all is quiet, and returns the time that it took, as text.
pub(super) fn settle(rig: &Rig, idle: &Sample) -> String {
    let started = Instant::now();
    if !within(SETTLE_TIMEOUT, || left(rig).is_empty()) {
        left(rig).into_iter().for_each(|what| rig.complain("left behind", what));
    }
    let gauges = started.elapsed();
    let before = idle[CONTROLLER_HANDLES];
    let open = || take(rig)[CONTROLLER_HANDLES];
    let closed = within(SILENCE_TIMEOUT, || open() <= before + HANDLES_SLACK);
    let open = open();
    if !closed {
        let kinds = kinds(rig.server.pid());
        rig.complain("left behind", format!("{open} descriptors of the controller, {before} before: {kinds:?}"));
    }
    format!("its gauges were zero after {gauges:?}; {open} descriptors of the controller are left, {before} before")
}

/// Stops both servers, and no process of theirs stays.
pub(super) fn stop(rig: Rig) {
    let workers: Vec<u32> = rig.server.workers().into_iter().chain(rig.runner.workers()).flatten().collect();
    for mut server in [rig.server, rig.runner] {
        let started = Instant::now();
        server.signal(Signal::TERM);
        let status = server.wait();
        assert!(status.success(), "{status}\n{}", server.log());
        assert!(started.elapsed() < STOP_TIMEOUT, "the end took {:?}", started.elapsed());
        assert_eq!(process::entries(&server.folder.path().join("tmp")), 0, "left in the temporary folder");
        let log = server.log();
        // A lost worker is logged as an error of a request.
        let known = ["The worker was lost", "The worker is not ready", "No worker is ready"];
        let error = |line: &str| line.contains("\"level\":\"ERROR\"") && !known.iter().any(|part| line.contains(part));
        let bad = log.lines().find(|line| line.contains("panicked") || error(line));
        assert!(bad.is_none(), "in the log: {bad:?}");
    }
    let alive: Vec<u32> = workers.into_iter().filter(|pid| !process::command_line(*pid).is_empty()).collect();
    assert!(alive.is_empty(), "still alive: {alive:?}");
}
