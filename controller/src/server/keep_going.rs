//! Runs a part of the process until it is stopped. A part that fails is restarted and takes no other part down.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::Error;

/// The pause before a restart.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Starts `part`, and restarts it whenever it ends before `stop`.
pub(super) async fn keep_going<F: Future<Output = ()> + Send + 'static>(
    name: &'static str,
    stop: CancellationToken,
    part: impl Fn(CancellationToken) -> Result<F, Error> + Send,
) {
    while !stop.is_cancelled() {
        match part(stop.clone()) {
            Ok(running) => {
                if let Err(error) = tokio::spawn(running).await {
                    tracing::error!(%error, "{name} panicked; restarting");
                }
            }
            Err(error) => tracing::error!(error = cofferdam_core::chain(&error), "{name} did not start"),
        }
        tokio::select! {
            () = tokio::time::sleep(RESTART_PAUSE) => {}
            () = stop.cancelled() => {}
        }
    }
}
