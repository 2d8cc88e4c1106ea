//! Chat completions a second: the service and LiteLLM in windows that alternate, asked by the same generator over the same
//! connections, in front of the same upstream.

use std::time::Duration;

use super::{CHAT, Rig, chat};
use crate::bench::Bench;
use crate::finding::{Finding, Unit};
use crate::litellm::{self, LiteLlm};
use crate::load::{Load, Until, load, request};
use crate::stats::{Paired, Samples};

pub(super) const CONNECTIONS: usize = 16;
const BOUND: f64 = 20.0;

pub(in crate::rows) fn rate(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let (length, windows) = if bench.quick { (Duration::from_secs(1), 1) } else { (Duration::from_secs(6), 3) };
    let python = bench.peers.python.clone();
    let rig = Rig::start(bench)?;
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let peer = python.as_ref().map(|python| LiteLlm::start(python, &rig.upstream.base_url(), workers)).transpose();
    let (peer, missing) = match peer {
        Ok(peer) => (peer, None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    let window = |address, key: &str, model: &str, length| {
        let request = request(address, CHAT, key, &chat(model, false));
        load(address, &request, CONNECTIONS, Until { calls: u64::MAX, time: length })
    };
    let ours = |length| window(rig.service.address(), crate::service::KEY, "openai/instant", length);
    let direct = window(rig.upstream.address(), "", "instant", Duration::from_secs(2))?;
    ours(Duration::from_secs(1))?;
    if let Some(peer) = &peer {
        window(peer.address(), litellm::KEY, "instant", Duration::from_secs(3))?;
    }
    let (mut rates, mut mine, mut theirs) = (Paired::default(), Sum::default(), Sum::default());
    for _ in 0..windows {
        let other = match &peer {
            Some(peer) => theirs.add(window(peer.address(), litellm::KEY, "instant", length)?),
            None => 0.0,
        };
        let own = mine.add(ours(length)?);
        rates.block(&[own].into_iter().collect(), other);
    }
    let mut finding = Finding::new(
        "model-rate",
        format!("chat completions a second, {CONNECTIONS} connections"),
        Unit::PerSecond,
    )
    .target(&format!("at least {BOUND} x LiteLLM's, no errors"))
    .figure(rates.ours.p50())
    .at_most("errors", Unit::Count, mine.errors as f64, 0.0)
    .add(&format!(
        "{} calls of ours; one takes p50 {:.2} ms, p99 {:.2} ms. Service, upstream and generator share the cores; the \
                 generator asks the upstream alone {:.0} times a second.",
        mine.ms.len(),
        mine.ms.p50(),
        mine.ms.p99(),
        direct.per_second()
    ));
    finding = match (&peer, missing) {
        (Some(_), _) => {
            anyhow::ensure!(theirs.errors == 0, "LiteLLM: {} errors: {:?}", theirs.errors, theirs.first_error);
            let mut finding = finding.beside(litellm::NAME, rates.peer.p50());
            finding.ratio = Some(rates.ratio());
            finding.at_least("rate", Unit::Times, rates.ratio(), BOUND).add(&format!(
                "LiteLLM: {} calls, p50 {:.1} ms, p99 {:.1} ms; {workers} workers, its production settings, its own key checked. \
                 It has no database, without which it has no budgets and no records: ours does more for each call.",
                theirs.ms.len(),
                theirs.ms.p50(),
                theirs.ms.p99()
            ))
        }
        (None, Some(why)) => finding.add(&format!("The peer is missing here: {why}.")),
        (None, None) => finding.add("The peer is missing here."),
    };
    Ok(vec![match mine.first_error {
        Some(error) => finding.add(&format!("The first error: {error}.")),
        None => finding,
    }])
}

/// All windows of one side.
#[derive(Default)]
struct Sum {
    ms: Samples,
    errors: u64,
    first_error: Option<String>,
}

impl Sum {
    /// Adds a window; returns its rate.
    fn add(&mut self, load: Load) -> f64 {
        self.ms.extend(&load.ms);
        self.errors += load.errors;
        let rate = load.per_second();
        self.first_error = self.first_error.take().or(load.first_error);
        rate
    }
}
