//! Tasks a second, beside what PostgreSQL does alone on the same processors: `pgbench -N` with as many clients.

use std::time::Duration;

use super::{AGENT, Rig, ask};
use crate::bench::Bench;
use crate::finding::{Finding, Unit};
use crate::load::{Until, load};
use crate::postgres::awa;
use crate::stats::{Paired, Samples};

const CLIENTS: usize = 32;
/// The part of awa's rate of empty jobs that is asked for.
const AWA_BOUND: f64 = 0.5;
/// The part of pgbench's rate that is asked for.
const BOUND: f64 = 0.2;

pub(in crate::rows) fn rate(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let (seconds, windows) = if bench.quick { (2, 1) } else { (8, 3) };
    let rig = Rig::start(bench)?;
    rig.postgres.prepare_pgbench()?;
    let task = ask(&mut rig.service.client(), AGENT)?;
    let used = task.get("used_tools").and_then(|tools| tools.as_array()).is_some_and(|tools| !tools.is_empty());
    anyhow::ensure!(used, "the task made no tool call: {task}");
    let (request, address) = (rig.invoke(AGENT), rig.service.address());
    let ours =
        |seconds| load(address, &request, CLIENTS, Until { calls: u64::MAX, time: Duration::from_secs(seconds) });
    ours(2)?;
    awa(&rig.postgres, CLIENTS, 2)?;
    let (mut paired, mut beside_awa) = (Paired::default(), Paired::default());
    let (mut ms, mut errors, mut first_error) = (Samples::default(), 0, None);
    for _ in 0..windows {
        let peer = rig.postgres.pgbench(seconds)?;
        let window = ours(seconds)?;
        let own = [window.per_second()].into_iter().collect();
        paired.block(&own, peer);
        beside_awa.block(&own, awa(&rig.postgres, CLIENTS, seconds)?);
        ms.extend(&window.ms);
        errors += window.errors;
        first_error = first_error.or(window.first_error);
    }
    let mut finding = Finding::new("task-rate", format!("tasks a second, one tool call each, {CLIENTS} clients"), Unit::PerSecond)
        .target("at least 1/5 of `pgbench -N` (goal 1/3), 1/2 of awa's empty jobs, no errors")
        .figure(paired.ours.p50())
        .beside("pgbench -N", paired.peer.p50())
        .at_least("rate", Unit::Times, paired.ratio(), BOUND)
        .at_least("rate beside awa's empty jobs", Unit::Times, beside_awa.ratio(), AWA_BOUND)
        .at_most("errors", Unit::Count, errors as f64, 0.0)
        .add(&format!(
            "{} tasks; one takes p50 {:.1} ms, p99 {:.1} ms from the request to its answer: two calls of the model, one of a \
             Wasm tool, five durable writes. awa 0.6.9 runs {:.0} empty jobs a second.",
            ms.len(),
            ms.p50(),
            ms.p99(),
            beside_awa.peer.p50()
        ));
    finding.ratio = Some(paired.ratio());
    Ok(vec![match first_error {
        Some(error) => finding.add(&format!("The first error: {error}.")),
        None => finding,
    }])
}
