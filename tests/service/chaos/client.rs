//! A client: it picks an action, does it, judges the answer, and notes both.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::judge::{Judged, shown};
use super::random::Random;
use super::rig::{KEYS, Rig};
use super::sessions::Session;
use super::unread::Unread;
use super::{fresh, keys, session_ends, session_files, sessions, tools, unread};
use crate::support::kept::Kept;
use crate::support::{Answer, Call};

type Action = fn(&mut Client<'_>) -> Judged;

/// The actions with their weights.
const ACTIONS: [(&str, u64, Action); 28] = [
    ("run-python", 12, fresh::python),
    ("run-javascript", 12, fresh::javascript),
    ("run-files", 4, fresh::files),
    ("run-limit", 5, fresh::limit),
    ("run-cancel", 3, fresh::cancel),
    ("run-stream", 4, fresh::stream),
    ("run-stream-left", 3, fresh::stream_left),
    ("run-fetch", 6, fresh::fetch),
    ("run-tool", 4, tools::from_snippet),
    ("tool-call", 8, tools::call),
    ("mcp-initialize", 2, tools::mcp_initialize),
    ("mcp-list", 2, tools::mcp_list),
    ("mcp-run", 4, tools::mcp_run),
    ("mcp-call", 4, tools::mcp_call),
    ("session-new", 5, sessions::create),
    ("session-run", 20, sessions::run),
    ("session-suspend", 10, sessions::suspend),
    ("session-resume", 6, sessions::resume),
    ("session-fork", 4, sessions::fork),
    ("session-show", 4, sessions::show),
    ("session-put", 5, session_files::put_file),
    ("session-get", 7, session_files::get_file),
    ("session-limit", 3, session_ends::limit),
    ("session-cancel", 2, session_ends::cancel),
    ("session-delete", 5, session_ends::delete),
    ("foreign-key", 5, keys::foreign),
    ("key-revoked", 1, keys::revoked),
    ("unread", 2, unread::leave),
];

pub(super) struct Client<'r> {
    pub(super) rig: &'r Rig,
    pub(super) number: usize,
    /// The number of its key.
    pub(super) key: usize,
    pub(super) random: Random,
    kept: Kept,
    pub(super) sessions: Vec<Session>,
    pub(super) unread: Vec<Unread>,
    /// Sessions that are to be deleted at the end: lost ones, and those whose deletion was disturbed.
    pub(super) doomed: Vec<String>,
}

impl<'r> Client<'r> {
    pub(super) fn new(rig: &'r Rig, number: usize) -> Self {
        let kept = Kept::to(rig.server.address);
        let random = Random::new(rig.seed, number);
        let (sessions, unread, doomed) = (Vec::new(), Vec::new(), Vec::new());
        Self { rig, number, key: number % KEYS, random, kept, sessions, unread, doomed }
    }

    /// Acts until the chaos is over, then ends its sessions.
    pub(super) fn play(mut self) {
        let all: u64 = ACTIONS.iter().map(|(_, weight, _)| weight).sum();
        while !self.rig.stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(self.random.between(2, 30)));
            let mut at = self.random.below(all);
            let chosen = ACTIONS.iter().find(|(_, weight, _)| {
                let here = at < *weight;
                at = at.saturating_sub(*weight);
                here
            });
            let (name, _, action) = chosen.expect("an action");
            let started = Instant::now();
            match action(&mut self) {
                Ok(outcome) => self.rig.table.note(name, outcome, started.elapsed()),
                Err(why) => {
                    self.rig.table.note(name, "WRONG", started.elapsed());
                    self.rig.complain(name, format!("seed {}, client {}: {why}", self.rig.seed, self.number));
                }
            }
            if let Err(why) = unread::tend(&mut self) {
                self.rig.complain("unread", format!("seed {}, client {}: {why}", self.rig.seed, self.number));
            }
        }
        self.unread.clear();
        session_ends::end_all(&mut self);
    }

    pub(super) fn key_text(&self) -> &'r str {
        &self.rig.keys[self.key].text
    }

    /// A text that no answer to another client may hold.
    pub(super) fn token(&mut self) -> String {
        format!("chaostok-{:02}-{:016x}", self.number, self.random.bits())
    }

    /// Sends a call with the client's key, over its own connection or a new one.
    pub(super) fn send(&mut self, call: Call) -> Result<Answer, String> {
        let call = call.header("x-api-key", self.key_text());
        let line = format!("{} {}", call.method, call.path);
        let answer = match self.random.one_in(4) || call.body.len() > 64 << 10 {
            true => call.send_to(self.rig.server.address),
            false => self.kept.send(call),
        };
        self.checked(answer.map_err(|why| format!("{line}: {why}"))?)
    }

    /// The answer, unless it shows what it must not.
    pub(super) fn checked(&self, answer: Answer) -> Result<Answer, String> {
        // Longer ones are files, which are compared byte for byte.
        let leak = (answer.body.len() <= 256 << 10).then(|| self.rig.leak(&answer, self.number)).flatten();
        match leak {
            Some(leak) => Err(format!("{leak}: {}", shown(&answer))),
            None => Ok(answer),
        }
    }
}
