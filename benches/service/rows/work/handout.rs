//! The time from a task's insert to its hand-out, as the service's own histogram and as the difference of the task's own times.

use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use super::{AGENT, Rig, ask};
use crate::bench::Bench;
use crate::finding::{Finding, Unit};
use crate::load::{Until, load};
use crate::stats::Samples;

const IDLE_MS: f64 = 20.0;
const BUSY_MS: f64 = 50.0;

pub(in crate::rows) fn handout(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let tasks = bench.times(300);
    let rig = Rig::start(bench)?;
    let mut client = rig.service.client();
    for _ in 0..20 {
        ask(&mut client, AGENT)?;
    }
    let mut idle = Samples::default();
    for _ in 0..tasks {
        idle.push(waited(&ask(&mut client, AGENT)?)?);
        std::thread::sleep(Duration::from_millis(5));
    }
    // The load that the service takes at most, then four fifths of it: clients that pause between their tasks.
    let (request, address) = (rig.invoke(AGENT), rig.service.address());
    let window = |connections, seconds| {
        load(address, &request, connections, Until { calls: u64::MAX, time: Duration::from_secs(seconds) })
    };
    let most = window(32, 4)?.per_second();
    let mut connections = 32;
    let mut reached = most;
    while connections > 1 && reached > 0.85 * most {
        connections = connections * 3 / 4;
        reached = window(connections, 2)?.per_second();
    }
    let loaded = std::thread::spawn({
        let request = request.clone();
        move || load(address, &request, connections, Until { calls: u64::MAX, time: Duration::from_secs(8) })
    });
    std::thread::sleep(Duration::from_secs(1));
    let mut busy = Samples::default();
    while !loaded.is_finished() {
        busy.push(waited(&ask(&mut client, AGENT)?)?);
    }
    let share = loaded.join().map_err(|_| anyhow::anyhow!("the load broke off"))??.per_second() / most;
    Ok(vec![
        Finding::new("task-handout", "hand-out after the insert, idle", Unit::Ms)
            .target(&format!("p99 at most {IDLE_MS} ms"))
            .ours(&idle)
            .at_most("p99", Unit::Ms, idle.p99(), IDLE_MS),
        Finding::new("task-handout", "hand-out after the insert, under load", Unit::Ms)
            .target(&format!("p99 at most {BUSY_MS} ms at 80 % load"))
            .ours(&busy)
            .at_most("p99", Unit::Ms, busy.p99(), BUSY_MS)
            .add(&format!("The load was {:.0} % of the highest rate, {connections} clients.", share * 100.0)),
    ])
}

/// Milliseconds from a task's making to its start.
pub(super) fn waited(task: &Value) -> anyhow::Result<f64> {
    let time = |field: &str| -> anyhow::Result<f64> {
        let text = task.get(field).and_then(Value::as_str).with_context(|| format!("no {field} in {task}"))?;
        let moment: jiff::Timestamp = text.parse()?;
        Ok(moment.as_millisecond() as f64)
    };
    Ok((time("started_at")? - time("created_at")?).max(0.0))
}
