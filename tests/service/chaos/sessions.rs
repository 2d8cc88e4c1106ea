//! Sessions with a counter: whatever happens, what a session says must be what its client wrote. A live one may
//! be lost when a worker was killed; a suspended one must come back.

use std::time::Instant;

use serde_json::{Value, json};

use super::client::Client;
use super::judge::{DISTURBED, Judged, parsed, said, settled, shown};
use super::kills::Kind;
use crate::support::{Answer, Call};

/// A client has about this many.
const MAX_SESSIONS: usize = 5;
/// Calls that a complaint tells.
const MAX_HISTORY: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Live,
    /// A copy, or back at its checkpoint: it is shown as live and resumed by its next run, or by a call.
    Resting,
    Suspended,
}

/// A file by the seed and length of its content.
pub(super) type File = Option<(u64, usize)>;

pub(super) struct Session {
    pub(super) id: String,
    pub(super) language: &'static str,
    /// A token that it was given when it was made.
    owner: String,
    /// Its counter is one of these: two values after a run without an answer.
    pub(super) values: Vec<u64>,
    pub(super) files: Vec<File>,
    /// `None` if it is not known.
    pub(super) state: Option<State>,
    /// It has been in memory since then, and dies with its worker.
    pub(super) exposed: Option<Instant>,
    /// A run of it was cancelled, and may have ended it.
    pub(super) may_end: bool,
    /// The last calls, for complaints.
    pub(super) history: Vec<String>,
}

/// The end of a call in a session.
pub(super) enum Reply {
    Answer(Answer),
    /// It is lost, rightly.
    Lost,
    Disturbed,
}

impl Session {
    pub(super) fn path(&self, tail: &str) -> String {
        format!("/v1/sessions/{}{tail}", self.id)
    }

    fn step(&self, token: &str) -> Value {
        let code = match self.language {
            "python" => format!("n += 1\nprint(owner, '{token}', n)"),
            _ => format!("n += 1; console.log(owner, '{token}', n)"),
        };
        json!({"session": self.id, "code": code})
    }

    pub(super) fn noted(&mut self, call: String) {
        if self.history.len() >= MAX_HISTORY {
            self.history.remove(0);
        }
        self.history.push(call);
    }

    /// A call that needed its memory was answered.
    pub(super) fn used(&mut self, from: Instant) {
        (self.state, self.exposed, self.may_end) = (Some(State::Live), Some(from), false);
    }
}

impl Client<'_> {
    /// Makes a call in a session. `touches` says that it is in memory afterwards.
    pub(super) fn in_session(&mut self, at: usize, call: Call, good: &[u16], touches: bool) -> Result<Reply, String> {
        let (from, line) =
            (Instant::now(), format!("{} {}", call.method, call.path.rsplit('/').next().unwrap_or_default()));
        if touches {
            self.sessions[at].exposed.get_or_insert(from);
        }
        let sent = self.send(call);
        let status = sent.as_ref().map_or(0, |answer| answer.status);
        self.sessions[at].noted(format!("{line} {status} after {} ms", from.elapsed().as_millis()));
        let answer = match sent {
            Err(why) if why.contains("broke off") && self.rig.kills.any_since(Kind::Snippets, from) => {
                return Ok(Reply::Disturbed);
            }
            answer => answer?,
        };
        if answer.status == 410 {
            answer.check_problem("session-lost")?;
            let session = &self.sessions[at];
            let killed = session.exposed.is_some_and(|since| self.rig.kills.any_since(Kind::Snippets, since));
            if !killed && !session.may_end {
                let (history, exposed) = (&session.history, session.exposed.map(|since| since.elapsed()));
                return Err(format!("lost without a kill, exposed {exposed:?}, {history:?}: {}", shown(&answer)));
            }
            let session = self.sessions.swap_remove(at);
            self.doomed.push(session.id);
            return Ok(Reply::Lost);
        }
        match settled(self.rig, Kind::Snippets, from, answer, good)? {
            Some(answer) => Ok(Reply::Answer(answer)),
            None => {
                self.sessions[at].state = None;
                Ok(Reply::Disturbed)
            }
        }
    }

    /// A session to act on, if there is one.
    pub(super) fn some_session(&mut self) -> Option<usize> {
        (!self.sessions.is_empty()).then(|| self.random.index(self.sessions.len()))
    }
}

