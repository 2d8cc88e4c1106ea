//! The engine of image uploads: links, live pipelines, offsets, slots, and the push into a registry. A body goes from its
//! connection through a bounded channel into the push.
//!
//! Never writes an archive to disk, never keeps more of it in memory than the channel and the push hold, and never decides
//! who may upload. Start reading at `live.rs` and `session.rs`.

mod cache;
mod config;
mod error;
mod hold;
mod image;
mod link;
mod live;
mod lookup;
mod push;
mod receive;
mod seams;
mod session;
mod slots;
mod state;
mod watchdog;

use std::sync::Arc;

pub use config::{UploadLimits, UploadsConfig};
pub use error::Error;
pub use hold::{Hold, NotTaken};
pub use image::{NotCarried, PushFailure, Pushed, PushedImage};
pub use link::{Links, Ticket};
pub use live::{At, Live, Refused};
pub use lookup::{look_up, told};
pub use push::{RegistryPipeline, target};
pub use receive::{Stopped, receive};
pub use seams::{Carrier, Pipeline, Presign};
pub use session::{Incoming, Work};
pub use slots::{Full, Slot, Slots};
pub use state::Progress;

/// The result of an upload.
pub type Ended = Arc<Result<Pushed, PushFailure>>;

#[cfg(test)]
mod tests;
