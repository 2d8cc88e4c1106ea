//! Traits through which images reach registries. Tests have implementations of their own.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use cofferdam_environments::Environment;
use cofferdam_store::DeploymentRow;
use futures_util::future::BoxFuture;

use crate::{Error, Incoming, NotCarried, PushFailure, Pushed, PushedImage};

/// Pushes an uploaded archive into an environment's registry as it arrives.
pub trait Pipeline: Send + Sync {
    /// Returns early if the archive is bad. Dropping the future stops the push.
    fn push(
        &self,
        deployment: DeploymentRow,
        environment: Arc<Environment>,
        incoming: Incoming,
    ) -> BoxFuture<'static, Result<Pushed, PushFailure>>;
}

/// Carries an image that was uploaded to a bucket into an environment's registry.
pub trait Carrier: Send + Sync {
    /// Idempotent: it may be stopped at any point and started again. `received` counts the bytes that were read.
    fn carry<'a>(
        &'a self,
        environment: &'a Environment,
        deployment: &'a DeploymentRow,
        received: &'a AtomicU64,
    ) -> BoxFuture<'a, Result<PushedImage, NotCarried>>;
}

/// Makes upload links that point to an environment's bucket.
pub trait Presign: Send + Sync {
    /// A link that takes the archive of `deployment` by `PUT` until `expires_at`, in seconds of Unix time.
    fn presign<'a>(
        &'a self,
        environment: &'a Environment,
        deployment: &'a DeploymentRow,
        expires_at: i64,
    ) -> BoxFuture<'a, Result<String, Error>>;
}
