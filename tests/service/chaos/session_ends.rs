//! Runs of a session that are stopped, after which it is as it was before them or lost with a word; and sessions' ends.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::Client;
use super::judge::{DISTURBED, Judged, parsed, settled, shown};
use super::kills::Kind;
use super::sessions::{Reply, Session, State, create};
use crate::support::Call;

/// Attempts to end a session, 100 ms apart.
const MAX_TRIES: usize = 100;
/// Added by runs that are stopped, so nobody may ever see it.
const NEVER: u64 = 1_000_000;

impl Session {
    /// A run that has to be stopped.
    fn endless(&self, sleeps: bool, wall_ms: u64) -> Value {
        let code = match (self.language, sleeps) {
            ("python", true) => format!("n += {NEVER}\nimport time; time.sleep(60)"),
            ("python", false) => format!("n += {NEVER}\nwhile True: pass"),
            (_, true) => format!("n += {NEVER}; await new Promise(done => setTimeout(done, 60_000))"),
            (_, false) => format!("n += {NEVER}; for (;;) {{}}"),
        };
        json!({"session": self.id, "code": code, "limits": {"wall_ms": wall_ms}})
    }
}

pub(super) fn limit(client: &mut Client<'_>) -> Judged {
    let Some(at) = client.some_session() else { return create(client) };
    let sleeps = client.random.one_in(2);
    let call = super::fresh::run(&client.sessions[at].endless(sleeps, 40));
    let answer = match client.in_session(at, call, &[200], true)? {
        Reply::Lost => return Ok("lost"),
        Reply::Disturbed => return Ok(DISTURBED),
        Reply::Answer(answer) => answer,
    };
    let outcome = parsed(&answer)?;
    let message = outcome["error"]["message"].as_str().unwrap_or_default();
    if outcome["status"] != "timeout" || outcome["error"]["name"] != "wall_ms" {
        return Err(shown(&answer));
    }
    if message.contains("the session is as it was before this run") {
        client.sessions[at].state = Some(State::Resting);
        return Ok("back");
    }
    client.sessions[at].state = None;
    if !message.contains("the session has ended with it") {
        return Err(shown(&answer));
    }
    client.sessions[at].may_end = true;
    let call = Call::new("GET", client.sessions[at].path(""));
    match client.in_session(at, call, &[], false)? {
        Reply::Lost => Ok("ended"),
        Reply::Disturbed => Ok(DISTURBED),
        Reply::Answer(answer) => Err(format!("it had ended: {}", shown(&answer))),
    }
}

pub(super) fn cancel(client: &mut Client<'_>) -> Judged {
    let Some(at) = client.some_session() else { return create(client) };
    let session = &mut client.sessions[at];
    session.exposed.get_or_insert(Instant::now());
    (session.state, session.may_end) = (None, true);
    let sleeps = client.random.one_in(2);
    let call = super::fresh::run(&client.sessions[at].endless(sleeps, 20_000));
    let stream = call.header("x-api-key", client.key_text()).begin(client.rig.server.address)?;
    let pause = client.random.between(0, 120);
    thread::sleep(Duration::from_millis(pause));
    drop(stream);
    client.sessions[at].noted(format!("cancelled after {pause} ms"));
    Ok("left")
}

pub(super) fn delete(client: &mut Client<'_>) -> Judged {
    let Some(at) = client.some_session() else { return create(client) };
    let (session, from) = (client.sessions.swap_remove(at), Instant::now());
    let answer = client.send(Call::new("DELETE", session.path("")))?;
    match settled(client.rig, Kind::Snippets, from, answer, &[204])? {
        Some(_) => Ok("ended"),
        None => {
            client.doomed.push(session.id);
            Ok(DISTURBED)
        }
    }
}

/// Ends every session of the client's.
pub(super) fn end_all(client: &mut Client<'_>) {
    let ids: Vec<String> = client.sessions.drain(..).map(|session| session.id).collect();
    ids.into_iter().for_each(|id| end(client, &id, &[204]));
    end_doomed(client);
}

/// Ends those that are lost, or whose deletion was disturbed. They may be gone already.
pub(super) fn end_doomed(client: &mut Client<'_>) {
    std::mem::take(&mut client.doomed).iter().for_each(|id| end(client, id, &[204, 404]));
}

fn end(client: &mut Client<'_>, id: &str, good: &[u16]) {
    let mut good = good.to_vec();
    for _ in 0..MAX_TRIES {
        let from = Instant::now();
        let answer = client.send(Call::new("DELETE", format!("/v1/sessions/{id}")));
        match answer.and_then(|answer| settled(client.rig, Kind::Snippets, from, answer, &good)) {
            Ok(Some(_)) => return,
            // The one that was disturbed may have ended it.
            Ok(None) => good.push(404),
            Err(why) => {
                client.rig.complain("session-delete", format!("client {}, {id}: {why}", client.number));
                return;
            }
        }
        thread::sleep(Duration::from_millis(100));
    }
    client.rig.complain("session-delete", format!("client {}: {id} could not be ended", client.number));
}
