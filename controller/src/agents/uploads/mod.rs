//! Uploads of image archives: links, live pipelines, offsets. A body goes from its connection through a bounded channel
//! into the push; nothing is kept on disk and no more of it in memory than the channel and the push hold. It does not
//! know what is in an archive.

mod cache;
mod link;
mod live;
pub(super) mod push;
mod receive;
mod service;
mod session;
mod slots;
mod work;

use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::FailureReason;

use crate::agents::PushedImage;

pub use link::{Links, Ticket};
pub use live::{At, Live, Refused};
pub use push::Registries;
pub use receive::{Stopped, receive};
pub use service::{Presign, Refusal, Sending, Sent, UploadLink, Uploaded, Uploads, begin, progress, send};
pub use session::{Hold, Incoming, Progress, Session, Work};
pub use slots::{Full, Slots};
pub use work::Pipeline;

#[derive(Debug, Clone)]
pub struct Limits {
    /// Of an archive as it is sent.
    pub image_bytes: u64,
    /// Uploads at once, those that wait for their client among them.
    pub at_once: usize,
    pub per_organization: usize,
    /// The longest silence of a client in the middle of a body.
    pub idle: Duration,
    /// How long an upload waits for a client to come back.
    pub absence: Duration,
    /// From the first byte to the image in the registry.
    pub whole: Duration,
    /// The longest that the registry may take nothing.
    pub stall: Duration,
    /// How long after a failure that may come right the archive may be sent again.
    pub again: Duration,
}

/// What an upload came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    pub image: PushedImage,
    pub layers: u64,
    /// Of those, how many the registry had already.
    pub skipped: u64,
    /// To the registry, compressed.
    pub sent_bytes: u64,
    /// What is worth knowing, such as what was left out of the archive.
    pub notes: Vec<String>,
}

/// Why there is no image in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushFailure {
    pub reason: FailureReason,
    /// What happened, whose fault it is and what to do.
    pub detail: String,
    /// Whether the same archive may be sent once more under the same link.
    pub retryable: bool,
}

impl PushFailure {
    pub fn new(reason: FailureReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), retryable: false }
    }

    /// One that may come right by itself.
    pub fn once_more(mut self) -> Self {
        self.retryable = true;
        self
    }
}

/// How an upload ended.
pub type Ended = Arc<Result<Pushed, PushFailure>>;

#[cfg(test)]
mod tests;
