//! Copies a session with 10 MB of state, suspends and resumes it; includes the first run afterwards, where deferred
//! work would show.

use std::time::Instant;

use serde_json::{Value, json};

use crate::bench::{Bench, run_printing, session, session_body};
use crate::client::Client;
use crate::finding::{Finding, Unit};
use crate::peers::Native;
use crate::service::scratch;
use crate::stats::Samples;

// `os.urandom` and not `random.randbytes`, which leaves 20 MB of pages behind that it only used on its way.
const STATE: &str = "import os\nblob = os.urandom(10_000_000)\ncount = 0";
const USE: &str = "count += 1\nprint(len(blob), count)";
const USED: &str = "10000000 1";

/// `os.fork()` of a native Python with the same state, until the child has answered; in milliseconds.
const NATIVE_FORK: &str = "
import os, time
blob = os.urandom(10_000_000)
times = []
for _ in range(40):
    started = time.perf_counter()
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(w, b'%d' % len(blob))
        os._exit(0)
    os.read(r, 16)
    times.append(time.perf_counter() - started)
    os.waitpid(pid, 0)
    os.close(r), os.close(w)
print(sorted(times)[20] * 1000)
";
/// A new native Python that reads the same state back.
const NATIVE_LOAD: &str = "import pickle; print(len(pickle.load(open('state', 'rb'))))";
const NATIVE_SAVE: &str = "import os, pickle; pickle.dump(os.urandom(10_000_000), open('state', 'wb')); print('saved')";

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let (forks, resumes, hundreds) = (bench.times(100), bench.times(50), bench.times(7));
    let native = bench.peers.python.clone();
    let mut client = bench.service()?.client();
    let id = session(&mut client, "python")?;
    run_printing(&mut client, &session_body(&id, STATE), "")?;
    let mut findings = fork_one(&mut client, &id, native.as_ref(), forks)?;
    findings.extend(fork_hundred(&mut client, &id, hundreds)?);
    findings.extend(resume(&mut client, &id, native.as_ref(), resumes)?);
    delete(&mut client, &[id])?;
    Ok(findings)
}

/// Forks; returns the copies' ids and the milliseconds.
fn fork(client: &mut Client, id: &str, count: usize) -> anyhow::Result<(Vec<String>, f64)> {
    let answer = client.post(&format!("/v1/sessions/{id}/fork"), json!({ "count": count }).to_string().as_bytes())?;
    let made = answer.json()?;
    let list = made.get("sessions").and_then(Value::as_array).cloned().unwrap_or_default();
    let ids: Vec<String> = list.iter().filter_map(|one| Some(one.get("id")?.as_str()?.to_owned())).collect();
    anyhow::ensure!(ids.len() == count, "{} copies of {count}", ids.len());
    Ok((ids, answer.ms))
}

fn delete(client: &mut Client, ids: &[String]) -> anyhow::Result<()> {
    for id in ids {
        let answer = client.call("DELETE", &format!("/v1/sessions/{id}"), &[])?;
        anyhow::ensure!(answer.status == 204, "deleting: status {}", answer.status);
    }
    Ok(())
}

fn fork_one(client: &mut Client, id: &str, native: Option<&Native>, times: usize) -> anyhow::Result<Vec<Finding>> {
    let (mut alone, mut used, mut natives) = (Samples::default(), Samples::default(), Samples::default());
    for at in 0..times {
        if let Some(native) = native.filter(|_| at % 25 == 0) {
            natives.push(native.say(&["-I", "-S", "-c", NATIVE_FORK])?.parse()?);
        }
        // The original changes in between, so every fork has to copy its memory again.
        run_printing(client, &session_body(id, "pass"), "")?;
        let (copies, ms) = fork(client, id, 1)?;
        let first = run_printing(client, &session_body(copies.first().map_or("", String::as_str), USE), USED)?;
        alone.push(ms);
        used.push(ms + first);
        delete(client, &copies)?;
    }
    let fork = Finding::new("fork", "fork of a live session with 10 MB of state", Unit::Ms)
        .target("p50 at most 2 ms")
        .ours(&alone)
        .at_most("p50", Unit::Ms, alone.p50(), 2.0)
        .add(&format!("{} forks. The copy takes its own memory at its first use: see the next line.", alone.len()));
    let both = Finding::new("fork", "the fork and the copy's first run together", Unit::Ms).ours(&used);
    Ok(vec![fork, beside(both, "native `os.fork()`, child has answered", &natives)])
}

fn beside(finding: Finding, name: &str, natives: &Samples) -> Finding {
    match natives.len() {
        0 => finding.add("The peer is missing here."),
        _ => finding.beside(name, natives.p50()).charted(),
    }
}

fn fork_hundred(client: &mut Client, id: &str, times: usize) -> anyhow::Result<Vec<Finding>> {
    let (mut alone, mut used) = (Samples::default(), Samples::default());
    for _ in 0..times {
        run_printing(client, &session_body(id, "pass"), "")?;
        let (copies, ms) = fork(client, id, 100)?;
        let started = Instant::now();
        for copy in &copies {
            run_printing(client, &session_body(copy, USE), USED)?;
        }
        alone.push(ms);
        used.push(ms + started.elapsed().as_secs_f64() * 1e3);
        delete(client, &copies)?;
    }
    let fork = Finding::new("fork", "100 forks in one call", Unit::Ms)
        .target("200 ms")
        .ours(&alone)
        .at_most("p50", Unit::Ms, alone.p50(), 200.0)
        .add(&format!("{} calls.", alone.len()));
    let both = Finding::new("fork", "100 forks and a run in each, one after the other", Unit::Ms).ours(&used);
    Ok(vec![fork, both])
}

fn resume(client: &mut Client, id: &str, native: Option<&Native>, times: usize) -> anyhow::Result<Vec<Finding>> {
    let folder = scratch()?;
    if let Some(native) = native {
        native.time(&["-I", "-S", "-c", NATIVE_SAVE], folder.path(), "saved")?;
    }
    let [mut alone, mut used, mut suspended, mut natives] = [const { Vec::new() }; 4];
    for at in 0..times {
        if let Some(native) = native.filter(|_| at % 5 == 0) {
            natives.push(native.time(&["-I", "-S", "-c", NATIVE_LOAD], folder.path(), "10000000")?);
        }
        let answer = client.post(&format!("/v1/sessions/{id}/suspend"), &[])?;
        answer.json()?;
        suspended.push(answer.ms);
        let answer = client.post(&format!("/v1/sessions/{id}/resume"), &[])?;
        answer.json()?;
        alone.push(answer.ms);
        used.push(answer.ms + run_printing(client, &session_body(id, "print(len(blob))"), "10000000")?);
    }
    let [alone, used, suspended, natives] = [alone, used, suspended, natives].map(Samples::from_iter);
    let resume = Finding::new("fork", "resume of a suspended session with 10 MB of state", Unit::Ms)
        .target("p50 at most 2 ms")
        .ours(&alone)
        .at_most("p50", Unit::Ms, alone.p50(), 2.0)
        .add(&format!("{} times. Suspending it, durably: p50 {:.2} ms.", alone.len(), suspended.p50()));
    let both = Finding::new("fork", "the resume and the first run after it together", Unit::Ms).ours(&used);
    Ok(vec![resume, beside(both, "native: start, unpickle 10 MB", &natives)])
}
