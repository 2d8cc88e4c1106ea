//! A transaction that somebody holds open in the same database: PostgreSQL can remove no dead row meanwhile.

use std::io::Write;
use std::time::Duration;

use super::{AGENT, Rig, ask};
use crate::bench::Bench;
use crate::finding::{Finding, Unit};
use crate::load::{Until, load};
use crate::stats::Samples;

const CLIENTS: usize = 32;
const BOUND: f64 = 0.9;

pub(in crate::rows) fn held(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let (before, during): (u64, u64) = if bench.quick { (4, 12) } else { (20, 180) };
    let rig = Rig::start(bench)?;
    ask(&mut rig.service.client(), AGENT)?;
    let (request, address) = (rig.invoke(AGENT), rig.service.address());
    let window =
        |seconds| load(address, &request, CLIENTS, Until { calls: u64::MAX, time: Duration::from_secs(seconds) });
    window(4)?;
    let free = window(before)?;
    let mut client = rig.postgres.client()?;
    if let Some(input) = client.stdin.as_mut() {
        // With a snapshot, or it would hold nothing back.
        input.write_all(b"BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT count(*) FROM tasks;\n")?;
        input.flush()?;
    }
    let mut rates = Samples::default();
    let mut held = window(during.saturating_sub(before))?;
    rates.push(held.per_second());
    let last = window(before)?;
    held.errors += last.errors;
    client.kill()?;
    client.wait()?;
    let ratio = last.per_second() / free.per_second();
    Ok(vec![
        Finding::new(
            "task-held",
            format!("tasks a second in the last {before} s of a transaction held for {during} s"),
            Unit::PerSecond,
        )
        .target("falls by less than 10 %, no errors")
        .figure(last.per_second())
        .beside("before", free.per_second())
        .at_least("rate", Unit::Times, ratio, BOUND)
        .at_most("errors", Unit::Count, (free.errors + held.errors) as f64, 0.0)
        .add(&format!(
            "Between them {:.0} tasks a second, {} tasks in all.",
            rates.p50(),
            free.answered + held.answered + last.answered
        )),
    ])
}
