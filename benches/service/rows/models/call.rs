//! One caller: a chat completion, and the first token of a stream, through the service and to the upstream itself, in turns.

use super::{CHAT, Rig, Turns, chat};
use crate::bench::Bench;
use crate::client::Client;
use crate::finding::{Finding, Unit};
use crate::load::Caller;
use crate::service::KEY;

const MAX_MORE_P50_MS: f64 = 0.35;
const MAX_MORE_P99_MS: f64 = 1.0;
/// Pairs of a block.
const PAIRS: usize = 50;

pub(in crate::rows) fn call(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let blocks = bench.times(200);
    let rig = Rig::start(bench)?;
    let ask = |mut client: Client, model: &str| {
        let body = chat(model, false).into_bytes();
        move || {
            let answer = client.post(CHAT, &body)?;
            anyhow::ensure!(answer.status == 200, "{}: {}", answer.status, String::from_utf8_lossy(&answer.body));
            Ok(answer.ms)
        }
    };
    let (ours, direct) = (rig.service.client(), Client::new(rig.upstream.address(), KEY));
    let (ours, direct) = (ask(ours, "openai/instant"), ask(direct, "instant"));
    let turns = Turns::take(blocks, PAIRS, ours, direct)?;
    let (p50, p99) = (turns.more_p50, turns.more_p99());
    Ok(vec![
        Finding::new("model-call", "a chat completion through the AI gateway: key, two budgets, record", Unit::Ms)
            .target(&format!("p50 at most {MAX_MORE_P50_MS} ms and p99 at most {MAX_MORE_P99_MS} ms more than direct"))
            .paired("the upstream directly", &turns.paired)
            .at_most("beyond direct, p50", Unit::Ms, p50, MAX_MORE_P50_MS)
            .at_most("beyond direct, p99", Unit::Ms, p99, MAX_MORE_P99_MS)
            .add(&format!(
                "The median call takes {p50:.3} ms more, and p99 is {p99:.3} ms more (direct: {:.3} ms). {} calls of each, one \
                 after the other in turns. The upstream is a process of its own that answers at once.",
                turns.direct.p99(),
                turns.direct.len()
            )),
    ])
}

pub(in crate::rows) fn first_token(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let blocks = bench.times(80);
    let rig = Rig::start(bench)?;
    let mut ours = Caller::new(rig.service.address(), CHAT, KEY, &chat("openai/instant", true))?;
    let mut direct = Caller::new(rig.upstream.address(), CHAT, KEY, &chat("instant", true))?;
    let turns = Turns::take(blocks, PAIRS, || Ok(ours.ask()?.first_ms), || Ok(direct.ask()?.first_ms))?;
    let (p50, p99) = (turns.more_p50, turns.more_p99());
    Ok(vec![
        Finding::new("model-first", "the first token of a stream through the AI gateway", Unit::Ms)
            .target(&format!("p99 at most {MAX_MORE_P99_MS} ms later than direct"))
            .paired("the upstream directly", &turns.paired)
            .at_most("beyond direct, p99", Unit::Ms, p99, MAX_MORE_P99_MS)
            .add(&format!(
                "The first token is {p50:.3} ms later in the median and {p99:.3} ms at p99 (direct: {:.3} ms). {} streams of \
                 20 events each, read to their end, in turns.",
                turns.direct.p99(),
                turns.direct.len()
            )),
    ])
}
