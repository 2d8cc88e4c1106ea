//! Cleans up what has expired: idle uploads, old idempotency keys, hints about layers.

use std::time::Duration;

use cofferdam_core::now;

use crate::{Deployments, Error};

/// The time between two sweeps.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Idempotency keys are kept for this long.
const KEYS_S: i64 = 24 * 3_600;
/// An image that was uploaded and never deployed is kept for this long.
const UNUSED_S: i64 = 24 * 3_600;
/// Hints about layers that are kept.
const MAX_HINTS: u64 = 200_000;
/// Uploads that one sweep gives up.
const MAX_EXPIRED: u64 = 100;

/// # Errors
/// The store's failure.
pub(super) async fn sweep(deployments: &Deployments) -> Result<(), Error> {
    let at = now();
    let upload_s = i64::try_from(deployments.config.timing.upload.as_secs()).unwrap_or(i64::MAX);
    let (silent, unused) = (at.saturating_sub(upload_s), at - UNUSED_S);
    for row in deployments.store.silent_uploads(silent, unused, MAX_EXPIRED).await? {
        let before = if row.image.is_empty() { silent } else { unused };
        deployments.expire(&row, before).await?;
    }
    deployments.store.forget_once(at - KEYS_S).await?;
    deployments.store.forget_layer_hints(MAX_HINTS).await?;
    Ok(())
}
