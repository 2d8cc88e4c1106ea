//! The removal of components that no version needs.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_core::chain;
use tokio_util::sync::CancellationToken;

use crate::{Error, Tools};

const SWEEP_INTERVAL: Duration = Duration::from_secs(3_600);

impl Tools {
    /// Removes components that no version needs, at the start, after which a crash may have left some, and every hour
    /// until `stop`.
    pub async fn keep_swept(self: Arc<Self>, stop: CancellationToken) {
        loop {
            if let Err(error) = self.sweep().await {
                tracing::warn!(error = chain(&error), "removing components failed; retrying");
            }
            tokio::select! {
                () = tokio::time::sleep(SWEEP_INTERVAL) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// # Errors
    /// The store's or the folder's failure.
    async fn sweep(&self) -> Result<(), Error> {
        let needed = self.store.tool_digests().await?;
        self.blobs.sweep(needed).await
    }
}
