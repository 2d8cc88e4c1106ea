//! Streams of many events that are translated: the time beyond the upstream's own stream, by events.

use super::{CHAT, MESSAGES, Rig, chat, messages};
use crate::bench::Bench;
use crate::finding::{Finding, Unit};
use crate::load::Caller;
use crate::service::KEY;
use crate::stats::{Paired, Samples};

const EVENTS: usize = 2_000;
const MAX_MORE_MS: f64 = 0.2;

pub(in crate::rows) fn translated(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let rounds = bench.times(60);
    let rig = Rig::start(bench)?;
    let (theirs, ours) = (rig.upstream.address(), rig.service.address());
    let model = format!("words-{EVENTS}");
    let (openai, anthropic) = (format!("openai/{model}"), format!("anthropic/{model}"));
    let mut plain = Caller::new(ours, CHAT, KEY, &chat(&openai, true))?;
    let mut chats = Caller::new(theirs, CHAT, KEY, &chat(&model, true))?;
    let mut others = Caller::new(theirs, MESSAGES, KEY, &messages(&model))?;
    let mut findings = Vec::new();
    for (work, caller, direct) in [
        (
            "a stream translated for a caller of Messages from an upstream of Chat, each event",
            &mut Caller::new(ours, MESSAGES, KEY, &messages(&openai))?,
            &mut chats,
        ),
        (
            "a stream translated for a caller of Chat from an upstream of Messages, each event",
            &mut Caller::new(ours, CHAT, KEY, &chat(&anthropic, true))?,
            &mut others,
        ),
    ] {
        let (mut paired, mut more, mut passed) = (Paired::default(), Samples::default(), Samples::default());
        for round in 0..=rounds {
            let (direct, plain, caller) = (each(direct)?, each(&mut plain)?, each(caller)?);
            // The first round warms.
            if round > 0 {
                paired.block(&[caller].into_iter().collect(), direct);
                more.push(caller - direct);
                passed.push(plain);
            }
        }
        let mut finding = Finding::new("model-translated", work, Unit::Ms)
            .target(&format!("at most {MAX_MORE_MS} ms an event more than direct"))
            .paired("the upstream directly", &paired)
            .at_most("beyond direct, an event", Unit::Ms, more.p50(), MAX_MORE_MS)
            .add(&format!(
                "Streams of {EVENTS} events, which the upstream writes one by one as fast as it can; the time of the whole stream by \
                 its events, so the hops and the reader are in it. {:.4} ms an event more than direct; passed on untranslated an \
                 event takes {:.4} ms.",
                more.p50(),
                passed.p50()
            ));
        finding.charted = false;
        findings.push(finding);
    }
    Ok(findings)
}

/// Milliseconds of an event of one stream.
fn each(caller: &mut Caller) -> anyhow::Result<f64> {
    let streamed = caller.ask()?;
    anyhow::ensure!(streamed.events >= EVENTS, "{} events where {EVENTS} and more were to come", streamed.events);
    Ok(streamed.whole_ms / EVENTS as f64)
}
