//! A thousand runs that each hit a limit leak no memory, open files or folders.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::Bench;
use crate::finding::{Finding, Unit};
use crate::process::{open_files, private_mib, usage};
use crate::service::Service;

const CLIENTS: usize = 4;
/// The allowed difference of both processes' private memory between two samples of the same state, in MiB.
const MAX_NOISE_MIB: f64 = 24.0;

struct Case {
    language: &'static str,
    code: &'static str,
    limits: Value,
    /// `error.name` of the outcome.
    named: &'static str,
}

fn cases() -> Vec<Case> {
    let case = |language, code, limits, named| Case { language, code, limits, named };
    vec![
        case("python", "import time\ntime.sleep(60)", json!({ "wall_ms": 30 }), "wall_ms"),
        case("python", "while True: pass", json!({ "cpu_ms": 20 }), "cpu_ms"),
        case(
            "python",
            "x = []\nwhile True: x.append(bytearray(1 << 20))",
            json!({ "memory_bytes": 192 << 20 }),
            "memory_bytes",
        ),
        case("python", "while True: print('x' * 1000)", json!({ "output_bytes": 65536 }), "output_bytes"),
        case(
            "python",
            "f = open('f', 'wb')\nwhile True: f.write(bytes(4096))",
            json!({ "disk_bytes": 65536 }),
            "disk_bytes",
        ),
        case(
            "python",
            "n = 0\nwhile True:\n    open(str(n), 'w').close()\n    n += 1",
            json!({ "files": 50 }),
            "files",
        ),
        case("javascript", "while (true) {}", json!({ "cpu_ms": 20 }), "cpu_ms"),
        case(
            "javascript",
            "while (true) console.log('x'.repeat(1000))",
            json!({ "output_bytes": 65536 }),
            "output_bytes",
        ),
        case("javascript", "await new Promise(r => setTimeout(r, 60000))", json!({ "wall_ms": 30 }), "wall_ms"),
        case(
            "javascript",
            "const a = []; while (true) a.push(new Uint8Array(1 << 20).fill(1))",
            json!({ "memory_bytes": 64 << 20 }),
            "memory_bytes",
        ),
    ]
}

/// Figures that must not grow.
struct Look {
    private_mib: f64,
    open_files: usize,
    entries: usize,
}

fn look(service: &Service) -> anyhow::Result<Look> {
    thread::sleep(Duration::from_millis(1_500));
    let pids = [service.pid(), service.worker()?];
    let private = pids.iter().map(|pid| private_mib(*pid)).sum::<anyhow::Result<f64>>()?;
    let open_files = pids.iter().map(|pid| open_files(*pid)).sum::<anyhow::Result<usize>>()?;
    Ok(Look { private_mib: private, open_files, entries: usage(service.folder()).0 })
}

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let count = bench.times(1_000);
    let service = bench.fresh_service()?;
    let cases = cases();
    // Threads, kept slots and the last runs' files exist once the service has been busy.
    hit(&service, &cases, count * 3 / 10)?;
    let before = look(&service)?;
    let worker = service.worker()?;
    let wrong = hit(&service, &cases, count)?;
    let after = look(&service)?;
    anyhow::ensure!(worker == service.worker()?, "the worker has been replaced in between");
    let grown = |before: usize, after: usize| after.saturating_sub(before) as f64;
    let more = after.private_mib - before.private_mib;
    let mut finding = Finding::new("limits", "private memory after a thousand runs that hit a limit, beyond before", Unit::Mib)
        .target("memory, open files and temporary folders are where they were")
        .figure(more.max(0.0))
        .at_most("private memory", Unit::Mib, more, MAX_NOISE_MIB)
        .at_most("more open files", Unit::Count, grown(before.open_files, after.open_files), 2.0)
        .at_most("more files and folders", Unit::Count, grown(before.entries, after.entries), 0.0)
        .at_most("runs whose limit was not named", Unit::Count, wrong.len() as f64, 0.0)
        .add(&format!(
            "{count} runs over {} kinds of limits. Both processes together: {:.1} MiB private, {} open files, {} files and \
             folders before; {:.1} MiB, {} and {} after. The worker keeps the files of the last 256 runs for five minutes.",
            cases.len(),
            before.private_mib,
            before.open_files,
            before.entries,
            after.private_mib,
            after.open_files,
            after.entries
        ));
    if let Some(example) = wrong.first() {
        finding = finding.add(&format!("For example: {example}."));
    }
    Ok(vec![finding])
}

/// Runs this many, over all cases in turn; returns those that did not end as expected.
fn hit(service: &Service, cases: &[Case], count: usize) -> anyhow::Result<Vec<String>> {
    let next = AtomicUsize::new(0);
    let work = || -> anyhow::Result<Vec<String>> {
        let (mut client, mut wrong) = (service.client(), Vec::new());
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(number % cases.len()).filter(|_| number < count) else { return Ok(wrong) };
            let body = json!({ "language": case.language, "code": case.code, "limits": case.limits }).to_string();
            let outcome = client.post("/v1/runs", body.as_bytes())?.json()?;
            let name = outcome.pointer("/error/name").and_then(Value::as_str).unwrap_or_default();
            let status = outcome.get("status").and_then(Value::as_str).unwrap_or_default();
            if name != case.named || !matches!(status, "limit" | "timeout") {
                wrong.push(format!("{} {} ended as {status} {name}", case.language, case.named));
            }
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(work)).collect();
        let mut wrong = Vec::new();
        for one in threads {
            wrong.extend(one.join().map_err(|_| anyhow::anyhow!("a client panicked"))??);
        }
        Ok(wrong)
    })
}
