//! Bad input and hostile code: every file of `tests/attack` is a test. After each the server must still work, and after
//! all of them the worker must be the same process.

mod support;

use std::time::{Duration, Instant};

use support::Server;

/// The time limit of a trivial run after an attack, while another attack may occupy both cores.
const MAX_AFTER_ATTACK: Duration = Duration::from_secs(5);

fn main() {
    support::cases::main("tests/attack", well, unharmed);
}

/// A fresh run succeeds within the limit.
fn well(server: &Server) -> Result<(), String> {
    let started = Instant::now();
    let call = support::Call::new("POST", "/v1/runs").header("x-api-key", &server.key);
    let answer =
        call.json(&serde_json::json!({"language": "python", "code": "print(6 * 7)"})).send_to(server.address)?;
    if answer.status != 200 || answer.json().get("stdout") != Some(&"42\n".into()) {
        return Err(format!("the server is not well afterwards: {} {}", answer.status, answer.text()));
    }
    if started.elapsed() > MAX_AFTER_ATTACK {
        return Err(format!("the server is slow afterwards: {:?}", started.elapsed()));
    }
    Ok(())
}

/// No attack has cost a worker, and no sandbox was given back with traces in it.
fn unharmed(server: &Server, before: [Option<u32>; 2]) -> bool {
    let spoiled = server.metric("cofferdam_worker_slots_spoiled_total");
    let after = server.workers();
    let good = before.iter().all(Option::is_some) && after == before && spoiled == Some(0.0);
    if !good {
        eprintln!("workers {before:?} before, {after:?} after; slots spoiled: {spoiled:?}");
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
