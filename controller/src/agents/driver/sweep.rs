//! Clears up what nobody comes back for: uploads that nothing is heard of, old idempotency keys, hints about layers.

use std::time::Duration;

use crate::Error;
use crate::agents::arrived::expire;
use crate::clock::now;
use crate::services::App;

pub const EVERY: Duration = Duration::from_secs(60);
/// How long a key is good for.
const KEYS_S: i64 = 24 * 3_600;
/// An image that was uploaded and never deployed has this time.
const UNUSED_S: i64 = 24 * 3_600;
const MAX_HINTS: u64 = 200_000;
/// Uploads that are given up at once.
const BATCH: u64 = 100;

/// # Errors
/// The store's failure.
pub async fn sweep(app: &App) -> Result<(), Error> {
    let at = now();
    let silent = at.saturating_sub(i64::try_from(app.config.agents.timing.upload.as_secs()).unwrap_or(i64::MAX));
    for row in app.store.silent_uploads(silent, BATCH).await? {
        let before = if row.image.is_empty() { silent } else { at - UNUSED_S };
        if row.updated_at < before {
            expire(app, &row, before).await?;
        }
    }
    app.store.forget_once(at - KEYS_S).await?;
    app.store.forget_layer_hints(MAX_HINTS).await
}
