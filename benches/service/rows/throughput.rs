//! Runs per second: 16 clients against the service, and two loops that spawn native processes, in alternating windows.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::bench::{Bench, run_body, run_printing};
use crate::finding::{Finding, Unit};
use crate::peers::Native;
use crate::service::{Service, scratch};
use crate::stats::{Paired, Samples};

pub(super) const CLIENTS: usize = 16;
const LOOPS: usize = 2;

/// The result of a window.
#[derive(Default)]
pub(super) struct Window {
    pub per_second: f64,
    pub ms: Samples,
    pub errors: usize,
    pub first_error: Option<String>,
}

/// Does `work` on this many threads at once for a while. `work` is created once per thread.
pub(super) fn window<W: FnMut() -> anyhow::Result<f64>>(
    threads: usize,
    length: Duration,
    make: impl Fn() -> W + Sync,
) -> Window {
    let (stop, all) = (AtomicBool::new(false), Mutex::new(Window::default()));
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let (mut work, mut own) = (make(), Window::default());
                while !stop.load(Ordering::Relaxed) {
                    match work() {
                        Ok(ms) => own.ms.push(ms),
                        Err(error) => {
                            own.errors += 1;
                            own.first_error.get_or_insert_with(|| format!("{error:#}"));
                        }
                    }
                }
                let mut all = all.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                all.ms.extend(&own.ms);
                all.errors += own.errors;
                all.first_error = all.first_error.take().or(own.first_error);
            });
        }
        thread::sleep(length);
        stop.store(true, Ordering::Relaxed);
    });
    let took = started.elapsed().as_secs_f64();
    let mut all = all.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    all.per_second = all.ms.len() as f64 / took;
    all
}

/// The numbers of a kernel's runs that got a kept slot and a new one, from the worker's metrics.
fn slots(service: &Service, kernel: &str) -> anyhow::Result<(f64, f64)> {
    let text = service.client().call("GET", "/metrics", &[])?.body;
    let text = String::from_utf8_lossy(&text);
    let read = |name: &str| {
        let wanted = format!("cofferdam_worker_slots_{name}_total{{kernel=\"{kernel}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&wanted)?.trim().parse().ok()).unwrap_or(0.0)
    };
    Ok((read("reused"), read("mapped")))
}

struct Work<'a> {
    language: &'a str,
    code: &'a str,
    peer: Option<Native>,
    args: &'a [&'a str],
    name: &'a str,
    bound: f64,
}

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let python = Work {
        language: "python",
        code: "print('hello')",
        peer: bench.peers.python.clone(),
        args: &["-I", "-S", "-c"],
        name: "python3 -I -S -c",
        bound: 12.0,
    };
    let javascript = Work {
        language: "javascript",
        code: "console.log('hello')",
        peer: bench.peers.node.clone(),
        args: &["-e"],
        name: "node -e",
        bound: 150.0,
    };
    let (length, windows) = if bench.quick { (Duration::from_secs(1), 1) } else { (Duration::from_secs(5), 3) };
    let service = bench.service()?;
    Ok(vec![python.found(service, length, windows)?, javascript.found(service, length, windows)?])
}

impl Work<'_> {
    fn found(&self, service: &Service, length: Duration, windows: usize) -> anyhow::Result<Finding> {
        let body = run_body(self.language, self.code);
        let folder = scratch()?;
        let ours = |length| {
            window(CLIENTS, length, || {
                let (mut client, body) = (service.client(), &body);
                move || run_printing(&mut client, body, "hello")
            })
        };
        ours(Duration::from_millis(500));
        let slots_before = slots(service, self.language)?;
        let (mut rates, mut all) = (Paired::default(), Window::default());
        for _ in 0..windows {
            let native = self.peer.as_ref().map_or(0.0, |native| self.native(native, length, folder.path()).per_second);
            let window = ours(length);
            rates.block(&[window.per_second].into_iter().collect(), native);
            all.ms.extend(&window.ms);
            all.errors += window.errors;
            all.first_error = all.first_error.or(window.first_error);
        }
        let (p50, p99) = (all.ms.p50(), all.ms.p99());
        let mut finding =
            Finding::new("throughput", format!("{} runs a second, {CLIENTS} clients", self.language), Unit::PerSecond)
                .target(&format!(
                    "at least {} x two loops of native `{}`, no errors, p99 at most 10 x p50",
                    self.bound, self.name
                ))
                .figure(rates.ours.p50());
        finding = match self.peer {
            Some(_) => {
                let mut finding = finding.beside("two native loops", rates.peer.p50());
                finding.ratio = Some(rates.ratio());
                finding.at_least("rate", Unit::Times, rates.ratio(), self.bound)
            }
            None => finding.add("The peer is missing here."),
        };
        finding = finding
            .at_most("errors", Unit::Count, all.errors as f64, 0.0)
            .at_most("p99 / p50", Unit::Times, p99 / p50, 10.0)
            .add(&format!(
                "{} runs, {} errors; one run takes p50 {p50:.2} ms, p99 {p99:.2} ms.",
                all.ms.len(),
                all.errors
            ));
        let (kept, new) = slots(service, self.language)?;
        let (kept, new) = (kept - slots_before.0, new - slots_before.1);
        finding =
            finding.add(&format!("{:.1}% of them had to map a new memory slot.", 100.0 * new / (kept + new).max(1.0)));
        Ok(match all.first_error {
            Some(error) => finding.add(&format!("The first error: {error}.")),
            None => finding,
        })
    }

    fn native(&self, native: &Native, length: Duration, folder: &Path) -> Window {
        let mut args = self.args.to_vec();
        args.push(self.code);
        window(LOOPS, length, || {
            let args = args.clone();
            move || native.time(&args, folder, "hello")
        })
    }
}
