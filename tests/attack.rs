//! Bad input and hostile code: every file of `tests/attack` is a test. After each the server still has to be well, and
//! after all of them the worker has to be the one that it was.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use support::Server;
use support::case::{Case, cases};
use support::play::play;

/// A trivial run after an attack, while another attack may have both cores.
const WELL: Duration = Duration::from_secs(5);

fn main() {
    let arguments = Arguments::from_args();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attack");
    let server = (!arguments.list).then(|| Arc::new(Server::start()));
    let trials = cases(&folder).into_iter().map(|(name, path)| {
        let server = server.clone();
        Trial::test(name, move || {
            let case = Case::read(&path)?;
            let Some(server) = server else { return Ok(()) };
            play(&server, &case)?;
            well(&server)?;
            Ok(())
        })
    });
    let worker = server.as_ref().and_then(|server| server.worker_pid());
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    let unharmed = server.as_ref().is_none_or(|server| unharmed(server, worker));
    drop(server);
    if !unharmed {
        std::process::exit(101);
    }
    conclusion.exit();
}

/// A fresh run works, soon.
fn well(server: &Server) -> Result<(), String> {
    let started = Instant::now();
    let call = support::Call::new("POST", "/v1/runs").header("x-api-key", &server.key);
    let answer =
        call.json(&serde_json::json!({"language": "python", "code": "print(6 * 7)"})).send_to(server.address)?;
    if answer.status != 200 || answer.json().get("stdout") != Some(&"42\n".into()) {
        return Err(format!("the server is not well afterwards: {} {}", answer.status, answer.text()));
    }
    if started.elapsed() > WELL {
        return Err(format!("the server is slow afterwards: {:?}", started.elapsed()));
    }
    Ok(())
}

/// No attack has cost a worker, and no sandbox was given back with traces in it.
fn unharmed(server: &Server, worker: Option<u32>) -> bool {
    let spoiled = server.metric("cofferdam_worker_slots_spoiled_total");
    let good = worker.is_some() && server.worker_pid() == worker && spoiled == Some(0.0);
    if !good {
        eprintln!("worker {worker:?} before, {:?} after; slots spoiled: {spoiled:?}", server.worker_pid());
        eprintln!(
            "{}",
            server
                .log()
                .lines()
                .filter(|line| line.contains("WARN") || line.contains("ERROR"))
                .collect::<Vec<_>>()
                .join("\n")
        );
    }
    good
}
