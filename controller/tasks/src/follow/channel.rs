//! The newest events of a thread that somebody follows. Reads nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cofferdam_contract::{OrganizationId, ThreadId};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::event::Event;

/// Events that a channel keeps.
const MAX_KEPT: usize = 512;
/// The bytes of events that all channels keep together, about, and those of one: fewer, the more channels there are.
const MAX_KEPT_OF_ALL: usize = 256 << 20;
const MAX_KEPT_BYTES: usize = 1 << 20;
const MIN_KEPT_BYTES: usize = 16 << 10;

/// The bytes of events that one of so many channels keeps.
pub(super) fn share(channels: usize) -> usize {
    (MAX_KEPT_OF_ALL / channels.max(1)).clamp(MIN_KEPT_BYTES, MAX_KEPT_BYTES)
}

/// The newest events in the order of their numbers, without a gap.
#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// The number of the last one, kept or not.
    have: u64,
}

/// The part of a thread after a number.
#[derive(Debug)]
pub(super) enum After {
    Events(Vec<Arc<Event>>),
    /// The channel no longer has the next ones.
    InStore,
    /// There are no more.
    Nothing,
}

/// A thread that somebody follows.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(super) thread: ThreadId,
    pub(super) organization: OrganizationId,
    ring: Mutex<Ring>,
    /// The number of the last event in the channel.
    news: watch::Sender<u64>,
    /// The newest number that somebody spoke of.
    wanted: AtomicU64,
    /// Somebody reads the store for it.
    pub(super) reads: AtomicBool,
}

impl Channel {
    pub(super) fn new(thread: ThreadId, organization: OrganizationId, have: u64) -> Self {
        Self {
            thread,
            organization,
            ring: Mutex::new(Ring { have, ..Ring::default() }),
            news: watch::Sender::new(have),
            wanted: AtomicU64::new(have),
            reads: AtomicBool::new(false),
        }
    }

    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    pub(super) fn have(&self) -> u64 {
        self.ring.lock().have
    }

    /// The number before the first event that it keeps.
    pub(super) fn begin(&self) -> u64 {
        let ring = self.ring.lock();
        ring.events.front().map_or(ring.have, |first| first.id.saturating_sub(1))
    }

    /// Says that there are events up to a number. Returns true if the channel lacks some.
    pub(super) fn want(&self, newest: u64) -> bool {
        self.wanted.fetch_max(newest, Ordering::AcqRel).max(newest) > self.have()
    }

    /// Checks if the channel lacks events that somebody spoke of.
    pub(super) fn lacks(&self) -> bool {
        self.wanted.load(Ordering::Acquire) > self.have()
    }

    /// There are no more events than it has, whatever was said.
    pub(super) fn want_no_more(&self, said: u64) {
        let _ = self.wanted.compare_exchange(said, self.have(), Ordering::AcqRel, Ordering::Relaxed);
    }

    pub(super) fn wanted(&self) -> u64 {
        self.wanted.load(Ordering::Acquire)
    }

    /// Takes the next events, and keeps the newest ones within so many bytes. Those that it has already, or that do not follow, are left out.
    pub(super) fn push(&self, events: impl IntoIterator<Item = Arc<Event>>, max_bytes: usize) {
        let have = {
            let mut ring = self.ring.lock();
            let before = ring.have;
            for event in events {
                if event.id != ring.have + 1 {
                    continue;
                }
                ring.have = event.id;
                ring.bytes += event.weight();
                ring.events.push_back(event);
            }
            while ring.events.len() > MAX_KEPT || (ring.bytes > max_bytes && ring.events.len() > 1) {
                let Some(oldest) = ring.events.pop_front() else { break };
                ring.bytes = ring.bytes.saturating_sub(oldest.weight());
            }
            if ring.have == before {
                return;
            }
            ring.have
        };
        self.wanted.fetch_max(have, Ordering::AcqRel);
        self.news.send_replace(have);
    }

    /// Up to `limit` events after a number.
    pub(super) fn after(&self, number: u64, limit: usize) -> After {
        let ring = self.ring.lock();
        if number >= ring.have {
            return After::Nothing;
        }
        match ring.events.front() {
            Some(first) if first.id <= number + 1 => {
                let skipped = usize::try_from(number + 1 - first.id).unwrap_or(usize::MAX);
                After::Events(ring.events.iter().skip(skipped).take(limit).cloned().collect())
            }
            _ => After::InStore,
        }
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_contract::TaskId;
    use cofferdam_contract::work::{EventInfo, EventType, Timestamp};
    use serde_json::json;

    use super::*;

    fn event(id: u64, text: &str) -> Arc<Event> {
        Event::new(EventInfo {
            id,
            kind: EventType::Chunk,
            task_id: TaskId::from_random(1),
            thread_id: ThreadId::from_random(1),
            organization_id: OrganizationId::default_organization(),
            time: Timestamp(0),
            data: json!(text),
        })
    }

    fn channel(have: u64) -> Channel {
        Channel::new(ThreadId::from_random(1), OrganizationId::default_organization(), have)
    }

    fn ids(after: After) -> Option<Vec<u64>> {
        match after {
            After::Events(events) => Some(events.iter().map(|event| event.id).collect()),
            After::InStore => None,
            After::Nothing => Some(Vec::new()),
        }
    }

    #[test]
    fn events_come_in_order_without_gaps_and_doubles() {
        let channel = channel(4);
        channel.push([event(6, "too early"), event(5, "a"), event(5, "again"), event(6, "b")], share(1));
        assert_eq!(channel.have(), 6);
        assert_eq!(ids(channel.after(4, 10)), Some(vec![5, 6]));
        assert_eq!(ids(channel.after(5, 10)), Some(vec![6]));
        assert_eq!(ids(channel.after(6, 10)), Some(vec![]));
        assert_eq!(ids(channel.after(3, 10)), None);
        assert_eq!(ids(channel.after(4, 1)), Some(vec![5]));
        assert!(channel.want(8) && channel.lacks());
        channel.want_no_more(8);
        assert!(!channel.lacks());
    }

    #[test]
    fn memory_is_bounded_by_number_and_bytes() {
        let many = channel(0);
        many.push((1..=2_000).map(|id| event(id, "x")), share(1));
        assert!(many.ring.lock().events.len() <= MAX_KEPT);
        assert_eq!(ids(many.after(10, 10)), None);
        let large = channel(0);
        large.push((1..=40).map(|id| event(id, &"x".repeat(100_000))), share(1));
        assert!(large.ring.lock().events.len() < 10 && large.have() == 40);
        large.push([event(41, &"x".repeat(5 << 20))], share(1));
        assert_eq!(ids(large.after(40, 10)), Some(vec![41]));
        // Twenty thousand channels keep less than a gigabyte.
        assert!(share(20_000) * 20_000 < 1 << 30 && share(1) == MAX_KEPT_BYTES);
    }

    #[test]
    fn a_frame_is_one_event_whatever_it_says() {
        let event = event(7, "a\n\nid: 9\ndata: forged\r\n\u{2028}");
        let frame = String::from_utf8(event.frame().to_vec()).unwrap();
        assert!(frame.starts_with("id: 7\nevent: chunk\ndata: {\"id\":7,"), "{frame}");
        assert_eq!((frame.matches('\n').count(), frame.matches("\n\n").count()), (4, 1));
    }
}
