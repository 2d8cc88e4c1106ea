//! Answers that nobody reads: many small ones in a row, and large files. They are held for a while and dropped; where one
//! was held for longer than the server waits, it must have been given up.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use super::client::Client;
use super::judge::{DISTURBED, Judged, parsed, said, settled};
use super::kills::Kind;
use super::session_ends;
use crate::support::Call;

/// A client holds at most this many connections.
const MAX_HELD: usize = 3;
/// The server gives up a client that has read nothing for ten seconds.
const GIVEN_UP: Duration = Duration::from_millis(13_500);
/// The bytes that are read of a connection that should have been given up.
const MAX_READ: usize = 256 << 20;
const PIPELINED: usize = 600;
const HOLE_BYTES: usize = 60_000_000;

pub(super) struct Unread {
    what: &'static str,
    stream: TcpStream,
    since: Instant,
    until: Instant,
    /// The bytes of all answers, at least.
    whole: usize,
}

pub(super) fn leave(client: &mut Client<'_>) -> Judged {
    if client.unread.len() >= MAX_HELD {
        return Ok("enough");
    }
    let hold = match client.random.one_in(3) {
        true => GIVEN_UP,
        false => Duration::from_millis(client.random.between(200, 4_000)),
    };
    let address = client.rig.server.address;
    let get = |path: &str, key: &str| format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nx-api-key: {key}\r\n\r\n");
    let (what, raw, whole, doomed) = match client.random.below(3) {
        0 => {
            let length = Call::new("GET", "/openapi.json").send_to(address)?.body.len();
            let one = format!("GET /openapi.json HTTP/1.1\r\nhost: {address}\r\n\r\n");
            ("descriptions", one.repeat(PIPELINED), length * PIPELINED, None)
        }
        _ => {
            let from = Instant::now();
            let made =
                client.send(Call::new("POST", "/v1/sessions").json(&json!({"language": "python", "ttl_s": 600})))?;
            let Some(made) = settled(client.rig, Kind::Snippets, from, made, &[201])? else { return Ok(DISTURBED) };
            let id = parsed(&made)?["id"].as_str().unwrap_or_default().to_owned();
            let code = format!("open('hole', 'wb').truncate({HOLE_BYTES}); print('made')");
            let answer = client.send(super::fresh::run(&json!({"session": id, "code": code})))?;
            if answer.status == 410 && client.rig.kills.any_since(Kind::Snippets, from) {
                client.doomed.push(id);
                return Ok(DISTURBED);
            }
            let Some(answer) = settled(client.rig, Kind::Snippets, from, answer, &[200])? else {
                client.doomed.push(id);
                return Ok(DISTURBED);
            };
            said(&answer, "made\n")?;
            let one = get(&format!("/v1/sessions/{id}/files/hole"), client.key_text());
            ("a file", one.repeat(4), HOLE_BYTES * 4, Some(id))
        }
    };
    let stream = Call { raw: Some(raw.into_bytes()), ..Call::default() }.begin(address)?;
    let since = Instant::now();
    client.unread.push(Unread { what, stream, since, until: since + hold, whole });
    // Half of the files' sessions end while their file is on its way.
    if let Some(id) = doomed {
        match client.random.one_in(2) {
            true => client.doomed.push(id),
            false => {
                let from = Instant::now();
                let answer = client.send(Call::new("DELETE", format!("/v1/sessions/{id}")))?;
                if settled(client.rig, Kind::Snippets, from, answer, &[204])?.is_none() {
                    client.doomed.push(id);
                }
            }
        }
    }
    Ok(what)
}

/// Drops what was held long enough.
pub(super) fn tend(client: &mut Client<'_>) -> Result<(), String> {
    if client.doomed.len() > 20 {
        session_ends::end_doomed(client);
    }
    let Some(at) = client.unread.iter().position(|unread| unread.until <= Instant::now()) else { return Ok(()) };
    let mut unread = client.unread.swap_remove(at);
    if unread.until - unread.since < GIVEN_UP {
        return Ok(());
    }
    let held = unread.since.elapsed();
    let _ = unread.stream.set_read_timeout(Some(Duration::from_secs(5)));
    let (mut buffer, mut read) = (vec![0; 1 << 20], 0);
    while read < MAX_READ {
        match unread.stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(format!("{} unread for {held:?}: still open after {read} bytes", unread.what));
            }
            Err(_) => break,
        }
    }
    match read < unread.whole {
        true => {
            client.rig.table.note("unread-given-up", "closed", held);
            Ok(())
        }
        false => Err(format!("{} unread for {held:?}: all of it came, {read} bytes", unread.what)),
    }
}
