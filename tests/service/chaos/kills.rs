//! Kills workers, and remembers when: what an answer may be depends on it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::random::Random;
use super::rig::Rig;
use crate::support::process;

/// Children that died young are restarted with pauses; none is killed before this age.
const MIN_AGE: Duration = Duration::from_millis(5_500);
/// All is ready again within this time, on a machine that is as busy as this one.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(15);
/// The controller looks at other machines' workers once a second, so it can believe in a dead one for a while.
const AFTERMATH: Duration = Duration::from_millis(2_500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Snippets,
    Tools,
}

impl Kind {
    /// The word in the child's command line.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Snippets => "worker",
            Self::Tools => "tool-worker",
        }
    }
}

#[derive(Debug)]
struct Kill {
    kind: Kind,
    at: Instant,
    /// The process was seen to be gone.
    gone: Option<Instant>,
    /// Everything was ready again.
    recovered: Option<Instant>,
}

#[derive(Default)]
pub(super) struct Kills(Mutex<Vec<Kill>>);

impl Kills {
    /// True if a worker of this kind died after `from` or may have.
    pub(super) fn any_since(&self, kind: Kind, from: Instant) -> bool {
        let kills = self.0.lock().unwrap();
        kills.iter().rev().any(|kill| kill.kind == kind && kill.gone.is_none_or(|gone| gone >= from))
    }

    /// True if one of this kind was dead or coming back at some time between `from` and now.
    pub(super) fn disturbed(&self, kind: Kind, from: Instant) -> bool {
        let kills = self.0.lock().unwrap();
        let until = |kill: &Kill| kill.recovered.map(|recovered| recovered + AFTERMATH);
        kills.iter().rev().any(|kill| kill.kind == kind && until(kill).is_none_or(|until| until >= from))
    }

    /// The kills of snippets' workers and of tools', and the longest recovery.
    pub(super) fn summary(&self) -> (usize, usize, Duration) {
        let kills = self.0.lock().unwrap();
        let snippets = kills.iter().filter(|kill| kill.kind == Kind::Snippets).count();
        let longest = kills.iter().filter_map(|kill| Some(kill.recovered? - kill.at)).max();
        (snippets, kills.len() - snippets, longest.unwrap_or_default())
    }

    fn note(&self, change: impl FnOnce(&mut Kill)) {
        change(self.0.lock().unwrap().last_mut().expect("a kill"));
    }
}

/// Kills a worker or a tool worker, here or at the code-runner, every few seconds, until `stop`.
pub(super) fn keep_killing(rig: &Rig, seed: u64, stop: &AtomicBool) {
    let mut random = Random::new(seed, 1_000);
    let mut last: [[Option<Instant>; 2]; 2] = [[None; 2]; 2];
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(random.between(1_200, 3_500)));
        let old_enough = |last: Option<Instant>| last.is_none_or(|last| last.elapsed() >= MIN_AGE);
        let all = [(0, 0), (0, 1), (1, 0), (1, 1)];
        let eligible: Vec<_> = all.into_iter().filter(|(machine, which)| old_enough(last[*machine][*which])).collect();
        if eligible.is_empty() || stop.load(Ordering::Relaxed) {
            continue;
        }
        let (machine, which) = *random.pick(&eligible);
        let kind = [Kind::Snippets, Kind::Tools][which];
        let parent = [rig.server.pid(), rig.runner.pid()][machine];
        let Some(victim) = process::child_with(parent, kind.word()) else { continue };
        rig.kills.0.lock().unwrap().push(Kill { kind, at: Instant::now(), gone: None, recovered: None });
        process::signal(victim, Signal::KILL);
        let killed = Instant::now();
        let is_there = || process::parent(victim) == Some(parent) && !process::command_line(victim).is_empty();
        while is_there() && killed.elapsed() < RECOVERY_TIMEOUT {
            thread::sleep(Duration::from_millis(2));
        }
        rig.kills.note(|kill| kill.gone = Some(Instant::now()));
        let replaced = || process::child_with(parent, kind.word()).is_some_and(|pid| pid != victim);
        while !(replaced() && rig.is_ready()) {
            if killed.elapsed() > RECOVERY_TIMEOUT {
                rig.complain("kill", format!("the {kind:?} worker {victim} is not back after {RECOVERY_TIMEOUT:?}"));
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        last[machine][which] = Some(Instant::now());
        rig.kills.note(|kill| kill.recovered = Some(Instant::now()));
    }
}
