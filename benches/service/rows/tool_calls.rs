//! Tool calls, each in a fresh instance, compared with `/health` on the same connection; and the same over MCP.

use std::time::Duration;

use serde_json::{Value, json};

use super::throughput::{CLIENTS, window};
use crate::bench::Bench;
use crate::client::Client;
use crate::finding::{Finding, Unit};
use crate::service::Service;
use crate::stats::{Paired, Samples};
use crate::tools::{Call, adder, deploy, example, mcp, mcp_body};

const HEALTH: &str = "`/health`";
/// The allowed cost of a call beyond `/health`, in milliseconds.
const MAX_EXTRA_MS: f64 = 0.6;
/// The allowed cost of MCP beyond REST, in milliseconds.
const MCP: f64 = 1.0;

struct Tool {
    language: &'static str,
    example: &'static str,
    function: &'static str,
    arguments: Value,
    result: Value,
    most: f64,
}

fn tools() -> [Tool; 3] {
    let tool = |language, example, function, arguments, result, most| Tool {
        language,
        example,
        function,
        arguments,
        result,
        most,
    };
    [
        tool("C", "hash-c", "hash-digest-crc32", json!({ "text": "hello" }), json!(907_060_870), MAX_EXTRA_MS),
        tool(
            "JavaScript",
            "markdown-js",
            "markdown-markdown-to-html",
            json!({ "source": "# hi" }),
            json!("<h1>hi</h1>\n"),
            1.0,
        ),
        tool("Python", "hello-python", "hello-greeting-greet", json!({ "name": "you" }), json!("Hello, you."), 3.0),
    ]
}

/// Measures `ours` and `peer` in turn, ten of each per block; returns both, and how much longer ours takes.
fn in_turns(
    blocks: usize,
    mut ours: impl FnMut() -> anyhow::Result<f64>,
    mut peer: impl FnMut() -> anyhow::Result<f64>,
) -> anyhow::Result<(Paired, f64)> {
    let (mut paired, mut beyond) = (Paired::default(), Samples::default());
    for _ in 0..blocks {
        let (mut calls, mut others) = (Samples::default(), Samples::default());
        for _ in 0..10 {
            others.push(peer()?);
            calls.push(ours()?);
        }
        beyond.push(calls.p50() - others.p50());
        paired.block(&calls, others.p50());
    }
    Ok((paired, beyond.p50()))
}

pub(super) fn calls(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let blocks = bench.times(100);
    let (length, windows) = if bench.quick { (Duration::from_millis(500), 1) } else { (Duration::from_secs(3), 3) };
    let service = bench.service()?;
    let mut findings = Vec::new();
    for tool in tools() {
        let work = format!("call of the {} tool `{}`, fresh instance, over HTTP", tool.language, tool.example);
        match tool.beyond_health(service, blocks, &work) {
            Ok(finding) => findings.push(finding),
            Err(error) => findings.push(Finding::failed("tool-call", &work, &format!("{error:#}"))),
        }
        if tool.most <= MAX_EXTRA_MS {
            let work = format!("calls a second of the {} tool `{}`, {CLIENTS} clients", tool.language, tool.example);
            match tool.rate(service, length, windows, &work) {
                Ok(finding) => findings.push(finding),
                Err(error) => findings.push(Finding::failed("tool-call", &work, &format!("{error:#}"))),
            }
        }
    }
    Ok(findings)
}

impl Tool {
    fn call(&self, client: &mut Client) -> anyhow::Result<Call> {
        let component = example(self.example)?;
        deploy(client, self.example, &component, &json!({}))?;
        let call = Call::new(self.example, self.function, &self.arguments, self.result.clone());
        call.time(client)?;
        Ok(call)
    }

    fn beyond_health(&self, service: &Service, blocks: usize, work: &str) -> anyhow::Result<Finding> {
        let (mut client, mut other) = (service.client(), service.client());
        let call = self.call(&mut client)?;
        let health = || Ok(other.call("GET", "/health", &[])?.ms);
        let (paired, more) = in_turns(blocks, || call.time(&mut client), health)?;
        Ok(Finding::new("tool-call", work, Unit::Ms)
            .target(&format!("p50 at most {} ms more than {HEALTH}", self.most))
            .paired(HEALTH, &paired)
            .at_most("beyond `/health`", Unit::Ms, more, self.most)
            .add(&format!("The median call takes {more:.3} ms more than {HEALTH}.")))
    }

    /// Ours and `/health` in windows that alternate, with the same clients.
    fn rate(&self, service: &Service, length: Duration, windows: usize, work: &str) -> anyhow::Result<Finding> {
        let call = self.call(&mut service.client())?;
        let ours = |length| {
            window(CLIENTS, length, || {
                let (mut client, call) = (service.client(), &call);
                move || call.time(&mut client)
            })
        };
        let health = |length| {
            window(CLIENTS, length, || {
                let mut client = service.client();
                move || Ok(client.call("GET", "/health", &[])?.ms)
            })
        };
        ours(Duration::from_millis(300));
        let (mut rates, mut ms, mut errors) = (Paired::default(), Samples::default(), 0);
        let mut first_error = None;
        for _ in 0..windows {
            let peer = health(length).per_second;
            let window = ours(length);
            rates.block(&[window.per_second].into_iter().collect(), peer);
            ms.extend(&window.ms);
            errors += window.errors;
            first_error = first_error.or(window.first_error);
        }
        let mut finding = Finding::new("tool-call", work, Unit::PerSecond)
            .target(&format!("at least a quarter of {HEALTH}'s with the same clients, no errors"))
            .figure(rates.ours.p50())
            .beside(HEALTH, rates.peer.p50())
            .at_least("rate", Unit::Times, rates.ratio(), 0.25)
            .at_most("errors", Unit::Count, errors as f64, 0.0)
            .add(&format!("{} calls; one takes p50 {:.2} ms, p99 {:.2} ms.", ms.len(), ms.p50(), ms.p99()));
        finding.ratio = Some(rates.ratio());
        Ok(match first_error {
            Some(error) => finding.add(&format!("The first error: {error}.")),
            None => finding,
        })
    }
}

/// The same call of the same tool over MCP and over REST, in turns.
pub(super) fn through_mcp(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let blocks = bench.times(100);
    let service = bench.service()?;
    let (mut client, mut other) = (service.client(), service.client());
    deploy(&mut client, "mcp-adder", &adder("mcp")?, &json!({}))?;
    let call = Call::add("mcp-adder");
    let body = mcp_body("tools/call", &json!({ "name": "mcp-adder", "arguments": { "a": 2, "b": 3 } }));
    let over_mcp = || {
        let (result, ms) = mcp(&mut client, &body)?;
        anyhow::ensure!(result.pointer("/structuredContent/result") == Some(&json!(5)), "not 5: {result}");
        Ok(ms)
    };
    let (paired, more) = in_turns(blocks, over_mcp, || call.time(&mut other))?;
    let finding = Finding::new("mcp", "call of a tool through MCP", Unit::Ms)
        .target(&format!("p50 at most {MCP} ms more than the same call through REST"))
        .paired("REST", &paired)
        .at_most("beyond REST", Unit::Ms, more, MCP)
        .add(&format!("The median call takes {more:.3} ms more than through REST."));
    Ok(vec![finding])
}