pub(super) fn create(client: &mut Client<'_>) -> Judged {
    if client.sessions.len() >= MAX_SESSIONS {
        return super::session_ends::delete(client);
    }
    let (from, owner) = (Instant::now(), client.token());
    let language = *client.random.pick(&["python", "javascript"]);
    let answer = client.send(Call::new("POST", "/v1/sessions").json(&json!({"language": language, "ttl_s": 3_600})))?;
    let Some(answer) = settled(client.rig, Kind::Snippets, from, answer, &[201])? else { return Ok(DISTURBED) };
    let id = parsed(&answer)?["id"].as_str().unwrap_or_default().to_owned();
    client.rig.publish(client.key, &id);
    let code = match language {
        "python" => format!("owner = '{owner}'; n = 0; print(owner, n)"),
        _ => format!("var owner = '{owner}', n = 0; console.log(owner, n)"),
    };
    let answer = client.send(super::fresh::run(&json!({"session": id, "code": code})))?;
    if answer.status == 410 && client.rig.kills.any_since(Kind::Snippets, from) {
        answer.check_problem("session-lost")?;
        client.doomed.push(id);
        return Ok("lost");
    }
    let Some(answer) = settled(client.rig, Kind::Snippets, from, answer, &[200])? else {
        client.doomed.push(id);
        return Ok(DISTURBED);
    };
    said(&answer, &format!("{owner} 0\n"))?;
    let (state, exposed) = (Some(State::Live), Some(from));
    let (values, files) = (vec![0], vec![None]);
    client.sessions.push(Session {
        id,
        language,
        owner,
        values,
        files,
        state,
        exposed,
        may_end: false,
        history: vec![],
    });
    Ok("made")
}

pub(super) fn run(client: &mut Client<'_>) -> Judged {
    let Some(at) = client.some_session() else { return create(client) };
    let (token, from) = (client.token(), Instant::now());
    let call = super::fresh::run(&client.sessions[at].step(&token));
    match client.in_session(at, call, &[200], true)? {
        Reply::Lost => Ok("lost"),
        Reply::Disturbed => {
            let session = &mut client.sessions[at];
            let run: Vec<u64> = session.values.iter().map(|value| value + 1).collect();
            session.values.extend(run);
            session.values.sort_unstable();
            session.values.dedup();
            Ok(DISTURBED)
        }
        Reply::Answer(answer) => {
            let session = &mut client.sessions[at];
            let line = |value: &u64| format!("{} {token} {}\n", session.owner, value + 1);
            let outcome = parsed(&answer)?;
            let right = session.values.iter().find(|value| outcome["stdout"] == line(value));
            let Some(value) = right.copied().filter(|_| outcome["status"] == "ok") else {
                let (values, history) = (&session.values, &session.history);
                return Err(format!("{} after {values:?}, {history:?}: {}", session.owner, shown(&answer)));
            };
            session.values = vec![value + 1];
            let before = session.state;
            session.used(from);
            Ok(if before == Some(State::Suspended) { "woken" } else { "ok" })
        }
    }
}

pub(super) fn suspend(client: &mut Client<'_>) -> Judged {
    let Some(at) = client.some_session() else { return create(client) };
    let call = Call::new("POST", client.sessions[at].path("/suspend"));
    let answer = match client.in_session(at, call, &[200, 409], false)? {
        Reply::Lost => return Ok("lost"),
        Reply::Disturbed => return Ok(DISTURBED),
        Reply::Answer(answer) => answer,
    };
    let session = &mut client.sessions[at];
    let before = session.state;
    // One that was resumed and has not changed since is suspended again when its worker has died.
    let killed = session.exposed.is_some_and(|since| client.rig.kills.any_since(Kind::Snippets, since));
    if before.is_some_and(|state| (state == State::Suspended) != (answer.status == 409)) && !killed {
        return Err(format!("was {before:?}, {:?}: {}", session.history, shown(&answer)));
    }
    (session.state, session.exposed, session.may_end) = (Some(State::Suspended), None, false);
    if answer.status == 409 {
        answer.check_problem("conflict")?;
        return Ok("twice");
    }
    if parsed(&answer)?["state"] == "suspended" { Ok("ok") } else { Err(shown(&answer)) }
}

