//! The worker's private memory per idle live session, and the speed of the last of a thousand compared with the first.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::bench::{Bench, run_printing, session, session_body};
use crate::client::Client;
use crate::finding::{Finding, Unit};
use crate::peers::Native;
use crate::process::private_mib;
use crate::stats::{Paired, Samples};

/// The last may be this much slower than the first, because medians differ by this much anyway.
pub(super) const AS_FAST: f64 = 1.25;
/// Sessions used alternately, at either end of all sessions.
const END_SESSIONS: usize = 20;

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let count = bench.times(1_000);
    let (python, node) = (bench.peers.python.clone(), bench.peers.node.clone());
    let service = bench.fresh_service()?;
    let mut client = service.client();
    let worker = service.worker()?;
    let mut findings = Vec::new();
    for (language, set, peer, most) in [("python", "n = 1", python, 2.0), ("javascript", "var n = 1", node, 0.5)] {
        // The one-time costs of a language's first sessions.
        make(&mut client, language, set, END_SESSIONS)?;
        let before = private_mib(worker)?;
        let sessions = make(&mut client, language, set, count)?;
        let each = (private_mib(worker)? - before) / count as f64;
        let paired = first_and_last(&mut client, &sessions, 10)?;
        let ratio = paired.ratio();
        let mut finding = Finding::new("live", format!("private memory of an idle live {language} session"), Unit::Mib)
            .target(&format!("at most {most} MiB; of 1,000 the last is used as fast as the first"))
            .figure(each)
            .at_most("private memory", Unit::Mib, each, most)
            .at_most("last / first", Unit::Times, ratio, AS_FAST)
            .add(&format!(
                "{count} sessions, each after one run. A run in one of the last {END_SESSIONS}: p50 {:.3} ms; in one of the first: \
                 {:.3} ms.",
                paired.ours.p50(),
                paired.peer.p50()
            ));
        finding = match peer {
            Some(native) => finding.beside("an idle native process", idle(&native, language)?),
            None => finding.add("The peer is missing here."),
        };
        findings.push(finding);
    }
    Ok(findings)
}

fn make(client: &mut Client, language: &str, set: &str, count: usize) -> anyhow::Result<Vec<String>> {
    let one = |_| {
        let id = session(client, language)?;
        run_printing(client, &session_body(&id, set), "")?;
        Ok(id)
    };
    (0..count).map(one).collect()
}

/// The last ones are "ours", the first ones the peer; each is used once per round, in turn.
pub(super) fn first_and_last(client: &mut Client, sessions: &[String], rounds: usize) -> anyhow::Result<Paired> {
    let mut paired = Paired::default();
    for round in 0..=rounds {
        let [mut first, mut last] = [Samples::default(), Samples::default()];
        for (early, late) in sessions.iter().take(END_SESSIONS).zip(sessions.iter().rev()) {
            first.push(run_printing(client, &session_body(early, "n"), "")?);
            last.push(run_printing(client, &session_body(late, "n"), "")?);
        }
        // The first time brings the pages back into the processor's caches.
        if round > 0 || rounds == 1 {
            paired.block(&last, first.p50());
        }
    }
    Ok(paired)
}

/// Private memory of a native interpreter that has started and waits.
fn idle(native: &Native, language: &str) -> anyhow::Result<f64> {
    let args: &[&str] = match language {
        "python" => &["-I", "-S", "-c", "n = 1; print('up', flush=True); input()"],
        _ => &["-e", "var n = 1; console.log('up'); process.stdin.once('data', () => process.exit())"],
    };
    let mut child = Command::new(&native.program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut line)?;
    }
    let private = private_mib(child.id());
    if let Some(mut input) = child.stdin.take() {
        input.write_all(b"\n")?;
    }
    child.wait()?;
    private
}
