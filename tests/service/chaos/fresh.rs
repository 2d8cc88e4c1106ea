//! Runs in fresh sandboxes: output that must be exactly theirs, limits, cancellation, events, files, granted HTTP.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::Client;
use super::judge::{DISTURBED, Judged, outcome_said, parsed, said, settled, shown, streamed, upstream_said};
use super::kills::Kind;
use super::rig::SECRET;
use crate::support::{Answer, Call};

pub(super) fn run(body: &Value) -> Call {
    Call::new("POST", "/v1/runs").json(body)
}

impl Client<'_> {
    /// Sends a run; `None` if a kill excuses that it has no outcome.
    pub(super) fn ran(&mut self, body: &Value) -> Result<Option<Answer>, String> {
        let from = Instant::now();
        let answer = match self.send(run(body)) {
            // An outcome with files is longer than what waits in sockets; its head had been sent.
            Err(why) if why.contains("broke off") && self.rig.kills.any_since(Kind::Snippets, from) => return Ok(None),
            answer => answer?,
        };
        settled(self.rig, Kind::Snippets, from, answer, &[200])
    }
}

pub(super) fn python(client: &mut Client<'_>) -> Judged {
    let token = client.token();
    let body = match client.random.below(4) {
        0 => json!({"language": "python", "code": "print(input())", "stdin": token}),
        1 => json!({"language": "python", "code": "import os; print(os.environ['T'])", "env": {"T": token}}),
        2 => json!({"language": "python", "code": "import sys; print(sys.argv[1])", "args": [token]}),
        _ => json!({"language": "python", "code": format!("import os\nassert os.listdir('.') == []\nassert 'T' not in \
                    os.environ\nassert not hasattr(os, 'left')\nos.left = 1\nopen('left', 'w').write('x')\nprint('{token}')")}),
    };
    let Some(answer) = client.ran(&body)? else { return Ok(DISTURBED) };
    said(&answer, &format!("{token}\n"))?;
    Ok("ok")
}

pub(super) fn javascript(client: &mut Client<'_>) -> Judged {
    let token = client.token();
    let code = format!("if (globalThis.left) throw new Error('left'); globalThis.left = 1; console.log('{token}')");
    let language = *client.random.pick(&["javascript", "typescript"]);
    let Some(answer) = client.ran(&json!({"language": language, "code": code}))? else { return Ok(DISTURBED) };
    said(&answer, &format!("{token}\n"))?;
    Ok("ok")
}

pub(super) fn files(client: &mut Client<'_>) -> Judged {
    let token = client.token();
    let code = "open('out.bin', 'wb').write(open('in.txt', 'rb').read() * 40_000)\nprint('done')";
    let from = Instant::now();
    let body = json!({"language": "python", "code": code, "files": {"in.txt": token}});
    let Some(answer) = client.ran(&body)? else { return Ok(DISTURBED) };
    said(&answer, "done\n")?;
    let id = parsed(&answer)?["id"].as_str().unwrap_or_default().to_owned();
    let answer = match client.send(Call::new("GET", format!("/v1/runs/{id}/files/out.bin"))) {
        Err(why) if why.contains("broke off") && client.rig.kills.any_since(Kind::Snippets, from) => {
            return Ok(DISTURBED);
        }
        answer => answer?,
    };
    // The worker that had the file may be another one now.
    if answer.status == 404 && client.rig.kills.any_since(Kind::Snippets, from) {
        answer.check_problem("not-found")?;
        return Ok("file-lost");
    }
    let Some(answer) = settled(client.rig, Kind::Snippets, from, answer, &[200])? else { return Ok(DISTURBED) };
    match answer.body == token.repeat(40_000).as_bytes() {
        true => Ok("ok"),
        false => Err(format!("another file of {} bytes: {}", answer.body.len(), shown(&answer))),
    }
}

pub(super) fn limit(client: &mut Client<'_>) -> Judged {
    let (language, code, limits, status, name) = *client.random.pick(&[
        ("python", "while True: pass", ("wall_ms", 30), "timeout", "wall_ms"),
        ("python", "import time; time.sleep(60)", ("wall_ms", 30), "timeout", "wall_ms"),
        ("python", "while True: pass", ("cpu_ms", 20), "limit", "cpu_ms"),
        ("python", "x = bytearray(600_000_000)", ("memory_bytes", 300_000_000), "limit", "memory_bytes"),
        ("python", "while True: print('x' * 9999)", ("output_bytes", 50_000), "limit", "output_bytes"),
        (
            "python",
            "f = open('f', 'wb')\nwhile True: f.write(b'x' * 99999)",
            ("disk_bytes", 1_000_000),
            "limit",
            "disk_bytes",
        ),
        ("python", "i = 0\nwhile True:\n    open(f'f{i}', 'w'); i += 1", ("files", 50), "limit", "files"),
        ("javascript", "for (;;) {}", ("wall_ms", 30), "timeout", "wall_ms"),
        ("javascript", "for (;;) console.log('x'.repeat(9999))", ("output_bytes", 50_000), "limit", "output_bytes"),
    ]);
    let body = json!({"language": language, "code": code, "limits": {limits.0: limits.1}});
    let Some(answer) = client.ran(&body)? else { return Ok(DISTURBED) };
    let outcome = parsed(&answer)?;
    match outcome["status"] == status && outcome["error"]["name"] == name {
        true => Ok("limited"),
        false => Err(format!("expected {status} {name}: {}", shown(&answer))),
    }
}

