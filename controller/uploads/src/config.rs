//! Settings of uploads, and the limits that follow from them.

use std::time::Duration;

/// A failed upload may be sent again for this long, if the failure was temporary.
const RETRY_WINDOW: Duration = Duration::from_secs(120);
/// The registry may accept no data for this long.
const STALL_TIMEOUT: Duration = Duration::from_secs(300);

/// The operator's settings.
#[derive(Debug, Clone)]
pub struct UploadsConfig {
    /// The largest archive, in bytes as sent.
    pub max_image_bytes: u64,
    /// Uploads at once, in total.
    pub max: usize,
    /// Uploads at once, of one organization.
    pub max_per_organization: usize,
    /// The longest silence of a client in the middle of a body.
    pub idle: Duration,
    /// The longest time that an upload waits for a client that is gone.
    pub wait: Duration,
    /// The longest time from the first byte to the image in the registry.
    pub whole: Duration,
    /// The start of every link, such as `https://api.example.com`. Links start with the address of the request if it is
    /// not set.
    pub public_url: Option<String>,
}

impl UploadsConfig {
    pub fn limits(&self) -> UploadLimits {
        UploadLimits {
            image_bytes: self.max_image_bytes,
            at_once: self.max,
            per_organization: self.max_per_organization,
            idle: self.idle,
            absence: self.wait,
            whole: self.whole,
            stall: STALL_TIMEOUT,
            again: RETRY_WINDOW,
        }
    }
}

#[derive(Debug, Clone)]
pub struct UploadLimits {
    /// The largest archive, in bytes as sent.
    pub image_bytes: u64,
    /// Uploads at once, including those that wait for their client.
    pub at_once: usize,
    pub per_organization: usize,
    /// The longest silence of a client in the middle of a body.
    pub idle: Duration,
    /// The longest time that an upload waits for a client that is gone.
    pub absence: Duration,
    /// The longest time from the first byte to the image in the registry.
    pub whole: Duration,
    /// The longest time that the registry may accept no data.
    pub stall: Duration,
    /// The archive may be sent again for this long after a temporary failure.
    pub again: Duration,
}
