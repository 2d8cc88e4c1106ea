//! Keys: sessions of others, which must look as if they did not exist, and keys that are revoked while they are used.

use std::time::{Duration, Instant};

use serde_json::json;

use super::client::Client;
use super::fresh::run;
use super::judge::{DISTURBED, Judged, parsed, said, settled, shown};
use super::kills::Kind;
use crate::support::Call;

/// Streams of a revoked key end within this time: a second, and what a busy machine takes.
const END_TIMEOUT: Duration = Duration::from_millis(1_500);

pub(super) fn foreign(client: &mut Client<'_>) -> Judged {
    let Some(id) = client.rig.foreign(client.key, &mut client.random) else { return Ok("none") };
    let path = format!("/v1/sessions/{id}");
    let call = match client.random.below(9) {
        0 => Call::new("GET", path),
        1 => Call::new("POST", path + "/suspend"),
        2 => Call::new("POST", path + "/resume"),
        3 => Call::new("POST", path + "/fork").json(&json!({"count": 1})),
        4 => Call::new("DELETE", path),
        5 => Call::new("GET", path + "/files/kept.bin"),
        6 => Call::new("PUT", path + "/files/kept.bin").body("foreign", "application/octet-stream"),
        7 => Call::new("POST", path + "/snapshots").json(&json!({"name": "foreign"})),
        _ => run(&json!({"session": id, "code": "n = -1"})),
    };
    let line = format!("{} {}", call.method, call.path);
    let answer = client.send(call)?;
    if answer.status != 404 {
        return Err(format!("{line}: {}", shown(&answer)));
    }
    answer.check_problem("not-found")?;
    Ok("not-found")
}

pub(super) fn revoked(client: &mut Client<'_>) -> Judged {
    let (from, token, address) = (Instant::now(), client.token(), client.rig.server.address);
    let admin = &client.rig.admins[client.rig.keys[client.key].organization];
    let made = Call::new("POST", "/v1/keys").json(&json!({"name": "short", "scopes": ["run"]}));
    let made = made.header("x-api-key", admin).send_to(address)?;
    if made.status != 201 {
        return Err(shown(&made));
    }
    let made = parsed(&made)?;
    let (id, key) = (made["id"].as_str().unwrap_or_default(), made["key"].as_str().unwrap_or_default());
    let short =
        || run(&json!({"language": "javascript", "code": format!("console.log('{token}')")})).header("x-api-key", key);
    let answer = client.checked(short().send_to(address)?)?;
    let worked = settled(client.rig, Kind::Snippets, from, answer, &[200])?;
    if let Some(answer) = &worked {
        said(answer, &format!("{token}\n"))?;
    }

    let code = format!("import time\nfor n in range(2000):\n    print('{token}', n, flush=True); time.sleep(0.02)");
    let long = run(&json!({"language": "python", "code": code, "limits": {"wall_ms": 30_000}}));
    let mut events = long.header("accept", "text/event-stream").header("x-api-key", key).open(address)?;
    let listen = Call::new("GET", "/mcp").header("accept", "text/event-stream").header("x-api-key", key);
    let mut changes = listen.open(address)?;
    if changes.status != 200 {
        return Err(format!("GET /mcp: {}", shown(&changes.finish()?)));
    }
    let begun = events.status == 200 && events.chunk()?.is_some();

    let revoke = Call::new("DELETE", format!("/v1/keys/{id}")).header("x-api-key", admin).send_to(address)?;
    let gone = Instant::now();
    if revoke.status != 204 {
        return Err(shown(&revoke));
    }
    // At once on this server, says the documentation.
    let answer = short().send_to(address)?;
    if answer.status != 401 {
        return Err(format!("revoked, and {}", shown(&answer)));
    }
    answer.check_problem("unauthorized")?;
    events.patience(END_TIMEOUT);
    let mut text = String::new();
    while let Some(Ok(Some(piece))) = begun.then(|| events.chunk()) {
        text.push_str(&String::from_utf8_lossy(&piece));
        if gone.elapsed() > END_TIMEOUT {
            return Err(format!("events go on {:?} after the key was revoked", gone.elapsed()));
        }
    }
    if text.contains("event: end") {
        return Err(format!("the run went on to its end: {text}"));
    }
    let events_ended = gone.elapsed();
    changes.patience(END_TIMEOUT);
    while let Ok(Some(_)) = changes.chunk() {}
    if events_ended > END_TIMEOUT || gone.elapsed() > END_TIMEOUT {
        return Err(format!("events ended after {events_ended:?}, MCP's changes after {:?}", gone.elapsed()));
    }
    match begun && worked.is_some() {
        true => Ok("revoked"),
        false if client.rig.kills.disturbed(Kind::Snippets, from) => Ok(DISTURBED),
        false => Err("the events did not begin, and no worker was killed".to_owned()),
    }
}
