//! Two controllers and three agent workers on one PostgreSQL and one Redis, of which a random one is killed every two seconds;
//! PostgreSQL is restarted once, Redis twice. Every task that was accepted has to end, with its history whole and its tool call
//! made once. The tool is an MCP server that counts; where a worker died between call and receipt the task asks, and is told to
//! skip.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::{AGENT, UPSTREAM_KEY};
use crate::bench::Bench;
use crate::client::Client;
use crate::counter::Counter;
use crate::finding::{Finding, Unit};
use crate::postgres::Postgres;
use crate::service::{KEY, cache, kernels, program, scratch};
use crate::upstream::Upstream;

const TOKEN: &str = "bench-worker-token-0123456789abcdef0123456789";
const ENCRYPTION: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const KILL_INTERVAL: Duration = Duration::from_secs(2);
/// The time that all tasks have to end once nothing is killed any more.
const END_TIMEOUT: Duration = Duration::from_secs(120);
const CLIENTS: usize = 6;

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// One process of the product, started again where it was killed.
struct Process {
    name: &'static str,
    command: Command,
    child: Option<Child>,
    address: SocketAddr,
}

impl Process {
    fn start(&mut self) -> anyhow::Result<()> {
        self.child = Some(self.command.spawn().with_context(|| self.name)?);
        Ok(())
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Failures only mean that it has already exited.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn wait_until_ready(&self, seconds: u64) -> anyhow::Result<()> {
        let (started, mut client) = (Instant::now(), Client::new(self.address, KEY));
        while started.elapsed() < Duration::from_secs(seconds) {
            if client.call("GET", "/ready", &[]).is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("{} was not ready in {seconds} s", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Redis {
    child: Option<Child>,
    port: u16,
}

impl Redis {
    fn start(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().context("Debian's package redis-server is missing")?);
        Ok(())
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A client's accepted tasks.
fn ask_on(addresses: &[SocketAddr], number: usize, over: &AtomicBool) -> Vec<String> {
    let mut clients: Vec<Client> = addresses.iter().map(|address| Client::new(*address, KEY)).collect();
    let (mut accepted, mut turn) = (Vec::new(), number);
    while !over.load(Ordering::Relaxed) {
        turn += 1;
        let at = turn % clients.len();
        let Some(client) = clients.get_mut(at) else { return accepted };
        // The same key again where the answer was lost: it is one task.
        let body =
            json!({ "input": "Add.", "idempotency_key": format!("chaos-{number}-{}", accepted.len()) }).to_string();
        match client.post(&format!("/v1/agents/{AGENT}/invoke/async"), body.as_bytes()) {
            Ok(answer) if (200..300).contains(&answer.status) => {
                let task = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
                if let Some(id) = task.get("id").and_then(Value::as_str) {
                    accepted.push(id.to_owned());
                }
                std::thread::sleep(Duration::from_millis(30));
            }
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
    accepted
}

pub(in crate::rows) fn chaos(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let seconds = if bench.quick { 20 } else { 120 };
    let (postgres, upstream, counter) = (Postgres::start()?, Upstream::start()?, Counter::start()?);
    let mut redis = Redis { child: None, port: free_port()? };
    redis.start()?;
    let folder = scratch()?;
    let policy = folder.path().join("policy.yaml");
    std::fs::write(&policy, "network:\n  private: [\"127.0.0.0/8\"]\n")?;
    let worker = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let mut processes = Vec::new();
    for (name, roles) in [
        ("code-runner", "code-runner"),
        ("controller 1", "controller,api"),
        ("controller 2", "controller,api"),
        ("agent worker 1", "agent-worker"),
        ("agent worker 2", "agent-worker"),
        ("agent worker 3", "agent-worker"),
    ] {
        let runs_code = roles == "code-runner";
        let address = if runs_code { worker } else { SocketAddr::from(([127, 0, 0, 1], free_port()?)) };
        let own = folder.path().join(name.replace(' ', "-"));
        std::fs::create_dir_all(&own)?;
        let mut command = Command::new(program());
        command.args(["serve", "--role", roles, "--listen", &address.to_string(), "--data-dir"]).arg(own.join("data"));
        command
            .env("COFFERDAM_KERNELS", kernels())
            .env("COFFERDAM_CACHE_DIR", cache())
            .env("COFFERDAM_WORKER_TOKEN", TOKEN);
        if !runs_code {
            command.env("DATABASE_URL", postgres.url()).env("REDIS_URL", format!("redis://127.0.0.1:{}", redis.port));
            command
                .env("COFFERDAM_API_KEY", KEY)
                .env("COFFERDAM_ENCRYPTION_KEY", ENCRYPTION)
                .env("COFFERDAM_POLICY", &policy);
            command.env("COFFERDAM_WORKERS", format!("http://{worker}"));
            command.env("OPENAI_BASE_URL", upstream.base_url()).env("OPENAI_API_KEY", UPSTREAM_KEY);
        }
        let log = File::options().create(true).append(true).open(own.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut process = Process { name, command, child: None, address };
        process.start()?;
        processes.push(process);
    }
    let served: Vec<SocketAddr> =
        processes.iter().filter(|one| one.name.starts_with("controller")).map(|one| one.address).collect();
    for process in processes.iter().filter(|one| one.name.starts_with("controller")) {
        process.wait_until_ready(120)?;
    }
    let mut client = Client::new(*served.first().context("no controller")?, KEY);
    let spec = json!({ "url": counter.url(), "auth": "none" }).to_string();
    client.call("PUT", "/v1/connectors/counter", spec.as_bytes())?.json().context("the connector")?;
    super::make_agent(
        &mut client,
        AGENT,
        "openai/calls",
        &json!([{ "name": "mcp:counter", "rename": { "add": "bench-adder" } }]),
    )?;
    super::ask(&mut client, AGENT)?;

    let over = Arc::new(AtomicBool::new(false));
    let askers: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (served, over) = (served.clone(), Arc::clone(&over));
            std::thread::spawn(move || ask_on(&served, number, &over))
        })
        .collect();
    let (begun, mut kills, mut draw) = (Instant::now(), 0_usize, 0x9E37_79B9_u64);
    let mut outages = vec![(0.3, "redis"), (0.5, "postgres"), (0.7, "redis")];
    while begun.elapsed() < Duration::from_secs(seconds) {
        std::thread::sleep(KILL_INTERVAL);
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let chosen = (draw >> 33) as usize % processes.len();
        if let Some(process) = processes.get_mut(chosen) {
            process.kill();
            process.start()?;
            kills += 1;
        }
        if outages.first().is_some_and(|(at, _)| begun.elapsed().as_secs_f64() > at * seconds as f64) {
            match outages.remove(0).1 {
                "redis" => {
                    redis.stop();
                    std::thread::sleep(Duration::from_secs(3));
                    redis.start()?;
                }
                _ => {
                    postgres.stop("immediate")?;
                    std::thread::sleep(Duration::from_secs(2));
                    postgres.resume()?;
                }
            }
        }
    }
    over.store(true, Ordering::Relaxed);
    let mut accepted = Vec::new();
    for asker in askers {
        accepted.extend(asker.join().map_err(|_| anyhow::anyhow!("a client broke off"))?);
    }
    for process in processes.iter().filter(|one| one.name.starts_with("controller")) {
        process.wait_until_ready(60)?;
    }
    let ended = settle(&mut client, &accepted)?;
    let asked = ended.values().filter(|skipped| **skipped).count();
    let open = accepted.iter().filter(|id| !ended.contains_key(*id)).count();
    let (mut broken, mut first) = (0, None);
    for id in ended.keys() {
        if let Err(error) = history(&mut client, id) {
            broken += 1;
            first.get_or_insert_with(|| format!("{id}: {error:#}"));
        }
    }
    let twice = counter.twice()?;
    let finding = Finding::new(
        "task-chaos",
        format!("tasks through {kills} kills in {seconds} s, one restart of PostgreSQL, two of Redis"),
        Unit::Count,
    )
    .target("every accepted task ends, no tool call is made twice unsaid, every history is whole")
    .figure(accepted.len() as f64)
    .at_most("accepted tasks without an end", Unit::Count, open as f64, 0.0)
    .at_most("tool calls made twice", Unit::Count, twice as f64, 0.0)
    .at_most("histories with a gap", Unit::Count, broken as f64, 0.0)
    .add(&format!(
        "{} tasks accepted; {asked} asked what to do about a call whose outcome nobody knew, and were told to skip it.",
        accepted.len()
    ));
    Ok(vec![match first {
        Some(first) => finding.add(&format!("The first broken history: {first}.")),
        None => finding,
    }])
}

/// Waits for the end of all; those that ask are told to skip the call. True for those that asked.
fn settle(client: &mut Client, accepted: &[String]) -> anyhow::Result<HashMap<String, bool>> {
    let (begun, mut ended, mut asked) = (Instant::now(), HashMap::new(), HashSet::new());
    while begun.elapsed() < END_TIMEOUT && ended.len() < accepted.len() {
        for id in accepted {
            if ended.contains_key(id) {
                continue;
            }
            let Ok(answer) = client.call("GET", &format!("/v1/tasks/{id}"), &[]) else { continue };
            let Ok(task) = answer.json() else { continue };
            match task.get("status").and_then(Value::as_str).unwrap_or_default() {
                "completed" => {
                    ended.insert(id.clone(), asked.contains(id));
                }
                "paused" => {
                    let waits = task.get("waits_for").and_then(Value::as_array).cloned().unwrap_or_default();
                    for wait in waits {
                        let call = wait.get("call_id").and_then(Value::as_str).unwrap_or_default().to_owned();
                        let body = json!({ "verdict": "skip", "digest": wait.get("digest") }).to_string();
                        asked.insert(id.clone());
                        client.post(&format!("/v1/tasks/{id}/approvals/{call}"), body.as_bytes())?;
                    }
                }
                "error" | "failed" | "stopped" => bail!("a task did not end well: {task}"),
                _ => {}
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(ended)
}

/// A task's thread has all of its messages once, and all of its events without a gap.
fn history(client: &mut Client, id: &str) -> anyhow::Result<()> {
    let task = client.call("GET", &format!("/v1/tasks/{id}"), &[])?.json()?;
    let thread = task.get("thread_id").and_then(Value::as_str).context("no thread")?.to_owned();
    let shown = client.call("GET", &format!("/v1/threads/{thread}/messages?limit=100"), &[])?.json()?;
    let messages = shown.get("messages").and_then(Value::as_array).context("no messages")?;
    let roles: Vec<&str> = messages.iter().filter_map(|message| message.get("role")?.as_str()).collect();
    anyhow::ensure!(roles == ["user", "assistant", "tool", "assistant"], "the messages are {roles:?}");
    let seqs: Vec<u64> = messages.iter().filter_map(|message| message.get("seq")?.as_u64()).collect();
    anyhow::ensure!(seqs == [1, 2, 3, 4], "the numbers of the messages are {seqs:?}");
    Ok(())
}
