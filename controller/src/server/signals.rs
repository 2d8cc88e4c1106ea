//! SIGTERM and SIGINT: the first asks for an end in order, the second ends at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::Error;

/// Cancels `draining` at the first signal.
///
/// # Errors
/// Where the signals cannot be caught.
pub(super) fn listen(draining: CancellationToken) -> Result<impl Future<Output = ()>, Error> {
    let failed = |source| Error::Process { what: "catching signals", source };
    let mut term = signal(SignalKind::terminate()).map_err(failed)?;
    let mut int = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        tracing::info!("ending: waiting for what is under way; a second signal ends at once");
        draining.cancel();
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        std::process::exit(130);
    })
}
