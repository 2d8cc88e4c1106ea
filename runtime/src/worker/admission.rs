//! Admits a bounded number of concurrent runs, lets a bounded number wait, and refuses the rest.
//!
//! Organizations that wait get places in turn, so that none waits for another's queue. When the queue is full, the newest of the
//! organization with the longest line makes way for one of a shorter line. Never looks at what a run does.

mod lines;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use cofferdam_contract::{OrganizationId, Problem};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use lines::{Entry, Lines, Word};

/// The gate before the runs.
#[derive(Debug)]
pub(crate) struct Admission {
    lines: Arc<Mutex<Lines>>,
}

/// A place of a run. Dropping it gives it to the next in turn.
#[derive(Debug)]
pub(crate) struct Place {
    lines: Arc<Mutex<Lines>>,
    organization: OrganizationId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lines.lock().leave(&self.organization);
    }
}

/// A waiter. One that gives up leaves its line, or gives back the place that it was just given.
struct Waiter<'a> {
    lines: &'a Arc<Mutex<Lines>>,
    organization: &'a OrganizationId,
    number: u64,
    word: oneshot::Receiver<Word>,
    done: bool,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut lines = self.lines.lock();
        // Words are given under the lock.
        if !lines.give_up(self.organization, self.number) && matches!(self.word.try_recv(), Ok(Word::Go)) {
            lines.leave(self.organization);
        }
    }
}

impl Admission {
    pub(crate) fn new(total: usize, max_waiting: usize) -> Self {
        Self { lines: Arc::new(Mutex::new(Lines::new(total, max_waiting))) }
    }

    /// A place, at once or in turn. `max` bounds the organization's own places. `overloaded` if too many are waiting.
    pub(crate) async fn enter(&self, organization: &OrganizationId, max: Option<usize>) -> Result<Place, Problem> {
        let entry = self.lines.lock().enter(organization, max);
        let place = || Place { lines: Arc::clone(&self.lines), organization: organization.clone() };
        let (number, word) = match entry {
            Entry::Place => return Ok(place()),
            Entry::Waits { number, word } => (number, word),
            Entry::Refused(refused) => return Err(refused),
        };
        let mut waiter = Waiter { lines: &self.lines, organization, number, word, done: false };
        let word = (&mut waiter.word).await;
        waiter.done = true;
        match word {
            Ok(Word::Go) => Ok(place()),
            Ok(Word::Refused(problem)) => Err(*problem),
            Err(_) => Err(lines::closed()),
        }
    }

    /// Admits no more requests.
    pub(crate) fn close(&self) {
        self.lines.lock().close();
    }

    /// The numbers of runs in progress and waiting.
    pub(crate) fn load(&self) -> (usize, usize) {
        self.lines.lock().load()
    }
}
