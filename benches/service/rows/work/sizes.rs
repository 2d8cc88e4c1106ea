//! A million tasks with ten million messages beside a small database: lists, a thread, a search.

use anyhow::Context;
use serde_json::{Value, json};

use super::{AGENT, Rig, ask};
use crate::bench::Bench;
use crate::client::Client;
use crate::finding::{Finding, Unit};
use crate::stats::Samples;

const BOUND: f64 = 2.0;

/// Copies one task with its thread many times, as the service would have written them.
const GROW: &str = include_str!("../../code/grow_work.sql");

pub(in crate::rows) fn sizes(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let (many, blocks) = if bench.quick { (1_000, 20) } else { (1_000_000, 300) };
    let rig = Rig::start(bench)?;
    let mut client = rig.service.client();
    for _ in 0..200 {
        ask(&mut client, AGENT)?;
    }
    let task = ask(&mut client, AGENT)?;
    let thread = task.get("thread_id").and_then(Value::as_str).context("no thread")?.to_owned();
    let gets = [
        ("list of tasks", format!("/v1/tasks?agent={AGENT}&limit=50")),
        ("a thread's messages", format!("/v1/threads/{thread}/messages?limit=50")),
        ("search", "/v1/search?q=village&limit=20".to_owned()),
    ];
    let body = json!({ "input": "Where does the village lie?", "thread": thread }).to_string();
    client.post(&format!("/v1/agents/{AGENT}/invoke"), body.as_bytes())?.json()?;
    std::thread::sleep(std::time::Duration::from_secs(4));
    let small = times(&mut client, &gets, blocks)?;
    rig.postgres.ask(&GROW.replace("@MANY@", &many.to_string()).replace("@AGENT@", AGENT))?;
    rig.postgres.ask("ANALYZE")?;
    let counted = rig.postgres.ask("SELECT (SELECT count(*) FROM tasks) || ' ' || (SELECT count(*) FROM messages)")?;
    let large = times(&mut client, &gets, blocks)?;
    let counts = counted.trim().replace(' ', " tasks, ");
    Ok(gets
        .iter()
        .zip(small.iter().zip(&large))
        .map(|((name, _), (small, large))| {
            Finding::new("task-sizes", format!("{name} with {counts} messages"), Unit::Ms)
                .target("within twice the small database's")
                .ours(large)
                .beside("small", small.p50())
                .at_most("p50", Unit::Times, large.p50() / small.p50(), BOUND)
                .add(&format!("Small: p50 {:.2} ms, p99 {:.2} ms.", small.p50(), small.p99()))
        })
        .collect())
}

fn times(client: &mut Client, gets: &[(&str, String)], blocks: usize) -> anyhow::Result<Vec<Samples>> {
    gets.iter()
        .map(|(name, path)| {
            let mut samples = Samples::default();
            for _ in 0..blocks {
                let answer = client.call("GET", path, &[])?;
                let shown = answer.json().with_context(|| (*name).to_owned())?;
                let first = shown.as_object().and_then(|object| object.values().find_map(Value::as_array));
                anyhow::ensure!(
                    first.or(shown.as_array()).is_some_and(|list| !list.is_empty()),
                    "{name}: nothing in {shown}"
                );
                samples.push(answer.ms);
            }
            Ok(samples)
        })
        .collect()
}
