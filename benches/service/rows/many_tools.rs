//! A thousand deployed tools compared with ten: the speed of calls and lists, and the tool worker's memory.

use serde_json::{Value, json};

use crate::bench::Bench;
use crate::client::Client;
use crate::finding::{Finding, Unit};
use crate::process::private_mib;
use crate::service::Service;
use crate::stats::Samples;
use crate::tools::{Call, adder, deploy, mcp, mcp_body};

const FEW_TOOLS: usize = 10;
/// A page of the list, the same with few and with many.
const LIST: &str = "/v1/tools?limit=10";
const MAX_SLOWDOWN: f64 = 2.0;
/// The allowed growth of the tool worker's private memory from ten to a thousand called tools, in MiB.
const MAX_GROWTH_MIB: f64 = 64.0;

fn name(number: usize) -> String {
    format!("tool-{number:04}")
}

/// The requests that are measured with few tools and with many.
struct Times {
    list: Samples,
    call: Samples,
    mcp: Samples,
    /// Tools on MCP's first page.
    listed: usize,
}

fn times(client: &mut Client, rounds: usize) -> anyhow::Result<Times> {
    let calls: Vec<Call> = (0..FEW_TOOLS).map(|number| Call::add(&name(number))).collect();
    let body = mcp_body("tools/list", &json!({}));
    let mut times = Times { list: Samples::default(), call: Samples::default(), mcp: Samples::default(), listed: 0 };
    // The first request of each kind is cold.
    calls.iter().try_for_each(|call| call.time(client).map(drop))?;
    for _ in 0..rounds {
        for call in &calls {
            let answer = client.call("GET", LIST, &[])?;
            let tools = answer.json()?.get("tools").and_then(Value::as_array).map_or(0, Vec::len);
            anyhow::ensure!(tools == FEW_TOOLS, "{tools} tools on a page of {FEW_TOOLS}");
            times.list.push(answer.ms);
            times.call.push(call.time(client)?);
            let (result, ms) = mcp(client, &body)?;
            times.mcp.push(ms);
            times.listed = result.get("tools").and_then(Value::as_array).map_or(0, Vec::len);
        }
    }
    Ok(times)
}

fn fill(client: &mut Client, from: usize, to: usize) -> anyhow::Result<()> {
    (from..to).try_for_each(|number| deploy(client, &name(number), &adder(&name(number))?, &json!({})).map(drop))
}

/// Calls each tool once; most of them are no longer in memory.
fn call_all(client: &mut Client, count: usize) -> anyhow::Result<Samples> {
    (0..count).map(|number| Call::add(&name(number)).time(client)).collect()
}

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let (many, rounds) = (bench.times(1_000), bench.times(50));
    let service: Service = bench.fresh_service()?;
    let mut client = service.client();
    fill(&mut client, 0, FEW_TOOLS)?;
    let few = times(&mut client, rounds)?;
    let worker = service.tool_worker()?;
    let before = private_mib(worker)?;
    fill(&mut client, FEW_TOOLS, many)?;
    let all = call_all(&mut client, many)?;
    let again = call_all(&mut client, many)?;
    anyhow::ensure!(worker == service.tool_worker()?, "the tool worker has been replaced in between");
    let held = private_mib(worker)? - before;
    let late = times(&mut client, rounds)?;
    let row = |what: &str, few: &Samples, late: &Samples| {
        let ratio = late.p50() / few.p50();
        Finding::new("many-tools", format!("{what} with {many} deployed tools"), Unit::Ms)
            .target(&format!("p50 at most {MAX_SLOWDOWN} x of that with {FEW_TOOLS}"))
            .ours(late)
            .beside(&format!("with {FEW_TOOLS} tools"), few.p50())
            .charted()
            .at_most("p50", Unit::Times, ratio, MAX_SLOWDOWN)
    };
    let cold = format!("A call of each of the {many} in turn, most of them not in memory: p50 {:.3} ms.", again.p50());
    let pages = format!("The first page: {} tools where it is {} with {FEW_TOOLS}.", late.listed, few.listed);
    let memory = Finding::new(
        "many-tools",
        "private memory of the tool worker after a call of each of them",
        Unit::Mib,
    )
    .target("bounded")
    .figure(held.max(0.0))
    .at_most("beyond ten tools", Unit::Mib, held, MAX_GROWTH_MIB)
    .add(&format!(
        "{before:.1} MiB after calls of {FEW_TOOLS} tools, {:.1} MiB after two of each of the {many}; the first of each took \
             p50 {:.3} ms.",
        before + held,
        all.p50()
    ));
    Ok(vec![
        row("a page of the list", &few.list, &late.list).add(&format!("`{LIST}` in both cases.")),
        row("a call", &few.call, &late.call).add(&cold),
        row("MCP's list", &few.mcp, &late.mcp).add(&pages),
        memory,
    ])
}
