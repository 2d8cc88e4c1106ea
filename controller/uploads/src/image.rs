//! An image that is in a registry: the result of an upload, a carriage or a lookup.

use cofferdam_contract::FailureReason;
use cofferdam_store::DeploymentRow;

/// An image that is in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedImage {
    /// `host/path@sha256:...`, with the host that we push to.
    pub reference: String,
    /// `sha256:...`
    pub digest: String,
    /// `amd64` or `arm64`.
    pub architecture: String,
    /// The image's own user: see [`PushedImage::user`].
    pub run_as: Option<u32>,
    /// Compressed, all layers together.
    pub size_bytes: u64,
}

impl PushedImage {
    /// The numeric user that an image's configuration names (`config.User`). `None` for user 0 and for names, because a
    /// name may stand for root.
    pub fn user(text: &str) -> Option<u32> {
        text.split(':').next()?.parse().ok().filter(|user| *user != 0)
    }

    /// Makes it the image of a deployment.
    pub fn put_into(self, row: &mut DeploymentRow) {
        row.image = self.reference;
        row.architecture = self.architecture;
        row.run_as = self.run_as;
        row.size_bytes = self.size_bytes;
    }
}

/// The result of an upload that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    pub image: PushedImage,
    pub layers: u64,
    /// Layers that the registry already had.
    pub skipped: u64,
    /// Compressed bytes sent to the registry.
    pub sent_bytes: u64,
    /// Remarks for the user, such as parts of the archive that were left out.
    pub notes: Vec<String>,
}

/// The reason why an upload failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushFailure {
    pub reason: FailureReason,
    /// The problem, whose fault it is, and the fix.
    pub detail: String,
    /// The same archive may be sent again under the same link.
    pub retryable: bool,
}

impl PushFailure {
    pub fn new(reason: FailureReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), retryable: false }
    }

    /// Marks the failure as temporary.
    pub fn once_more(mut self) -> Self {
        self.retryable = true;
        self
    }
}

/// The reason why an image was not carried from a bucket into a registry.
#[derive(Debug)]
pub struct NotCarried {
    pub reason: FailureReason,
    /// The problem, and the fix.
    pub detail: String,
    /// The failure is temporary.
    pub retryable: bool,
}

impl From<PushFailure> for NotCarried {
    fn from(failure: PushFailure) -> Self {
        Self { reason: failure.reason, retryable: failure.retryable, detail: failure.detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_other_than_0_is_known_not_to_be_root() {
        assert_eq!(PushedImage::user("1000:0"), Some(1000));
        for root in ["", "0", "0:0", "root", "nobody", "-1", "4294967296"] {
            assert_eq!(PushedImage::user(root), None, "{root}");
        }
    }
}
