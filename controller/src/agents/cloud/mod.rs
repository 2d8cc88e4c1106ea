//! The cloud's way to a registry: an archive is uploaded to S3 by a presigned link and streamed from there into ECR. It
//! keeps nothing on disk, and holds no credential longer than one deployment takes.

mod bucket;
mod carry;
mod ecr;
mod operator;

use std::sync::Once;

use cofferdam_contract::FailureReason;

pub use bucket::Bucket;
pub use carry::S3ToRegistry;
pub use ecr::Ecr;
pub use operator::{BROUGHT, operate};

/// What the cloud did not do.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// The environment's settings, or the rights of the credentials in them.
    #[error("{0}")]
    Settings(String),
    /// It may come right by itself.
    #[error("{0}")]
    Unreachable(String),
    /// Nothing was uploaded to the link.
    #[error("{0}")]
    NothingThere(String),
}

impl CloudError {
    pub fn reason(&self) -> FailureReason {
        match self {
            Self::Settings(_) | Self::Unreachable(_) => FailureReason::Registry,
            Self::NothingThere(_) => FailureReason::UploadLost,
        }
    }

    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }
}

/// Both clients of AWS take the cryptography that the rest of this program uses.
fn cryptography() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Where there is one already, it is the same.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    });
}
