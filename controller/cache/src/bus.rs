//! The bus: short messages that wake others up. A message may be lost, and a subscriber is told when one may have been.

use std::fmt;

use bytes::Bytes;
use tokio::sync::broadcast;

/// The longest payload of a message, in bytes. A longer one is not sent; its subscribers look for themselves.
pub const MAX_PAYLOAD: usize = 4 << 10;

/// The subject of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Lanes of the queue that have something.
    Queue,
    /// A thread, and its newest event.
    Thread,
    /// A task that somebody asked to stop or to pause.
    Task,
    /// Settings that changed.
    Settings,
}

impl Topic {
    pub const ALL: [Self; 4] = [Self::Queue, Self::Thread, Self::Task, Self::Settings];

    /// The name of its channel, the same in every process of an installation.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Thread => "thread",
            Self::Task => "task",
            Self::Settings => "settings",
        }
    }

    /// The topic of a channel's name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == name)
    }
}

/// Carries messages between the processes of an installation.
pub trait Bus: Send + Sync + fmt::Debug {
    /// Sends a message to every subscriber of a topic, those of this process included, each of which gets it at most once.
    /// Never blocks: what waits to be sent is bounded, the same payload waits once, and what is too much is lost.
    fn publish(&self, topic: Topic, payload: Bytes);

    /// Subscribes to the messages that are published from now on.
    fn subscribe(&self, topic: Topic) -> Subscription;
}

/// The next thing that a subscriber has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wake {
    Message(Bytes),
    /// Messages may have been lost: look for everything that they could have said.
    Missed,
}

/// The messages of one topic, from its subscription on. A slow subscriber loses the oldest ones, and is told so.
#[derive(Debug)]
pub struct Subscription(pub(crate) broadcast::Receiver<Wake>);

impl Subscription {
    /// Waits for the next message. Safe to drop while it waits. It waits for ever after the bus itself is gone, so that a loop
    /// that polls beside it goes on polling at its own pace.
    pub async fn next(&mut self) -> Wake {
        match self.0.recv().await {
            Ok(wake) => wake,
            Err(broadcast::error::RecvError::Lagged(_)) => Wake::Missed,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }

    /// The next message if there is one already; for taking several at once.
    pub fn try_next(&mut self) -> Option<Wake> {
        match self.0.try_recv() {
            Ok(wake) => Some(wake),
            Err(broadcast::error::TryRecvError::Lagged(_)) => Some(Wake::Missed),
            Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => None,
        }
    }
}