pub(super) fn cancel(client: &mut Client<'_>) -> Judged {
    let code = *client.random.pick(&["while True: pass", "import time; time.sleep(60)"]);
    let call = run(&json!({"language": "python", "code": code, "limits": {"wall_ms": 60_000, "cpu_ms": 60_000}}));
    let stream = call.header("x-api-key", client.key_text()).begin(client.rig.server.address)?;
    thread::sleep(Duration::from_millis(client.random.between(0, 150)));
    drop(stream);
    Ok("left")
}

/// A run whose events are asked for; the stream is closed by whoever gets it.
fn events(client: &mut Client<'_>, code: &str) -> Result<crate::support::http::Stream, String> {
    let call = run(&json!({"language": "python", "code": code})).header("accept", "text/event-stream");
    call.header("x-api-key", client.key_text()).open(client.rig.server.address)
}

pub(super) fn stream(client: &mut Client<'_>) -> Judged {
    let (token, from) = (client.token(), Instant::now());
    let code = format!("import time\nfor n in range(4):\n    print('{token}', n, flush=True); time.sleep(0.01)");
    let answer = events(client, &code)?.finish()?;
    let answer = client.checked(answer)?;
    let Some(answer) = settled(client.rig, Kind::Snippets, from, answer, &[200])? else { return Ok(DISTURBED) };
    match streamed(&answer)? {
        Some(outcome) => {
            let expected: String = (0..4).map(|n| format!("{token} {n}\n")).collect();
            outcome_said(&outcome, &expected).map_err(|why| format!("{why}: {}", shown(&answer)))?;
            Ok("ok")
        }
        None if client.rig.kills.disturbed(Kind::Snippets, from) => Ok(DISTURBED),
        None => Err(format!("no worker was killed: {}", shown(&answer))),
    }
}

pub(super) fn stream_left(client: &mut Client<'_>) -> Judged {
    let (token, from) = (client.token(), Instant::now());
    let code = format!("import time\nfor n in range(500):\n    print('{token}', n, flush=True); time.sleep(0.02)");
    let mut stream = events(client, &code)?;
    if stream.status != 200 {
        let answer = stream.finish()?;
        settled(client.rig, Kind::Snippets, from, answer, &[])?;
        return Ok(DISTURBED);
    }
    let piece = stream.chunk()?.unwrap_or_default();
    let text = String::from_utf8_lossy(&piece).into_owned();
    stream.hang_up();
    if text.contains(&token) {
        return Ok("left");
    }
    let lost = text.contains("WorkerLost") || text.contains("event: problem");
    match lost && client.rig.kills.disturbed(Kind::Snippets, from) {
        true => Ok(DISTURBED),
        false => Err(format!("the first event is {text:?}")),
    }
}

/// Granted HTTP: the upstream has to see this organization's secret, and nobody else.
pub(super) fn fetch(client: &mut Client<'_>) -> Judged {
    let (token, from, host) = (client.token(), Instant::now(), client.rig.upstream.address);
    let owner = client.rig.keys[client.key].organization_name();
    let url = format!("http://{host}/who?token={token}&key=");
    let (language, code) = match client.random.one_in(2) {
        true => (
            "python",
            format!(
                "import os, urllib.request\nanswer = urllib.request.urlopen('{url}' + os.environ['{SECRET}'])\n\
                     print(answer.read().decode(), end='')"
            ),
        ),
        false => (
            "javascript",
            format!("const answer = await fetch('{url}' + process.env.{SECRET}); console.log(await answer.text())"),
        ),
    };
    let body = json!({"language": language, "code": code, "grants": client.rig.grants()});
    let Some(answer) = client.ran(&body)? else { return Ok(DISTURBED) };
    let outcome = parsed(&answer)?;
    // A worker that has just come back may not have its way to the gateway yet.
    if outcome["status"] == "error" && client.rig.kills.disturbed(Kind::Snippets, from) {
        return Ok("no-way-yet");
    }
    if outcome["status"] != "ok" {
        return Err(format!("{language}: {}", shown(&answer)));
    }
    upstream_said(outcome["stdout"].as_str().unwrap_or_default(), owner, &token)?;
    Ok("ok")
}
