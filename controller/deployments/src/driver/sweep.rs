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
/// The longest time that the process with an upload has to give it up before the sweep does.
const MAX_GRACE_S: i64 = 15;
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
    // A process that still has an upload gives it up itself, and says more.
    let resume_s = i64::try_from(deployments.config.timing.resume.as_secs()).unwrap_or(i64::MAX);
    let broken = at.saturating_sub(resume_s.saturating_add((resume_s / 10).clamp(1, MAX_GRACE_S)));
    for row in deployments.store.broken_uploads(broken, MAX_EXPIRED).await? {
        deployments.expire(&row, broken).await?;
    }
    deployments.store.forget_once(at - KEYS_S).await?;
    deployments.store.forget_layer_hints(MAX_HINTS).await?;
    Ok(())
}