pub(super) fn resume(client: &mut Client<'_>) -> Judged {
    let suspended: Vec<usize> =
        (0..client.sessions.len()).filter(|at| client.sessions[*at].state == Some(State::Suspended)).collect();
    let at = if suspended.is_empty() { client.some_session() } else { Some(*client.random.pick(&suspended)) };
    let Some(at) = at else { return create(client) };
    let from = Instant::now();
    let call = Call::new("POST", client.sessions[at].path("/resume"));
    let answer = match client.in_session(at, call, &[200, 409], true)? {
        Reply::Lost => return Ok("lost"),
        Reply::Disturbed => return Ok(DISTURBED),
        Reply::Answer(answer) => answer,
    };
    let session = &mut client.sessions[at];
    let before = session.state;
    let killed = session.exposed.is_some_and(|since| client.rig.kills.any_since(Kind::Snippets, since));
    if before.is_some_and(|state| (state == State::Live) != (answer.status == 409)) && !killed {
        return Err(format!("was {before:?}, {:?}: {}", session.history, shown(&answer)));
    }
    session.used(from);
    if answer.status == 409 {
        answer.check_problem("conflict")?;
        return Ok("twice");
    }
    if parsed(&answer)?["state"] == "live" { Ok("ok") } else { Err(shown(&answer)) }
}

pub(super) fn fork(client: &mut Client<'_>) -> Judged {
    let Some(at) = client.some_session() else { return create(client) };
    if client.sessions.len() >= MAX_SESSIONS {
        return super::session_ends::delete(client);
    }
    let (from, count) = (Instant::now(), client.random.between(1, 3));
    let call = Call::new("POST", client.sessions[at].path("/fork")).json(&json!({"count": count}));
    let touches = client.sessions[at].state != Some(State::Suspended);
    let answer = match client.in_session(at, call, &[201], touches)? {
        Reply::Lost => return Ok("lost"),
        Reply::Disturbed => return Ok(DISTURBED),
        Reply::Answer(answer) => answer,
    };
    let copies = parsed(&answer)?["sessions"].as_array().cloned().unwrap_or_default();
    if copies.len() as u64 != count {
        return Err(shown(&answer));
    }
    for copy in copies {
        let id = copy["id"].as_str().unwrap_or_default().to_owned();
        client.rig.publish(client.key, &id);
        let (state, exposed) = match copy["state"].as_str() {
            Some("live") => (State::Resting, Some(from)),
            Some("suspended") => (State::Suspended, None),
            _ => return Err(shown(&answer)),
        };
        let from = &client.sessions[at];
        let (owner, values, files) = (from.owner.clone(), from.values.clone(), from.files.clone());
        let (language, state) = (from.language, Some(state));
        client.sessions.push(Session {
            id,
            language,
            owner,
            values,
            files,
            state,
            exposed,
            may_end: false,
            history: vec![],
        });
    }
    Ok("ok")
}

pub(super) fn show(client: &mut Client<'_>) -> Judged {
    let Some(at) = client.some_session() else { return create(client) };
    let call = Call::new("GET", client.sessions[at].path(""));
    let answer = match client.in_session(at, call, &[200], false)? {
        Reply::Lost => return Ok("lost"),
        Reply::Disturbed => return Ok(DISTURBED),
        Reply::Answer(answer) => answer,
    };
    let (shown_session, session) = (parsed(&answer)?, &client.sessions[at]);
    let state = match shown_session["state"].as_str() {
        Some("live") => State::Live,
        Some("suspended") => State::Suspended,
        _ => return Err(shown(&answer)),
    };
    let killed = session.exposed.is_some_and(|since| client.rig.kills.any_since(Kind::Snippets, since));
    let right = session.state.is_none_or(|known| (known == State::Suspended) == (state == State::Suspended) || killed);
    match right && shown_session["id"] == session.id && shown_session["language"] == session.language {
        true => Ok("ok"),
        false => Err(format!("was {:?}, {:?}: {}", session.state, session.history, shown(&answer))),
    }
}
