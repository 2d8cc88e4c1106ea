//! Ten thousand suspended sessions: their cost in memory (none) and on disk, and the time to resume the last compared
//! with the first.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::live::AS_FAST;
use crate::bench::{Bench, run_printing, session, session_body};
use crate::finding::{Finding, Unit};
use crate::process::{private_mib, usage};
use crate::service::Service;
use crate::stats::Samples;

/// Sessions that are live at the same time while they are created.
const BATCH: usize = 500;
const CLIENTS: usize = 8;
/// Longer than the interval in which ext4 commits its journal.
const SETTLE_TIME: Duration = Duration::from_secs(6);
/// Sessions resumed of each kind.
const RESUMED_SESSIONS: usize = 40;

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let count = if bench.quick { 2 * BATCH } else { 10_000 };
    let service = bench.fresh_service()?;
    let mut client = service.client();
    let worker = service.worker()?;
    let origin = session(&mut client, "python")?;
    run_printing(&mut client, &session_body(&origin, "n = 1"), "")?;
    let mut all = copies(&service, &origin)?;
    // The first are used at the same age as the last: deleting fresh files is slower than deleting those that the file
    // system has settled, however many there are.
    let (first, settled) = all.split_at(RESUMED_SESSIONS);
    let early = used(&service, first)?;
    let settled = settled.to_vec();
    let (before, started) = (private_mib(worker)?, Instant::now());
    while all.len() < count.max(2 * BATCH) {
        all.extend(copies(&service, &origin)?);
    }
    let made = (all.len() - BATCH) as f64;
    let (after, took) = (private_mib(worker)?, started.elapsed().as_secs_f64());
    let (_, disk) = usage(&service.folder().join("data"));
    let late = used(&service, all.split_at(all.len() - RESUMED_SESSIONS).1)?;
    let old = used(&service, settled.split_at(RESUMED_SESSIONS).0)?;
    let more = (after - before) / made;
    let memory = Finding::new("suspended", "memory of a suspended session", Unit::Mib)
        .target("none")
        .figure(more.max(0.0))
        // A name in a table is not private memory of a session; a page of it would be.
        .at_most("private memory", Unit::Mib, more, 4.0 / 1024.0)
        .add(&format!(
            "{} suspended sessions: the worker's private memory went from {before:.1} MiB at {BATCH} of them to \
             {after:.1} MiB; {:.2} MiB of disk each. Making and suspending one took {:.1} ms.",
            all.len(),
            disk / all.len() as f64,
            took * 1e3 / made
        ));
    let last = Finding::new("suspended", "a run in the last of 10,000 suspended sessions", Unit::Ms)
        .target("as fast as in the first")
        .ours(&late)
        .beside("in the first, of 500", early.p50())
        .at_most("last / first", Unit::Times, late.p50() / early.p50(), AS_FAST)
        .add(&format!(
            "Its resume included; {RESUMED_SESSIONS} of each, when they had been on disk for {} s. It counts as as fast up to {AS_FAST} \
             x. Of the oldest, among all the others: {:.2} ms.",
            SETTLE_TIME.as_secs(),
            old.p50()
        ));
    Ok(vec![memory, last])
}

/// A run in each of some suspended sessions, after a while.
fn used(service: &Service, sessions: &[String]) -> anyhow::Result<Samples> {
    rustix::fs::sync();
    thread::sleep(SETTLE_TIME);
    let mut client = service.client();
    sessions.iter().map(|id| run_printing(&mut client, &session_body(id, "print(n)"), "1")).collect()
}

/// Creates this many suspended copies of a session, with several clients at once.
fn copies(service: &Service, origin: &str) -> anyhow::Result<Vec<String>> {
    let answer = service
        .client()
        .post(&format!("/v1/sessions/{origin}/fork"), json!({ "count": BATCH }).to_string().as_bytes())?
        .json()?;
    let list = answer.get("sessions").and_then(Value::as_array).cloned().unwrap_or_default();
    let ids: Vec<String> = list.iter().filter_map(|one| Some(one.get("id")?.as_str()?.to_owned())).collect();
    let queue = Mutex::new(ids.iter());
    thread::scope(|scope| {
        let suspend = || -> anyhow::Result<()> {
            let mut client = service.client();
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(id) = next else { return Ok(()) };
                client.post(&format!("/v1/sessions/{id}/suspend"), &[])?.json()?;
            }
        };
        let threads: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(suspend)).collect();
        threads.into_iter().try_for_each(|one| one.join().map_err(|_| anyhow::anyhow!("a client panicked"))?)
    })?;
    Ok(ids)
}
