//! Waits for the signals by which people and supervisors end a command.

use tokio::signal::unix::{SignalKind, signal};

/// A signal to end, with the exit status that a shell shows for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// Ctrl-C.
    Interrupted = 130,
    Terminated = 143,
}

/// Waits for Ctrl-C or a request to terminate. From then on neither ends the process by itself.
pub(crate) async fn interrupted() -> Interrupt {
    tokio::select! {
        () = arrival(SignalKind::interrupt()) => Interrupt::Interrupted,
        () = arrival(SignalKind::terminate()) => Interrupt::Terminated,
    }
}

async fn arrival(kind: SignalKind) {
    match signal(kind) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        // The signal ends the process as usual.
        Err(_) => std::future::pending().await,
    }
}
