//! A million chat completions: the service's memory at the end beside the memory after the first ten thousand, the sums of
//! the records, and what the budgets say was used.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

use super::rate::CONNECTIONS;
use super::{CHAT, Rig, chat, put_budget};
use crate::bench::{Bench, text};
use crate::client::Client;
use crate::finding::{Finding, Unit};
use crate::load::{Load, Until, load, request};
use crate::process::{private_mib, usage};
use crate::upstream::{INPUT_TOKENS, OUTPUT_TOKENS};

const TASK: &str = "million";
const CALLS: usize = 1_000_000;
const FIRST_CALLS: u64 = 10_000;
/// A machine that cannot do a million in this time does fewer, and the row says so.
const MAX_TIME: Duration = Duration::from_secs(480);
/// The allowed difference of two looks at the same state, in MiB.
const MAX_NOISE_MIB: f64 = 24.0;
/// Records are in the store by then.
const RECORDS_TIMEOUT: Duration = Duration::from_secs(10);

pub(in crate::rows) fn million(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let calls = bench.times(CALLS) as u64;
    let rig = Rig::start(bench)?;
    let mut client = rig.service.client();
    let token = prepare(&mut client)?;
    let address = rig.service.address();
    let request = request(address, CHAT, &token, &chat("openai/instant", false));
    let ask = |calls, time| load(address, &request, CONNECTIONS, Until { calls, time });
    let first = ask(FIRST_CALLS, MAX_TIME)?;
    let before = look(&rig)?;
    let rest = ask(calls.saturating_sub(FIRST_CALLS), MAX_TIME)?;
    let after = look(&rig)?;
    let answered = first.answered + rest.answered;
    let records = Records::wait_for(&mut client, answered)?;
    let tokens = used(&mut client, "tokens")?;
    let requests = used(&mut client, "requests")?;
    let expected = answered * (INPUT_TOKENS + OUTPUT_TOKENS);
    let off = |one: u64, other: u64| one.abs_diff(other) as f64;
    let more = after - before;
    let (_, disk) = usage(rig.service.folder());
    let finding = Finding::new("model-million", "private memory after a million calls of a model, beyond after 10,000", Unit::Mib)
        .target("memory as after the first 10,000, every record there, budgets exact")
        .figure(more.max(0.0))
        .at_most("private memory", Unit::Mib, more, MAX_NOISE_MIB)
        .at_least("calls", Unit::Count, answered as f64, calls as f64)
        .at_most("errors", Unit::Count, (first.errors + rest.errors) as f64, 0.0)
        .at_most("records too many or too few", Unit::Count, off(records.calls, answered), 0.0)
        .at_most("tokens of the records off", Unit::Count, off(records.tokens, expected), 0.0)
        .at_most("tokens of the budget off", Unit::Count, off(tokens, expected), 0.0)
        .at_most("calls of the budget off", Unit::Count, off(requests, answered), 0.0)
        .add(&format!(
            "{answered} calls over {CONNECTIONS} connections, {:.0} a second; {before:.1} MiB after the first {FIRST_CALLS}, {after:.1} MiB \
             at the end, {disk:.0} MiB on disk. All by a run token, whose task has two budgets of its own beside the others'. Records: {} calls and {} tokens; budgets: {requests} calls and {tokens} tokens used; \
             {answered} calls of {} tokens were answered.",
            rest.per_second(),
            records.calls,
            records.tokens,
            INPUT_TOKENS + OUTPUT_TOKENS
        ));
    Ok(vec![match first_error(first, rest) {
        Some(error) => finding.add(&format!("The first error: {error}.")),
        None => finding,
    }])
}

fn first_error(first: Load, rest: Load) -> Option<String> {
    first.first_error.or(rest.first_error)
}

fn look(rig: &Rig) -> anyhow::Result<f64> {
    thread::sleep(Duration::from_millis(1_500));
    private_mib(rig.service.pid())
}

/// Makes a run token and the budgets of its task, which last as long as the task does: no window ends during the row.
fn prepare(client: &mut Client) -> anyhow::Result<String> {
    for unit in ["tokens", "requests"] {
        let spec =
            json!({ "per": "task", "only": TASK, "unit": unit, "limit": 1_000_000_000_000_u64, "window": "task" });
        put_budget(client, &format!("{TASK}-{unit}"), &spec)?;
    }
    let wanted = json!({ "agent": "bench", "task": TASK, "ttl_s": 86_400 });
    text(&client.post("/v1/run-tokens", wanted.to_string().as_bytes())?.json()?, "token")
}

/// Sums over all records.
#[derive(Debug, Clone, Copy, Default)]
struct Records {
    calls: u64,
    tokens: u64,
}

impl Records {
    fn read(client: &mut Client) -> anyhow::Result<Self> {
        let usage = client.call("GET", &format!("/v1/usage?task={TASK}"), &[])?.json()?;
        let rows = usage.get("rows").and_then(Value::as_array).cloned().unwrap_or_default();
        let sum = |name: &str| rows.iter().filter_map(|row| row.get(name)?.as_u64()).sum::<u64>();
        Ok(Self { calls: sum("requests"), tokens: sum("input_tokens") + sum("output_tokens") })
    }

    /// Reads them until there are this many, or for as long as records may take.
    fn wait_for(client: &mut Client, calls: u64) -> anyhow::Result<Self> {
        let started = Instant::now();
        loop {
            let records = Self::read(client)?;
            if records.calls >= calls || started.elapsed() > RECORDS_TIMEOUT {
                return Ok(records);
            }
            thread::sleep(Duration::from_millis(200));
        }
    }
}

/// The amount that the task's budget of this unit says was used.
fn used(client: &mut Client, unit: &str) -> anyhow::Result<u64> {
    let budget = client.call("GET", &format!("/v1/budgets/{TASK}-{unit}"), &[])?.json()?;
    let used = budget.pointer("/accounts/0/used").and_then(Value::as_str).and_then(|used| used.parse().ok());
    used.with_context(|| format!("nothing used in {budget}"))
}
