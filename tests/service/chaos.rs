//! Chaos: sixteen clients of four keys do everything at once while workers are killed, and every answer is judged. Memory
//! and descriptors stay flat, and nothing is left behind.
//!
//! `make test` runs a short form, `make chaos` one of ten minutes. `COFFERDAM_CHAOS_SECONDS` sets the time,
//! `COFFERDAM_CHAOS_SEED` the random numbers; what the machine does in between is not repeated by a seed.

mod client;
mod fresh;
mod judge;
mod keys;
mod kills;
mod quiet;
mod random;
mod rig;
mod sampling;
mod session_ends;
mod session_files;
mod sessions;
mod table;
mod tools;
mod unread;
mod upstream;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::alone;
use client::Client;
use rig::Rig;

const CLIENTS: usize = 16;
const SHORT_SECONDS: u64 = 15;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|e| panic!("{variable}={text}: {e}")))
}

#[test]
fn chaos_leaves_every_answer_right_and_nothing_behind() {
    let _one = alone();
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64);
    let seed = number("COFFERDAM_CHAOS_SEED").unwrap_or_else(now);
    let seconds = number("COFFERDAM_CHAOS_SECONDS").unwrap_or(SHORT_SECONDS);
    eprintln!("chaos of {seconds} s: COFFERDAM_CHAOS_SEED={seed}");
    let rig = Rig::start(seed);
    let idle = quiet::idle(&rig);

    let (end_kills, end_samples) = (AtomicBool::new(false), AtomicBool::new(false));
    let samples = thread::scope(|scope| {
        let (rig, end_kills, end_samples) = (&rig, &end_kills, &end_samples);
        let sampler = scope.spawn(|| sampling::keep_sampling(rig, end_samples));
        let killer = scope.spawn(|| kills::keep_killing(rig, seed, end_kills));
        let clients: Vec<_> = (0..CLIENTS).map(|n| scope.spawn(move || Client::new(rig, n).play())).collect();
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end && !rig.stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(100));
        }
        end_samples.store(true, Ordering::Relaxed);
        end_kills.store(true, Ordering::Relaxed);
        rig.stop.store(true, Ordering::Relaxed);
        for (number, client) in clients.into_iter().enumerate() {
            if client.join().is_err() {
                rig.complain("client", format!("client {number} panicked"));
            }
        }
        killer.join().expect("the killer");
        sampler.join().expect("the sampler")
    });
    let (figures, grown) = sampling::judge(&samples);
    grown.into_iter().for_each(|why| rig.complain("growth", why));
    let settled = quiet::settle(&rig, &idle);
    let (snippets, tools, longest) = rig.kills.summary();
    eprintln!(
        "\n{}\n{figures}{snippets} workers and {tools} tool workers killed, all ready again after {longest:?} at most; \
         the upstream was asked {} times; {settled}",
        rig.table.text(),
        rig.upstream.asked()
    );
    let complaints = rig.complaints();
    quiet::stop(rig);
    assert!(complaints.is_empty(), "seed {seed}: {} wrong, the first: {}", complaints.len(), complaints[0]);
    assert!(snippets + tools > 0, "no worker was killed");
}
