//! A thousand streams at once, all of them live: the memory of the service.

use std::thread;
use std::time::{Duration, Instant};

use super::{CHAT, Rig, chat};
use crate::bench::Bench;
use crate::finding::{Finding, Unit};
use crate::load::Many;
use crate::process::{enough_files, private_mib};
use crate::stats::Samples;

const STREAMS: usize = 1_000;
const WARM_STREAMS: usize = 20;
/// Streams that are on their way to their first event at once.
const AT_ONCE: usize = 50;
const MAX_EACH_KIB: f64 = 50.0;
/// All streams must have begun by then.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(60);
/// Looks at the memory while all are live, and the time between two.
const LOOKS: usize = 30;
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

pub(in crate::rows) fn streams(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    enough_files();
    let looks = bench.times(LOOKS);
    let work = "private memory of a stream, of 1,000 at once through the AI gateway";
    let (each, detail) = memory(&Rig::start(bench)?, AT_ONCE, looks)?;
    let (crowd, crowd_detail) = memory(&Rig::start(bench)?, STREAMS, looks)?;
    Ok(vec![
        Finding::new("model-streams", work, Unit::Kib)
            .target(&format!("at most {MAX_EACH_KIB} KiB"))
            .figure(each)
            .at_most("each", Unit::Kib, each, MAX_EACH_KIB)
            .add(&format!(
                "Opened {AT_ONCE} at a time. {detail} Each holds two connections, a hold on two budgets and a record to come. \
                 Sockets' buffers are the kernel's and are not in it."
            )),
        Finding::new("model-streams", "the same where all 1,000 are opened in one moment", Unit::Kib)
            .figure(crowd)
            .add(&crowd_detail),
    ])
}

/// Opens a thousand streams of a new service; returns the memory of each in KiB, and the figures.
fn memory(rig: &Rig, at_once: usize, looks: usize) -> anyhow::Result<(f64, String)> {
    let request = rig.request(CHAT, &chat("openai/held", true));
    // What the first calls of a process bring into memory belongs to no stream.
    open(rig, &request, (WARM_STREAMS, WARM_STREAMS), 1)?;
    thread::sleep(Duration::from_secs(1));
    let before = private_mib(rig.service.pid())?;
    let held = open(rig, &request, (STREAMS, at_once), looks)?;
    thread::sleep(Duration::from_secs(1));
    let after = private_mib(rig.service.pid())?;
    let most = held.quantile(1.0);
    let detail = format!(
        "The service's {before:.1} MiB before, at most {most:.1} MiB in {} looks while all {STREAMS} were live, each with an event \
         every half second, {after:.1} MiB after the last had ended.",
        held.len()
    );
    Ok(((most - before).max(0.0) * 1024.0 / STREAMS as f64, detail))
}

/// Opens this many, looks at the service's memory while all are live, and ends them; each has to end with its last event.
fn open(rig: &Rig, request: &[u8], (count, at_once): (usize, usize), looks: usize) -> anyhow::Result<Samples> {
    let many = Many::open(rig.service.address(), request, count, at_once);
    let started = Instant::now();
    while many.begun() < count && !many.broken() && started.elapsed() < BEGIN_TIMEOUT {
        thread::sleep(Duration::from_millis(20));
    }
    let begun = many.begun();
    // The rest is broken off with the service.
    anyhow::ensure!(begun == count || many.broken(), "{begun} of {count} streams were live at once");
    let mut held = Samples::default();
    for _ in 0..looks {
        if many.broken() {
            break;
        }
        thread::sleep(LOOK_INTERVAL);
        held.push(private_mib(rig.service.pid())?);
    }
    rig.upstream.release()?;
    many.ended()?;
    Ok(held)
}
