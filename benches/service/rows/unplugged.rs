//! `kill -9` of the worker under load: every request gets an answer, and the service is back soon.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::bench::{Bench, run_body};
use crate::client::Client;
use crate::finding::{Finding, Unit};
use crate::service::signal;
use crate::stats::Samples;

const CLIENTS: usize = 16;
/// The time between two kills. A worker that dies again within 5 s is restarted only after a pause.
const KILL_INTERVAL: Duration = Duration::from_millis(5_500);
/// A refused client retries after this time; `Retry-After` would make it wait longer.
const RETRY_PAUSE: Duration = Duration::from_millis(25);
/// The target for the recovery from a lost worker.
const MAX_RECOVERY_MS: f64 = 1_000.0;

#[derive(Default)]
struct Tally {
    ran: usize,
    /// Problem documents, by status.
    refused: std::collections::BTreeMap<u16, usize>,
    unanswered: usize,
    strange: usize,
    example: Option<String>,
    /// The time at which a run that began after a kill succeeded.
    good: Vec<(Instant, Instant)>,
}

impl Tally {
    fn count(&mut self, answer: std::io::Result<crate::client::Answer>, began: Instant) -> bool {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.unanswered += 1;
                self.example.get_or_insert(error.to_string());
                return false;
            }
        };
        let document: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        match (answer.status, document.get("status").and_then(Value::as_str)) {
            (200, Some("ok")) => {
                self.ran += 1;
                self.good.push((began, Instant::now()));
                return true;
            }
            (503 | 502 | 429, _) if document.get("type").is_some() => {
                *self.refused.entry(answer.status).or_default() += 1;
            }
            _ => {
                self.strange += 1;
                self.example.get_or_insert(format!("{} {document}", answer.status));
            }
        }
        false
    }
}

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let kills = if bench.quick { 1 } else { 3 };
    let service = bench.fresh_service()?;
    let (stop, tally) = (AtomicBool::new(false), Mutex::new(Tally::default()));
    let bodies = [run_body("python", "print(sum(range(20000)))"), run_body("javascript", "console.log(1)")];
    let load = |mut client: Client, body: &[u8]| {
        while !stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            let answer = client.post("/v1/runs", body);
            let good = tally.lock().unwrap_or_else(PoisonError::into_inner).count(answer, began);
            if !good {
                thread::sleep(RETRY_PAUSE);
            }
        }
    };
    let mut killed = Vec::new();
    thread::scope(|scope| -> anyhow::Result<()> {
        for body in bodies.iter().cycle().take(CLIENTS) {
            let (client, load) = (service.client(), &load);
            scope.spawn(move || load(client, body));
        }
        let mut pull = || -> anyhow::Result<()> {
            for _ in 0..kills {
                thread::sleep(KILL_INTERVAL);
                let worker = service.worker()?;
                killed.push(Instant::now());
                signal(worker, Signal::KILL)?;
            }
            thread::sleep(KILL_INTERVAL);
            Ok(())
        };
        let pulled = pull();
        stop.store(true, Ordering::Relaxed);
        pulled
    })?;
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    let back = |at: &Instant| {
        let good = tally.good.iter().filter(|(began, _)| began > at).map(|(_, ended)| *ended - *at).min();
        good.map_or(f64::INFINITY, |time| time.as_secs_f64() * 1e3)
    };
    let times: Samples = killed.iter().map(back).collect();
    let lost = (tally.unanswered + tally.strange) as f64;
    let mut finding = Finding::new("unplugged", "`kill -9` of the worker under load: back after", Unit::Ms)
        .target("every request is answered; the service is back within a second")
        .ours(&times)
        .at_most("requests without a proper answer", Unit::Count, lost, 0.0)
        .at_most("back after", Unit::Ms, times.quantile(1.0), MAX_RECOVERY_MS)
        .add(&format!(
            "{kills} kills, {CLIENTS} clients: {} runs ended well, refused with a problem document {:?} (status: count), \
             {} without an answer, {} with another one.",
            tally.ran, tally.refused, tally.unanswered, tally.strange
        ));
    if let Some(example) = tally.example {
        finding = finding.add(&format!("For example: {example}."));
    }
    Ok(vec![finding])
}
