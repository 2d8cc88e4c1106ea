//! The fan-out inside a process, which every bus ends in. Never waits for a subscriber.

use bytes::Bytes;
use tokio::sync::broadcast;

use crate::bus::{MAX_PAYLOAD, Subscription, Topic, Wake};

/// Messages of a topic that are kept for its slowest subscriber.
const MAX_KEPT: usize = 1024;

/// The subscribers of this process.
#[derive(Debug)]
pub struct Hub([broadcast::Sender<Wake>; Topic::ALL.len()]);

impl Default for Hub {
    fn default() -> Self {
        Self(std::array::from_fn(|_| broadcast::Sender::new(MAX_KEPT)))
    }
}

impl Hub {
    fn topic(&self, topic: Topic) -> &broadcast::Sender<Wake> {
        let [queue, thread, task, settings] = &self.0;
        match topic {
            Topic::Queue => queue,
            Topic::Thread => thread,
            Topic::Task => task,
            Topic::Settings => settings,
        }
    }

    /// Subscribes to what is delivered from now on.
    pub fn subscribe(&self, topic: Topic) -> Subscription {
        Subscription(self.topic(topic).subscribe())
    }

    /// Gives a message to the subscribers of a topic; [`Wake::Missed`] in place of one that is too long.
    pub fn deliver(&self, topic: Topic, payload: Bytes) {
        let wake = if payload.len() > MAX_PAYLOAD { Wake::Missed } else { Wake::Message(payload) };
        // An error says that there is no subscriber.
        let _ = self.topic(topic).send(wake);
    }

    /// Tells every subscriber of every topic that messages may have been lost.
    pub fn missed(&self) {
        for topic in Topic::ALL {
            self.missed_of(topic);
        }
    }

    /// Tells the subscribers of one topic that messages may have been lost.
    pub fn missed_of(&self, topic: Topic) {
        let _ = self.topic(topic).send(Wake::Missed);
    }
}
