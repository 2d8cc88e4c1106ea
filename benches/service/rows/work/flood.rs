//! One organization puts 10,000 tasks into the queue; another one's tasks are timed before and meanwhile.

use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

use super::{AGENT, Rig, make_agent};
use crate::bench::Bench;
use crate::client::Client;
use crate::finding::{Finding, Unit};
use crate::stats::Samples;
use crate::tools::{adder, deploy};

const FLOOD: usize = 10_000;
const BOUND: f64 = 2.0;

pub(in crate::rows) fn flood(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let (tasks, flood) = (bench.times(200), bench.times(FLOOD));
    let rig = Rig::start(bench)?;
    let mut operator = rig.service.client();
    let body = json!({ "id": "other", "name": "other" }).to_string();
    let made = operator.post("/v1/organizations", body.as_bytes())?.json().context("making an organization")?;
    let key =
        made.pointer("/key/key").or_else(|| made.get("key")).and_then(Value::as_str).context("no key")?.to_owned();
    let mut other = Client::new(rig.service.address(), &key);
    deploy(&mut other, "bench-adder", &adder("other")?, &json!({}))?;
    make_agent(&mut other, AGENT, "openai/calls", &json!(["bench-adder"]))?;
    let timed = |client: &mut Client| -> anyhow::Result<f64> {
        let started = Instant::now();
        super::ask(client, AGENT)?;
        Ok(started.elapsed().as_secs_f64() * 1e3)
    };
    for _ in 0..20 {
        timed(&mut other)?;
    }
    // Other work on the machine slows both; what the queue adds is the question, so the first figure is taken under a load
    // that is served at once.
    let (request, address) = (rig.invoke(AGENT), rig.service.address());
    let steady = std::thread::spawn(move || {
        crate::load::load(address, &request, 32, crate::load::Until { calls: u64::MAX, time: Duration::from_secs(6) })
    });
    std::thread::sleep(Duration::from_millis(500));
    let mut before = Samples::default();
    while !steady.is_finished() && before.len() < tasks {
        before.push(timed(&mut other)?);
    }
    steady.join().map_err(|_| anyhow::anyhow!("the load broke off"))??;
    let input = json!({ "input": "How much is two and three?" }).to_string();
    for _ in 0..flood {
        let answer = operator.post(&format!("/v1/agents/{AGENT}/invoke/async"), input.as_bytes())?;
        anyhow::ensure!(
            (200..300).contains(&answer.status),
            "{}: {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
    }
    let waiting: u64 = rig.postgres.ask("SELECT count(*) FROM task_queue")?.trim().parse()?;
    let mut during = Samples::default();
    for _ in 0..tasks {
        during.push(timed(&mut other)?);
    }
    let left: u64 = rig.postgres.ask("SELECT count(*) FROM task_queue")?.trim().parse()?;
    let started = Instant::now();
    while rig.postgres.ask("SELECT count(*) FROM tasks WHERE status IN ('pending', 'executing')")?.trim() != "0" {
        anyhow::ensure!(started.elapsed() < Duration::from_secs(300), "the flood does not end");
        std::thread::sleep(Duration::from_millis(200));
    }
    let ended: u64 = rig.postgres.ask("SELECT count(*) FROM tasks WHERE status = 'completed'")?.trim().parse()?;
    Ok(vec![
        Finding::new("task-flood", format!("a task of another organization while one floods {flood}"), Unit::Ms)
            .target("p99 less than twice that without the flood, at the same load")
            .ours(&during)
            .beside("without", before.p50())
            .at_most("p99", Unit::Times, during.p99() / before.p99(), BOUND)
            .add(&format!(
                "Without the flood p50 {:.1} ms, p99 {:.1} ms; {waiting} tasks waited at the first of {} timed ones, {left} at the \
                 last; {ended} tasks completed.",
                before.p50(),
                before.p99(),
                during.len()
            )),
    ])
}
