//! The places and the lines of those that wait for them, one line for each organization. Never waits.

use std::collections::{BTreeMap, HashMap, VecDeque};

use cofferdam_contract::{OrganizationId, Problem};
use tokio::sync::oneshot;

/// The answer to one that waits.
#[derive(Debug)]
pub(super) enum Word {
    Go,
    Refused(Box<Problem>),
}

/// The answer to one that comes.
#[derive(Debug)]
pub(super) enum Entry {
    Place,
    Waits { number: u64, word: oneshot::Receiver<Word> },
    Refused(Problem),
}

/// Those of one organization that wait, by their numbers, the oldest first.
#[derive(Debug, Default)]
struct Line {
    waiters: BTreeMap<u64, oneshot::Sender<Word>>,
    max: Option<usize>,
}

/// Places, and who waits for one.
#[derive(Debug)]
pub(super) struct Lines {
    total: usize,
    free: usize,
    max_waiting: usize,
    waiting: usize,
    closed: bool,
    next_number: u64,
    /// The places of each organization that has any.
    active: HashMap<OrganizationId, usize>,
    lines: HashMap<OrganizationId, Line>,
    /// The organizations of `lines`, each once, in the order of their turns.
    turns: VecDeque<OrganizationId>,
}

impl Lines {
    pub(super) fn new(total: usize, max_waiting: usize) -> Self {
        Self {
            total,
            free: total,
            max_waiting,
            waiting: 0,
            closed: false,
            next_number: 0,
            active: HashMap::new(),
            lines: HashMap::new(),
            turns: VecDeque::new(),
        }
    }

    pub(super) fn load(&self) -> (usize, usize) {
        (self.total.saturating_sub(self.free), self.waiting)
    }

    fn active(&self, organization: &OrganizationId) -> usize {
        self.active.get(organization).copied().unwrap_or_default()
    }

    fn take(&mut self, organization: &OrganizationId) {
        self.free = self.free.saturating_sub(1);
        match self.active.get_mut(organization) {
            Some(active) => *active += 1,
            None => drop(self.active.insert(organization.clone(), 1)),
        }
    }

    /// Gives a place, or a number in the line.
    pub(super) fn enter(&mut self, organization: &OrganizationId, max: Option<usize>) -> Entry {
        if self.closed {
            return Entry::Refused(closed());
        }
        // While a place is free, only those wait whose organizations have as many as they may.
        if self.free > 0 && max.is_none_or(|max| self.active(organization) < max) {
            self.take(organization);
            return Entry::Place;
        }
        if self.waiting >= self.max_waiting && !self.make_way(organization) {
            return Entry::Refused(self.overloaded());
        }
        let (tell, word) = oneshot::channel();
        let number = self.next_number;
        self.next_number += 1;
        self.waiting += 1;
        let line = match self.lines.get_mut(organization) {
            Some(line) => line,
            None => {
                self.turns.push_back(organization.clone());
                self.lines.entry(organization.clone()).or_default()
            }
        };
        line.max = max;
        line.waiters.insert(number, tell);
        Entry::Waits { number, word }
    }

    /// Refuses the newest of the longest line, if that is longer than the organization's would become.
    fn make_way(&mut self, organization: &OrganizationId) -> bool {
        let own = self.lines.get(organization).map_or(0, |line| line.waiters.len());
        let refused = self.overloaded();
        let Some(longest) = self.lines.values_mut().max_by_key(|line| line.waiters.len()) else { return false };
        if longest.waiters.len() <= own.saturating_add(1) {
            return false;
        }
        let Some((_, tell)) = longest.waiters.pop_last() else { return false };
        self.waiting = self.waiting.saturating_sub(1);
        let _ = tell.send(Word::Refused(Box::new(refused)));
        true
    }

    /// Takes a waiter out of its line. False if it was told a word before.
    pub(super) fn give_up(&mut self, organization: &OrganizationId, number: u64) -> bool {
        let left = self.lines.get_mut(organization).is_some_and(|line| line.waiters.remove(&number).is_some());
        if left {
            self.waiting = self.waiting.saturating_sub(1);
            self.forget_if_empty();
        }
        left
    }

    /// Empty lines leave when their turn comes, or when all are empty.
    fn forget_if_empty(&mut self) {
        if self.waiting == 0 {
            self.lines.clear();
            self.turns.clear();
        }
    }

    /// Gives a place back, and to the next in turn.
    pub(super) fn leave(&mut self, organization: &OrganizationId) {
        self.free = self.total.min(self.free.saturating_add(1));
        if let Some(active) = self.active.get_mut(organization) {
            *active = active.saturating_sub(1);
            if *active == 0 {
                self.active.remove(organization);
            }
        }
        while self.free > 0 && self.waiting > 0 && self.hand_out() {}
    }

    /// Gives a place to the first organization in turn that may have one.
    fn hand_out(&mut self) -> bool {
        for _ in 0..self.turns.len() {
            let Some(organization) = self.turns.pop_front() else { break };
            let active = self.active(&organization);
            let Some(line) = self.lines.get_mut(&organization) else { continue };
            let may = line.max.is_none_or(|max| active < max);
            let told = match may {
                true => next(line, &mut self.waiting),
                false => false,
            };
            match line.waiters.is_empty() {
                true => drop(self.lines.remove(&organization)),
                false => self.turns.push_back(organization.clone()),
            }
            if told {
                self.take(&organization);
                self.forget_if_empty();
                return true;
            }
        }
        false
    }

    /// Refuses those that wait, and those that come.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.waiting = 0;
        // Dropping the senders tells the waiters.
        self.forget_if_empty();
    }

    fn overloaded(&self) -> Problem {
        let (active, waiting) = self.load();
        Problem::overloaded(format!("{active} runs are in progress and {waiting} are waiting; try again in a second"))
    }
}

/// Tells the oldest of a line that still listens to go.
fn next(line: &mut Line, waiting: &mut usize) -> bool {
    while let Some((_, tell)) = line.waiters.pop_first() {
        *waiting = waiting.saturating_sub(1);
        if tell.send(Word::Go).is_ok() {
            return true;
        }
    }
    false
}

pub(super) fn closed() -> Problem {
    Problem::unavailable("the worker is shutting down; try again")
}
