//! Events of a run on their way to a listener, counted among the unsent bytes while they wait.
//!
//! Never waits for the listener, and never holds more than the run's budget of output: pending texts are merged.

use std::collections::VecDeque;

use cofferdam_contract::Event;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::unsent::Tally;

/// Events on their way to a listener.
#[derive(Debug, Default)]
pub struct EventQueue {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Each with the bytes that it was made of.
    events: VecDeque<(Event, usize)>,
    bytes: usize,
    closed: bool,
    tally: Option<Tally>,
}

impl Waiting {
    fn now_holds(&mut self, bytes: usize) {
        self.bytes = bytes;
        if let Some(tally) = &mut self.tally {
            tally.set(bytes);
        }
    }
}

impl EventQueue {
    /// A queue whose waiting bytes are counted.
    pub(crate) fn counted(tally: Tally) -> Self {
        let waiting = Waiting { tally: Some(tally), ..Waiting::default() };
        Self { waiting: Mutex::new(waiting), changed: Notify::default() }
    }

    /// Adds an event that was made of `bytes`. Text is appended to the last event if that is pending and of the same
    /// stream.
    pub fn push(&self, event: Event, bytes: usize) {
        let mut waiting = self.waiting.lock();
        match (waiting.events.back_mut(), event) {
            (Some((Event::Stdout(last), held)), Event::Stdout(more))
            | (Some((Event::Stderr(last), held)), Event::Stderr(more)) => {
                last.text.push_str(&more.text);
                *held += bytes;
            }
            (_, event) => waiting.events.push_back((event, bytes)),
        }
        let bytes = waiting.bytes + bytes;
        waiting.now_holds(bytes);
        drop(waiting);
        self.changed.notify_one();
    }

    /// Marks the end of the events.
    pub fn close(&self) {
        self.waiting.lock().closed = true;
        self.changed.notify_one();
    }

    /// The next event; `None` once closed and empty.
    pub async fn next(&self) -> Option<Event> {
        loop {
            {
                let mut waiting = self.waiting.lock();
                if let Some((event, bytes)) = waiting.events.pop_front() {
                    let left = waiting.bytes.saturating_sub(bytes);
                    waiting.now_holds(left);
                    return Some(event);
                }
                if waiting.closed {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_contract::OrganizationId;
    use cofferdam_contract::run::TextChunk;

    use super::*;
    use crate::unsent::Unsent;

    fn text(bytes: usize) -> Event {
        Event::Stdout(TextChunk { text: "x".repeat(bytes) })
    }

    #[tokio::test]
    async fn events_that_nobody_takes_are_counted() {
        const SIZE: usize = 1 << 20;
        let unsent = Unsent::default();
        let queue = EventQueue::counted(unsent.tally(&OrganizationId::default_organization()));
        for _ in 0..3 {
            queue.push(text(SIZE), SIZE);
        }
        queue.push(Event::Stderr(TextChunk { text: "x".repeat(SIZE) }), SIZE);
        queue.close();
        assert_eq!(unsent.bytes(), 4 << 20);
        assert!(matches!(queue.next().await, Some(Event::Stdout(chunk)) if chunk.text.len() == 3 * SIZE));
        assert_eq!(unsent.bytes(), 1 << 20);
        drop(queue);
        assert_eq!(unsent.bytes(), 0);
    }
}
