//! The bus of a single process: messages go straight to its subscribers.

use bytes::Bytes;

use crate::bus::{Bus, Subscription, Topic};
use crate::hub::Hub;

/// A bus that reaches this process alone.
#[derive(Debug, Default)]
pub struct MemoryBus(Hub);

impl Bus for MemoryBus {
    fn publish(&self, topic: Topic, payload: Bytes) {
        self.0.deliver(topic, payload);
    }

    fn subscribe(&self, topic: Topic) -> Subscription {
        self.0.subscribe(topic)
    }
}
