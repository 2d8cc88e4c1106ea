//! The file of a session, up and down: what comes back is byte for byte what was sent.

use std::time::Instant;

use super::client::Client;
use super::judge::{DISTURBED, Judged, shown};
use super::random::Random;
use super::sessions::{File, Reply, State, create};
use crate::support::Call;

fn content(file: (u64, usize)) -> Vec<u8> {
    let (mut random, mut bytes) = (Random::new(file.0, 0), Vec::with_capacity(file.1 + 8));
    while bytes.len() < file.1 {
        bytes.extend_from_slice(&random.bits().to_le_bytes());
    }
    bytes.truncate(file.1);
    bytes
}

pub(super) fn put_file(client: &mut Client<'_>) -> Judged {
    let Some(at) = client.some_session() else { return create(client) };
    let from = Instant::now();
    let most = if client.random.one_in(8) { 5 << 20 } else { 200 << 10 };
    let file = (client.random.bits(), client.random.between(1, most) as usize);
    let call = Call::new("PUT", client.sessions[at].path("/files/kept.bin"));
    let call = call.body(content(file), "application/octet-stream");
    match client.in_session(at, call, &[204], true)? {
        Reply::Lost => Ok("lost"),
        Reply::Disturbed => {
            client.sessions[at].files.push(Some(file));
            Ok(DISTURBED)
        }
        Reply::Answer(_) => {
            let session = &mut client.sessions[at];
            session.files = vec![Some(file)];
            // One that rests goes on resting, with the file.
            let before = session.state;
            session.used(from);
            if before != Some(State::Suspended) {
                session.state = before;
            }
            Ok("ok")
        }
    }
}

pub(super) fn get_file(client: &mut Client<'_>) -> Judged {
    let Some(at) = client.some_session() else { return create(client) };
    let call = Call::new("GET", client.sessions[at].path("/files/kept.bin"));
    let answer = match client.in_session(at, call, &[200, 404], true)? {
        Reply::Lost => return Ok("lost"),
        Reply::Disturbed => return Ok(DISTURBED),
        Reply::Answer(answer) => answer,
    };
    let session = &mut client.sessions[at];
    // Reading brings it back into memory.
    if session.state == Some(State::Suspended) {
        session.state = Some(State::Live);
    }
    if answer.status == 404 {
        answer.check_problem("not-found")?;
        return match session.files.contains(&None) {
            true => Ok("none"),
            false => Err(format!("its file is gone, {:?}: {}", session.history, shown(&answer))),
        };
    }
    let is = |file: &File| file.is_some_and(|file| content(file) == answer.body);
    match session.files.iter().find(|file| is(file)).copied() {
        Some(file) => {
            session.files = vec![file];
            Ok("ok")
        }
        None => {
            let (length, history) = (answer.body.len(), &session.history);
            Err(format!("another file, of {length} bytes, none of {:?}; {history:?}", session.files))
        }
    }
}
